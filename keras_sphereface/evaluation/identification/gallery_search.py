"""The search of probes in a gallery, which closed-set and open-set identification share."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.identification.gallery import GallerySplit
from keras_sphereface.evaluation.identification.identity_map import IdentityMap, exclude_identities
from keras_sphereface.evaluation.identification.intervals import ProbeIntervals
from keras_sphereface.evaluation.identification.labeled_images import (
    LabeledEmbeddings,
    LabeledImages,
    embed_images,
)
from keras_sphereface.evaluation.identification.nearest_faces import (
    NUM_NEAREST,
    draw_nearest_faces,
)
from keras_sphereface.evaluation.identification.result import IdentificationMetrics
from keras_sphereface.metrics.identification import (
    NearestIdentities,
    SearchResult,
    nearest_identities,
    search_gallery,
)
from keras_sphereface.utils.progress import stage
from keras_sphereface.utils.text import counted


@dataclasses.dataclass(frozen=True)
class GalleryMetrics(IdentificationMetrics):
    """Numbers of a search in a gallery.

    Attributes:
        num_gallery_identities: Identities in the gallery.
        num_gallery_entries: Images or templates in the gallery.
        num_failures_to_acquire: Probes without an embedding.
        fta: Failure-to-acquire rate, in [0, 1]: their share of all probes.
        num_failures_to_enroll: Identities without an embedding of any image for the gallery.
        fte: Failure-to-enroll rate, in [0, 1]: their share of the identities to enroll.
        num_mated_failures: Mated probes that cannot be found, since they or all gallery images of
            their identity have no embedding; `num_probes` does not count them.
        intervals: {name of a rate as in `measures`: its 95 % intervals}; empty without draws.
    """

    num_gallery_identities: int
    num_gallery_entries: int
    num_failures_to_acquire: int = dataclasses.field(default=0, kw_only=True)
    fta: float = dataclasses.field(default=0.0, kw_only=True)
    num_failures_to_enroll: int = dataclasses.field(default=0, kw_only=True)
    fte: float = dataclasses.field(default=0.0, kw_only=True)
    num_mated_failures: int = dataclasses.field(default=0, kw_only=True)
    intervals: Mapping[str, ProbeIntervals] = dataclasses.field(default_factory=dict, kw_only=True)

    @property
    def sizes(self) -> str:
        """The numbers of probes, identities and images of the gallery, in words."""
        return (
            f"{super().sizes}, a gallery of {counted(self.num_gallery_identities, 'identity')} "
            f"with {counted(self.num_gallery_entries, 'image')}"
        )

    def rate_with_failures(self, rate: float, num_mated: int) -> float:
        """Return a rate of `num_mated` probes, of those that failed too: none of them is found."""
        return rate * num_mated / (num_mated + self.num_mated_failures)


@dataclasses.dataclass(frozen=True)
class GallerySearch:
    """Gallery and probes as embeddings, and the ranks of the mates.

    Attributes:
        entries: Entries of the gallery.
        probes: Probes.
        result: Rank and score of each probe's mate, and the highest score of other identities.
        metrics: Numbers of the search.
        nearest: The nearest identities of each probe.
        nearest_faces: PNG of probes beside the faces nearest to them; None without faces.
    """

    entries: LabeledEmbeddings
    probes: LabeledEmbeddings
    result: SearchResult
    metrics: GalleryMetrics
    nearest: NearestIdentities
    nearest_faces: bytes | None

    def probe_table(self) -> pd.DataFrame:
        """Return a row for each probe; rank 0 and no mate score for non-mated ones.

        The best wrong match and the nearest identities are named by their most similar entries.
        """
        result, nearest = self.result, self.nearest.entries
        keys = np.array(self.entries.keys, dtype=object)
        is_other = self.entries.identities[nearest] != self.probes.identities[:, None]
        first_other = nearest[np.arange(len(nearest)), is_other.argmax(axis=1)]
        others = result.top_nonmate_scores
        return pd.DataFrame(
            {
                "model": self.metrics.model,
                "probe": self.probes.keys,
                "identity": self.probes.identities,
                "rank": result.ranks,
                "mate_score": np.where(result.ranks > 0, result.mate_scores, np.nan),
                "top_nonmate_score": np.where(np.isfinite(others), others, np.nan),
                "top_nonmate": np.where(is_other.any(axis=1), keys[first_other], ""),
                **{f"nearest_{k + 1}": keys[nearest[:, k]] for k in range(nearest.shape[1])},
            }
        )


def search_probes(
    embedder: Embedder, images: LabeledImages, gallery: GallerySplit, seed: int
) -> GallerySearch:
    """Embed gallery and probes, and search every probe in the gallery.

    Args:
        embedder: Network, or saved embeddings.
        images: Images of gallery and probes.
        gallery: Gallery and probes.
        seed: Int. Seed for the choice of images that are checked.

    Raises:
        ValueError: If no entry of the gallery or no probe has an embedding.
    """
    embedded = embed_images(embedder, images, gallery.keys())
    entries = embedded.select(gallery.entries)
    # Probes of an identity whose gallery images are all missing would count as non-mated.
    lost = set(gallery.entries.values()) - set(entries.identities.tolist())
    probes = embedded.select(exclude_identities(gallery.probes, lost))
    failed = [key for key in gallery.probes if key in embedded.embeddings.missing]
    enrolled = set(gallery.entries.values())
    unfindable = {key for key in failed if gallery.probes[key] in enrolled}
    unfindable.update(key for key, identity in gallery.probes.items() if identity in lost)
    with stage("checking images"):
        image_warnings = embedded.image_warnings(seed)
    metrics = GalleryMetrics(
        model=embedder.name,
        missing=embedded.embeddings.missing,
        warnings=(
            *images.warnings,
            *embedded.missing_warnings(images.unit),
            *image_warnings,
            *_lost_warnings(gallery.probes, lost),
            *_self_match_warnings(gallery),
        ),
        num_probes=len(probes.keys),
        num_gallery_identities=len(np.unique(entries.identities)),
        num_gallery_entries=len(entries.keys),
        num_failures_to_acquire=len(failed),
        fta=len(failed) / len(gallery.probes),
        num_failures_to_enroll=len(lost),
        fte=len(lost) / len(enrolled),
        num_mated_failures=len(unfindable),
    )
    result = search_gallery(
        entries.embeddings, entries.identities, probes.embeddings, probes.identities
    )
    with stage("looking for the nearest"):
        nearest = nearest_identities(
            entries.embeddings, entries.identities, probes.embeddings, NUM_NEAREST
        )
    drawn = None
    if embedded.faces is not None:
        templates = images.templates
        drawn = draw_nearest_faces(embedded.faces, templates, entries, probes, result, nearest)
    return GallerySearch(entries, probes, result, metrics, nearest, drawn)


def _lost_warnings(probes: IdentityMap, lost: set[str]) -> list[str]:
    if not lost:
        return []
    count = len(probes) - len(exclude_identities(probes, lost))
    return [
        f"{counted(len(lost), 'identity has', 'identities have')} no image left in the gallery, "
        f"for example {min(lost)}: {counted(count, 'probe is', 'probes are')} left out."
    ]


def _self_match_warnings(gallery: GallerySplit) -> list[str]:
    shared = sorted(gallery.entries.keys() & gallery.probes.keys())
    if not shared:
        return []
    return [
        f"{counted(len(shared), 'image is', 'images are')} in the gallery and among the probes, "
        f"for example {shared[0]}: every model matches an image with itself."
    ]
