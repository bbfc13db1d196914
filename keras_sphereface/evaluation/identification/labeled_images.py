"""Images whose identities are given, and their embeddings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.data import images
from keras_sphereface.evaluation import quality_checks
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.embeddings import Embeddings, template_embeddings
from keras_sphereface.evaluation.faces import Faces, FaceSources, open_faces
from keras_sphereface.evaluation.identification.identity_map import IdentityMap
from keras_sphereface.utils.progress import log


class LabeledImages(NamedTuple):
    """Images or templates with their identities, and the files of their faces.

    Attributes:
        identities: {key of an image or name of a template: identity}.
        sources: Paths of the faces; without any, saved embeddings are used.
        templates: {name: [(key, medium)]} of names that are templates.
        warnings: Sentences on images that were left out.
    """

    identities: IdentityMap
    sources: FaceSources
    templates: Mapping[str, Sequence[tuple[str, str]]]
    warnings: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The kind of thing that a key names, for messages: "templates" or "images"."""
        return "templates" if self.templates else "images"

    def image_keys(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of images, and of the images of templates, each once, sorted."""
        return sorted({k for key in keys for k, _ in self.templates.get(key, [(key, "")])})


class LabeledEmbeddings(NamedTuple):
    """Embeddings of images or templates whose identities are given.

    Attributes:
        embeddings: (N, D) float32.
        identities: (N,) str.
        keys: N keys of images or names of templates.
    """

    embeddings: np.ndarray
    identities: np.ndarray
    keys: list[str]


class EmbeddedImages(NamedTuple):
    """The embeddings that an embedder made of images or templates.

    Attributes:
        embeddings: Embeddings by key, and the keys without.
        faces: Faces of the images; None if the embedder has embeddings saved and no files.
        images: Images that were asked for.
        system: Name of the embedder.
    """

    embeddings: Embeddings
    faces: Faces | None
    images: LabeledImages
    system: str

    def select(self, identity_map: IdentityMap) -> LabeledEmbeddings:
        """Return the embeddings of those of a map that have one, in its order.

        Raises:
            ValueError: If none has.
        """
        row_of = {key: row for row, key in enumerate(self.embeddings.keys)}
        keys = [key for key in identity_map if key in row_of]
        if not keys:
            missing, present = self.embeddings.missing, len(row_of)
            key, reason = next(iter(missing.items()))
            raise ValueError(
                f"{self.system} must have images of the gallery and of the probes. Received: "
                f"{len(missing)} missing, for example {key} ({reason}), and {present} others"
            )
        identities = np.array([identity_map[key] for key in keys], dtype=str)
        rows = [row_of[key] for key in keys]
        return LabeledEmbeddings(self.embeddings.features[rows], identities, keys)

    def missing_warnings(self, unit: str) -> list[str]:
        """Return how many `unit` have no embedding and why, in a sentence; none if all have."""
        if not self.embeddings.missing:
            return []
        reasons = quality_checks.describe_reasons(self.embeddings.missing)
        return [f"Missing {unit}, left out: {reasons}."]

    def image_warnings(self, seed: int) -> list[str]:
        """Return what looks wrong with the embeddings and a sample of the images."""
        warnings = quality_checks.embedding_warnings(self.embeddings.views)
        if self.faces is None:
            return warnings
        keys = self.images.image_keys(self.embeddings.keys)
        return warnings + quality_checks.image_warnings(
            self.faces, keys, np.random.default_rng(seed)
        )


def embed_images(embedder: Embedder, labeled: LabeledImages, keys: Sequence[str]) -> EmbeddedImages:
    """Embed images, or templates of them.

    Args:
        embedder: Network, or saved embeddings.
        labeled: All images.
        keys: Those to embed.
    """
    log(f"{embedder.name}: {len(keys):,} {labeled.unit}")
    image_keys = labeled.image_keys(keys)
    faces = None
    if labeled.sources.images or labeled.sources.records:
        size = embedder.image_size or images.IMAGE_SIZE
        faces = open_faces(labeled.sources, image_keys, size)
    embedded = embedder.embed(image_keys, faces and faces.load)
    if labeled.templates:
        templates = {key: labeled.templates.get(key, [(key, "")]) for key in keys}
        embedded = template_embeddings(embedded, templates)
    return EmbeddedImages(embedded, faces, labeled, embedder.name)
