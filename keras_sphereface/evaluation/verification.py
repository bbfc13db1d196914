"""What embeddings say of pairs: the numbers of `metrics.json`."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.metrics import bootstrap, protocols, roc, separability

DEFAULT_PROTOCOL = "sphereface"


class Verification(NamedTuple):
    """What embeddings say of the P pairs that are complete."""

    metrics: dict  # what stands in metrics.json
    protocol: str
    curve: roc.Roc
    verdict: protocols.Verdict
    pairs: lfw.Pairs  # the complete ones


def complete_pairs(pairs: lfw.Pairs, missing: dict[str, str], file: str = "") -> np.ndarray:
    """Which pairs have both of their faces, (P,) bool.

    Raises:
        ValueError: naming `file`, if none has, or none of a fold.
    """
    both = zip(pairs.first, pairs.second, strict=True)
    complete = np.array([a not in missing and b not in missing for a, b in both])
    if not complete.any():
        told = f"{file}: " * bool(file)
        first = next(iter(missing.items()), None)
        such = f", the first {first[0]}: {first[1]}" if first else ""
        raise ValueError(
            f"{told}No pair has both of its faces. Received: {len(complete)} pairs, "
            f"{len(missing)} of {len(pairs.keys())} faces missing{such}"
        )
    # A fold that is gone would make the mean one over fewer folds, which nothing tells.
    emptied = np.setdiff1d(pairs.folds, pairs.folds[complete])
    if len(emptied):
        told = f"{file}: " * bool(file)
        raise ValueError(
            f"{told}Every fold must keep pairs that have both of their faces. Received: none in "
            f"fold {emptied[0]}, with {len(missing)} faces missing"
        )
    return complete


def verify(
    pairs: lfw.Pairs,
    embeddings: Embeddings,
    protocol: str = DEFAULT_PROTOCOL,
    replicates: int = 0,
    seed: int = 0,
    file: str = "",
) -> Verification:
    """The protocol on the pairs that are complete.

    Args:
        pairs: all pairs.
        embeddings: of the faces that are there, and why others are not.
        protocol: a name of `protocols.PROTOCOLS`.
        replicates: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
        file: where the pairs stand, for errors.

    Raises:
        ValueError: if no pair is complete or the others do not suit the protocol.
    """
    complete = complete_pairs(pairs, embeddings.missing, file)
    used = pairs.select(complete)
    rows = np.stack([embeddings.rows(side) for side in used[:2]], axis=1)
    judge = functools.partial(
        protocols.k_fold,
        views=embeddings.views,
        pairs=rows,
        is_same=used.is_same,
        folds=used.folds,
    )
    try:
        verdict = judge(protocol)
    except ValueError as error:
        told = f"{file}: " * bool(file)
        if embeddings.missing:
            told += f"{len(embeddings.missing)} faces are missing. "
        raise ValueError(f"{told}{error}") from error
    curve = roc.roc(verdict.scores, used.is_same)
    num_same, num_different = int(used.is_same.sum()), int(np.sum(~used.is_same))
    measures = _measures(num_different)
    metrics = {
        **accuracy_metrics(verdict),
        **{name: measure(curve) for name, measure in measures.items() if name in ("auc", "eer")},
        "tar_at_far": by_far(lambda far: roc.tar_at_far(curve, far), num_different),
        "threshold_at_far": by_far(lambda far: roc.threshold_at_far(curve, far), num_different),
        "intervals": _intervals(verdict.scores, used.is_same, measures, replicates, seed),
        "num_pairs": len(used.first),
        "num_matched": num_same,
        "num_mismatched": num_different,
        "protocol": f"{protocol}: {protocols.PROTOCOLS[protocol].description}",
        "score_unit": protocols.PROTOCOLS[protocol].unit,
        "num_views": embeddings.views.shape[1],
        "accuracy_by_protocol": {
            name: _headline(verdict if name == protocol else judge(name))
            for name in protocols.PROTOCOLS
        },
        **_missing_metrics(verdict, complete, embeddings.missing),
    }
    return Verification(metrics, protocol, curve, verdict, used)


def accuracy_metrics(verdict: protocols.Verdict) -> dict:
    """The accuracies of folds, their mean and spread, with the thresholds."""
    return {
        "accuracy_mean": float(np.mean(verdict.accuracies)),
        "accuracy_std": float(np.std(verdict.accuracies)),
        "accuracy_standard_error": protocols.standard_error(verdict.accuracies),
        "accuracy_per_fold": verdict.accuracies.tolist(),
        "folds": verdict.folds.tolist(),
        "thresholds": verdict.thresholds.tolist(),
    }


def _headline(verdict):
    names = ("accuracy_mean", "accuracy_std", "accuracy_standard_error")
    metrics = accuracy_metrics(verdict)
    return {name: metrics[name] for name in names}


def _measures(num_different) -> dict[str, Callable[[roc.Roc], float]]:
    """{name: measure of a ROC}, of those that so many mismatched pairs carry."""
    fars = [far for far in roc.FARS if roc.carries(far, num_different)]
    return {
        "auc": roc.auc_score,
        "eer": roc.equal_error,
        **{f"{far:g}": functools.partial(roc.tar_at_far, far=far) for far in fars},
    }


def by_far(value: Callable[[float], float | None], num_different: int) -> dict[str, float | None]:
    """{FAR: value}; None where so many mismatched pairs are too few to tell."""
    return {f"{far:g}": value(far) if roc.carries(far, num_different) else None for far in roc.FARS}


def _intervals(scores, is_same, measures, replicates, seed):
    rng = np.random.default_rng(seed)
    found = bootstrap.intervals(scores, is_same, measures, replicates, rng)
    of_far = {name: list(interval) for name, interval in found.items() if name[0].isdigit()}
    others = {name: list(interval) for name, interval in found.items() if name not in of_far}
    return {"replicates": replicates, "confidence": bootstrap.CONFIDENCE} | (
        {**others, "tar_at_far": of_far} if found else {}
    )


def _missing_metrics(verdict, complete, missing):
    right, left_out = int(verdict.is_right.sum()), int(np.sum(~complete))
    return {
        "num_pairs_left_out": left_out,
        "missing": missing,
        "accuracy_bounds": [right / len(complete), (right + left_out) / len(complete)],
    }


def measure_angles(
    pairs: lfw.Pairs, embeddings: Embeddings, has_names: bool
) -> separability.ClassAngles | separability.PairAngles:
    """The angles within and between people, or of matched and mismatched pairs.

    Args:
        pairs: complete ones, of both kinds.
        embeddings: of their images.
        has_names: whether keys tell who is on an image. If so, all images of the pairs are
            compared with each other.
    """
    keys = pairs.keys()
    people = np.array([identity_of_key(key) for key in keys])
    if has_names and len(np.unique(people)) < len(people):
        return separability.class_angles(embeddings.features[embeddings.rows(keys)], people)
    rows = np.stack([embeddings.rows(side) for side in pairs[:2]], axis=1)
    return separability.pair_angles(embeddings.features, rows, pairs.is_same)


def angle_metrics(angles: separability.ClassAngles | separability.PairAngles) -> dict:
    """The criterion of the paper as it stands in metrics.json; angles in degrees."""
    metrics = {
        "compared": "pairs",
        "largest_intra_class_angle": angles.largest_intra,
        "smallest_inter_class_angle": angles.smallest_inter,
        "holds": bool(angles.criterion_holds),
    }
    if isinstance(angles, separability.ClassAngles):
        several = np.isfinite(angles.largest_intra_of)
        metrics |= {
            "compared": "all images of all people",
            "num_identities": len(angles.classes),
            "num_people_with_several_images": int(several.sum()),
            "share_of_people": angles.share_of_classes,
        }
    return metrics
