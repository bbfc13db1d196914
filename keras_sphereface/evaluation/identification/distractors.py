"""Identification among distractors, in the manner of MegaFace."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_sphereface.data import records
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.embeddings import load_embeddings
from keras_sphereface.evaluation.faces import FaceSources, check_face_files
from keras_sphereface.evaluation.identification.identity_map import (
    IdentityMap,
    exclude_identities,
    identities_of_folders,
    identities_of_records,
)
from keras_sphereface.evaluation.identification.labeled_images import (
    EmbeddedImages,
    LabeledImages,
    embed_images,
)
from keras_sphereface.evaluation.identification.result import (
    IdentificationMetrics,
    IdentificationResult,
)
from keras_sphereface.metrics.identification import MegaFaceResult, evaluate_megaface
from keras_sphereface.utils.text import counted


class Distractors(NamedTuple):
    """Faces of other identities than those of the probes, in random order.

    Attributes:
        path: Their folder or file.
        embed: Function from an embedder to their embeddings.
    """

    path: str
    embed: Callable[[Embedder], EmbeddedImages]


@dataclasses.dataclass(frozen=True)
class DistractorCountMetrics:
    """Rates in [0, 1] among the first `num_distractors` distractors.

    Attributes:
        num_distractors: Number of distractors.
        rank_1: Share of probes whose mate is more similar than every distractor.
        cmc: Share of probes with fewer than 1, 2, ... distractors at least as similar.
        tar_at_far: {false accept rate: true accept rate} of all probes against all distractors;
            None where not one false accept is allowed.
    """

    num_distractors: int
    rank_1: float
    cmc: tuple[float, ...]
    tar_at_far: Mapping[str, float | None]

    def measures(self) -> dict[str, float | None]:
        """Return {name: rate} for tables; None where not one false accept is allowed."""
        return {
            "rank 1": self.rank_1,
            **{f"TAR at FAR {far}": rate for far, rate in self.tar_at_far.items()},
        }


@dataclasses.dataclass(frozen=True)
class DistractorsMetrics(IdentificationMetrics):
    """Numbers of identification among distractors.

    Attributes:
        num_identities: Identities of the probes.
        distractors: Rates by number of distractors, rising.

    Example:
        >>> among_10 = DistractorCountMetrics(10, 0.9, (0.9, 1.0), {"0.0001": None})
        >>> metrics = DistractorsMetrics("casia", {}, (), 84, 14, (among_10,))
        >>> metrics.sizes, metrics.distractors[0].rank_1
        ('84 probes of 14 identities', 0.9)
    """

    num_identities: int
    distractors: tuple[DistractorCountMetrics, ...]

    @property
    def sizes(self) -> str:
        """The numbers of probes and identities, in words."""
        return f"{super().sizes} of {counted(self.num_identities, 'identity')}"


def open_distractors(
    path: str,
    landmarks: str,
    landmark_columns: str,
    probe_identities: Collection[str],
    num_embedders: int,
    seed: int,
    detector: str = "",
    policy: str = "center",
) -> Distractors:
    """Prepare the embeddings of distractors, in random order: the first n are a sample.

    Args:
        path: Class folders, a folder of records, or an .npz file of embeddings.
        landmarks: Five points for each image of class folders; "" if they are aligned.
        landmark_columns: Names of their columns; "": find them out.
        probe_identities: Identities that are left out.
        num_embedders: Int. Embedders that will be compared; saved embeddings suit one only.
        seed: Int. Seed for the order.
        detector: What finds the faces of class folders without landmarks; "": nothing.
        policy: Choice of the face of an image with several.

    Raises:
        FileNotFoundError, ValueError: If the files cannot be used, or no other identity is left.
    """
    is_records = (Path(path) / records.INFO_FILE).is_file()
    _check_settings(path, landmarks if is_records or path.endswith(".npz") else "", num_embedders)
    saved = load_embeddings(path) if path.endswith(".npz") else None
    if saved is not None:
        identity_map, sources = {k: identity_of_key(k) for k in saved.keys}, FaceSources()
    elif is_records:
        identity_map, sources = identities_of_records(path), FaceSources(records=path)
    else:
        identity_map = identities_of_folders(path, "distractors")
        detector = "" if landmarks else detector
        sources = FaceSources(path, landmarks, "", landmark_columns, detector, policy)
        check_face_files(sources)
    keys = _shuffled_keys(exclude_identities(identity_map, probe_identities), seed, path)
    images = LabeledImages(identity_map, sources, {})
    if saved is not None:
        selected = EmbeddedImages(saved.select(keys), None, images, path)
        return Distractors(path, lambda embedder: selected)
    return Distractors(path, lambda embedder: embed_images(embedder, images, keys))


def _check_settings(path: str, unused_landmarks: str, num_embedders: int) -> None:
    if not path:
        raise ValueError(
            "`distractors` must be class folders, a folder of records or an .npz file. "
            "Received: nothing"
        )
    if unused_landmarks:
        raise ValueError(
            f"`distractor_landmarks` needs a folder of images. Received: distractors={path!r}"
        )
    if path.endswith(".npz") and num_embedders > 1:
        raise ValueError(
            "`distractors` that are saved embeddings belong to one system. Give one of `model` "
            f"and `embeddings`. Received: distractors={path!r} for {num_embedders} systems"
        )


def _shuffled_keys(identity_map: IdentityMap, seed: int, path: str) -> list[str]:
    keys = list(identity_map)
    if not keys:
        raise ValueError(
            f"`distractors` must hold other identities than those of the probes. Received: {path}"
        )
    return [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))]


def check_has_mates(identity_map: IdentityMap) -> None:
    """Refuse probes of which no two are of one identity.

    Raises:
        ValueError: With their number.
    """
    if len(set(identity_map.values())) == len(identity_map):
        raise ValueError(
            "At least one identity must have two images, a probe and its mate. "
            f"Received: {counted(len(identity_map), 'image')} of as many identities"
        )


def measure_among_distractors(
    embedder: Embedder,
    images: LabeledImages,
    distractors: Distractors,
    max_rank: int,
    seed: int,
) -> IdentificationResult:
    """Measure how often the mate of a probe is more similar than distractors.

    Args:
        embedder: Network, or saved embeddings.
        images: Images of the probes and their mates.
        distractors: From `open_distractors`.
        max_rank: Int. Last rank of the CMC curve.
        seed: Int. Seed for the choice of images that are checked.

    Raises:
        ValueError: If no probe or no distractor has an embedding, or their sizes differ.
    """
    embedded = embed_images(embedder, images, sorted(images.identities))
    probes = embedded.select(images.identities)
    others = distractors.embed(embedder)
    _check_comparable(others, probes.embeddings.shape[1], distractors.path)
    results = evaluate_megaface(
        probes.embeddings, probes.identities, others.embeddings.features, max_rank=max_rank
    )
    counts = tuple(_count_metrics(result) for result in results)
    metrics = DistractorsMetrics(
        model=embedder.name,
        missing=embedded.embeddings.missing,
        warnings=(
            *images.warnings,
            *embedded.missing_warnings(images.unit),
            *embedded.image_warnings(seed),
            *others.missing_warnings("distractors"),
            *(f"Distractors: {warning}" for warning in others.image_warnings(seed)),
        ),
        num_probes=len(probes.keys),
        num_identities=len(np.unique(probes.identities)),
        distractors=counts,
    )
    numbers = np.array([count.num_distractors for count in counts])
    rates = np.array([count.rank_1 for count in counts])
    table = pd.DataFrame(
        {"model": embedder.name, "probe": probes.keys, "identity": probes.identities}
    )
    return IdentificationResult(metrics, (numbers, rates), table)


def _count_metrics(result: MegaFaceResult) -> DistractorCountMetrics:
    return DistractorCountMetrics(
        num_distractors=result.num_distractors,
        rank_1=float(result.cmc[0]),
        cmc=tuple(result.cmc.tolist()),
        tar_at_far={f"{far:g}": tar for far, tar in result.tar_at_far.items()},
    )


def _check_comparable(distractors: EmbeddedImages, size: int, path: str) -> None:
    """Refuse distractors without embeddings, or with other than `size` numbers in each."""
    embedded = distractors.embeddings
    if not embedded.keys:
        key, reason = next(iter(embedded.missing.items()))
        raise ValueError(
            "`distractors` must have images that can be read. "
            f"Received: none in {path}, for example {key} ({reason})"
        )
    if embedded.features.shape[1] != size:
        raise ValueError(
            f"`distractors` must have embeddings of {size} numbers, as the probes do. "
            f"Received: {embedded.features.shape[1]} in {path}"
        )
