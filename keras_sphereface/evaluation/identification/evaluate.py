"""Identification: networks, and people to be found, in; `metrics.json`, curves and a report out."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_sphereface.config import ClosedSetConfig, DistractorsConfig, OpenSetConfig
from keras_sphereface.data import images, records
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import embeddings, face_pairs, quality_checks
from keras_sphereface.evaluation.embedders import Embedder, check_images, open_systems, several
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.face_pairs import Faces, PairSources
from keras_sphereface.evaluation.identification import artifacts, galleries, inputs
from keras_sphereface.evaluation.identification.artifacts import Found
from keras_sphereface.evaluation.identification.galleries import Gallery
from keras_sphereface.evaluation.identification.inputs import EnrolledSet, SearchConfig
from keras_sphereface.evaluation.verification import by_far
from keras_sphereface.metrics import roc
from keras_sphereface.metrics.identification import search
from keras_sphereface.utils.progress import log

COMMANDS = {
    "closed-set": ClosedSetConfig,
    "open-set": OpenSetConfig,
    "distractors": DistractorsConfig,
}
RANKS = (1, 5, 10)  # that are reported
FARS = (0.1, 0.01, 0.001)  # false alarm rates
# All probes with all of the gallery: what can be sorted in memory.
MAX_COMPARISONS = 20_000_000


def evaluate(command: str, config: SearchConfig) -> list[dict]:
    """Run one of `COMMANDS`, and write what came of it.

    Returns:
        The metrics of each system, as they stand in metrics.json.

    Raises:
        FileNotFoundError, ValueError: if networks, images or lists cannot be used.
    """
    inputs.check(config)
    systems = open_systems(config.model, config.embeddings, config.batch_size)
    for system in systems:
        check_images(system, bool(config.images or config.records))
    known = inputs.known_people(config)
    measure = {
        "closed-set": _closed_set,
        "open-set": _open_set,
        "distractors": _among_distractors,
    }[command]
    results = [measure(system, known, config) for system in systems]
    artifacts.write(Path(config.out), command, results)
    return [result.metrics for result in results]


def _embed(
    system: Embedder, keys: Sequence[str], known: EnrolledSet
) -> tuple[Embeddings, Faces | None]:
    """The embeddings of images, or of templates of them."""
    log(f"{system.name}: {len(keys):,} {'templates' if known.templates else 'images'}")
    pictures = known.images_of(keys)
    faces = None
    if known.paths.images or known.paths.records:
        size = system.image_size or images.IMAGE_SIZE
        faces = face_pairs.open_faces(known.paths, pictures, size)
    found = system.embed(pictures, faces and faces.load)
    if known.templates:
        named = {key: known.templates.get(key, [(key, "")]) for key in keys}
        return embeddings.of_templates(found, named), faces
    return found, faces


class _Searched(NamedTuple):
    """A gallery and its probes, as far as their images are there."""

    gallery: np.ndarray  # (G, D)
    gallery_people: np.ndarray  # (G,)
    probes: np.ndarray  # (P, D)
    probe_people: np.ndarray  # (P,)
    probe_keys: list[str]
    found: search.SearchResult
    common: dict  # what all metrics begin with


def _search(system, gallery: Gallery, known: EnrolledSet, config) -> _Searched:
    result, faces = _embed(system, gallery.keys(), known)
    rows = {key: row for row, key in enumerate(result.keys)}
    entries, gallery_people, _ = galleries.arrays(gallery.known, rows)
    # Where all images of a known person are missing, a mate would be taken for a stranger.
    unknown = set(gallery.known.values()) - set(gallery_people.tolist())
    there = galleries.without(gallery.probes, unknown)
    looked_up, probe_people, probe_keys = galleries.arrays(there, rows)
    _check_there(system, result, entries, looked_up)
    features = result.features
    found = search.search(features[entries], gallery_people, features[looked_up], probe_people)
    common = _common(system, result, faces, known, config)
    common["doubts"] += _gallery_doubts(gallery, unknown)
    common |= {
        "num_gallery_people": len(np.unique(gallery_people)),
        "num_gallery": len(entries),
        "num_probes": len(looked_up),
    }
    return _Searched(
        features[entries],
        gallery_people,
        features[looked_up],
        probe_people,
        probe_keys,
        found,
        common,
    )


def _check_there(system, result, *sides):
    """Refuse to go on where every image of a side is missing."""
    if not all(len(rows) for rows in sides):
        key, reason = next(iter(result.missing.items()))
        raise ValueError(
            f"{system.name} must have images of known people and images to look up. "
            f"Received: {len(result.missing)} missing, for example {key} ({reason}), and "
            f"{len(result.keys)} others"
        )


def _gallery_doubts(gallery, unknown):
    doubts = []
    if unknown:
        count = len(galleries.only(gallery.probes, unknown))
        doubts.append(
            f"{len(unknown)} people have no image left in the gallery, for example "
            f"{min(unknown)}: {count} images of them are not looked up."
        )
    if own := sorted(gallery.known.keys() & gallery.probes.keys()):
        doubts.append(
            f"{len(own)} images are in the gallery and looked up too, for example {own[0]}: "
            "every model finds an image itself."
        )
    return doubts


def _missing_doubts(missing, what):
    return [f"Missing {what}, left out: {quality_checks.told_reasons(missing)}."] if missing else []


def _common(system, result, faces, known, config):
    what = "templates" if known.templates else "images"
    doubts = known.doubts + _missing_doubts(result.missing, what)
    if faces is not None:
        rng = np.random.default_rng(config.seed)
        keys = known.images_of(result.keys)
        doubts += quality_checks.image_doubts(faces, keys, rng)
    return {"model": system.name, "missing": result.missing, "doubts": doubts}


def _probe_table(system, searched):
    found = searched.found
    has_mate = found.ranks > 0
    return pd.DataFrame(
        {
            "model": system.name,
            "probe": searched.probe_keys,
            "person": searched.probe_people,
            "rank": found.ranks,  # 0: not in the gallery
            "own_score": np.where(has_mate, found.mate_scores, np.nan),
            "best_other_score": np.where(np.isfinite(found.top_scores), found.top_scores, np.nan),
        }
    )


def _closed_set(system, known, config) -> Found:
    gallery = inputs.gallery_of(
        known, config, lambda rng: galleries.split_closed(known.roll, config.gallery_images, rng)
    )
    galleries.check_closed(gallery, config.probes or "the images")
    searched = _search(system, gallery, known, config)
    rates = search.cmc(searched.found.ranks, max(config.max_rank, *RANKS))
    metrics = {
        **searched.common,
        **{f"rank_{rank}": float(rates[rank - 1]) for rank in RANKS},
        "cmc": rates[: config.max_rank].tolist(),
    }
    return Found(metrics, {"cmc": rates[: config.max_rank]}, _probe_table(system, searched))


def _open_set(system, known, config) -> Found:
    gallery = inputs.gallery_of(
        known,
        config,
        lambda rng: galleries.split_open(known.roll, config.gallery_images, config.strangers, rng),
    )
    galleries.check_open(gallery)
    searched = _search(system, gallery, known, config)
    found = searched.found
    curve = search.dir_curve(found)
    mated = found.ranks[found.ranks > 0]
    metrics = {
        **searched.common,
        "num_mated": len(mated),
        "num_strangers": int(np.sum(found.ranks == 0)),
        "rank_1": search.rank_k(mated, 1),
        "dir_at_far": _by_rate(lambda far: search.dir_at_far(found, far)),
        "candidates": config.candidates,
        "tpir_at_fpir": _by_rate(lambda far: search.dir_at_far(found, far, config.candidates)),
        "verification": _verify_all(searched),
    }
    return Found(metrics, {"dir": (curve.far, curve.dir)}, _probe_table(system, searched))


def _by_rate(value: Callable[[float], float | None]) -> dict[str, float | None]:
    return {f"{far:g}": value(far) for far in FARS}


def _verify_all(searched) -> dict | None:
    """Every probe against every entry of the gallery; None if they are too many."""
    if len(searched.probes) * len(searched.gallery) > MAX_COMPARISONS:
        return None
    probes = search.unit_rows(searched.probes, "probes")
    scores = probes @ search.unit_rows(searched.gallery, "gallery").T
    is_same = searched.probe_people[:, None] == searched.gallery_people
    curve = roc.roc(scores.ravel(), is_same.ravel())
    num_mismatched = int(np.sum(~is_same))
    return {
        "num_matched": int(is_same.sum()),
        "num_mismatched": num_mismatched,
        "auc": roc.auc_score(curve),
        "eer": roc.equal_error(curve),
        "tar_at_far": by_far(functools.partial(roc.tar_at_far, curve), num_mismatched),
        "threshold_at_far": by_far(functools.partial(roc.threshold_at_far, curve), num_mismatched),
    }


def _among_distractors(system, known, config) -> Found:
    if len(set(known.roll.values())) == len(known.roll):
        raise ValueError(
            "Someone must have two images, one to be found with the other. "
            f"Received: {len(known.roll)} images of as many people"
        )
    strangers_by = _distractors(config, set(known.roll.values()))
    result, faces = _embed(system, sorted(known.roll), known)
    rows = {key: row for row, key in enumerate(result.keys)}
    probes, people, keys = galleries.arrays(known.roll, rows)
    _check_there(system, result, probes)
    strangers, faces_of_strangers = strangers_by(system)
    _check_distractors(strangers, config, result.features.shape[1])
    sizes = search.megaface(
        result.features[probes], people, strangers.features, max_rank=config.max_rank
    )
    common = _common(system, result, faces, known, config)
    common["doubts"] += _missing_doubts(strangers.missing, "distractors")
    if faces_of_strangers is not None:
        rng = np.random.default_rng(config.seed)
        seen = quality_checks.image_doubts(faces_of_strangers, strangers.keys, rng)
        common["doubts"] += [f"Distractors: {doubt}" for doubt in seen]
    metrics = {
        **common,
        "num_probes": len(keys),
        "num_identities": len(np.unique(people)),
        "distractors": [
            {
                "num_distractors": size.num_distractors,
                "rank_1": float(size.cmc[0]),
                "cmc": size.cmc.tolist(),
                "tar_at_far": {f"{far:g}": tar for far, tar in size.tar_at_far.items()},
            }
            for size in sizes
        ],
    }
    numbers = np.array([size.num_distractors for size in sizes])
    curves = {"distractors": (numbers, np.array([size.cmc[0] for size in sizes]))}
    table = pd.DataFrame({"model": system.name, "probe": keys, "person": people})
    return Found(metrics, curves, table)


def _distractors(config, people) -> Callable[[Embedder], tuple[Embeddings, Faces | None]]:
    """What gives the embeddings of everyone but `people`, in an order drawn from the seed."""
    path = Path(config.distractors)
    if not config.distractors:
        raise ValueError("`distractors` must name strangers. Received: nothing")
    are_saved = path.suffix == ".npz"
    in_records = (path / records.INFO_FILE).is_file()
    if config.distractor_landmarks and (are_saved or in_records):
        raise ValueError(
            "`distractor_landmarks` needs a folder of images. "
            f"Received: distractors={config.distractors!r}"
        )
    if are_saved and len(several(config.model)) + len(several(config.embeddings)) > 1:
        raise ValueError(
            "Saved embeddings are of one system, and cannot be distractors for several. "
            f"Received: distractors={config.distractors!r}"
        )
    if are_saved:
        saved = embeddings.load(path)
        roll = {key: lfw.identity_of_key(key) for key in saved.keys}
    elif in_records:
        roll, source = galleries.roll_of_records(path), PairSources(records=str(path))
    else:
        roll = galleries.roll_of_folders(path, "distractors")
        source = PairSources(images=str(path), landmarks=config.distractor_landmarks)
        face_pairs.check_files(source)
    keys = list(galleries.without(roll, people))
    if not keys:
        raise ValueError(
            f"`distractors` must hold other people than those who are looked for. Received: {path}"
        )
    # The first n of them are a sample.
    keys = [keys[i] for i in np.random.default_rng(config.seed).permutation(len(keys))]
    if are_saved:
        return lambda system: (embeddings.select(saved, keys), None)
    return lambda system: _embed(system, keys, EnrolledSet(roll, source, {}, []))


def _check_distractors(strangers, config, size):
    """Refuse distractors that cannot be compared with embeddings of `size` numbers."""
    if not strangers.keys:
        key, reason = next(iter(strangers.missing.items()))
        raise ValueError(
            "`distractors` must have images that can be read. "
            f"Received: none in {config.distractors}, for example {key} ({reason})"
        )
    if strangers.features.shape[1] != size:
        raise ValueError(
            f"`distractors` must have embeddings of {size} numbers, as the probes do. "
            f"Received: {strangers.features.shape[1]} in {config.distractors}"
        )
