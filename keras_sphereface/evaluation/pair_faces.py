"""Pairs of faces side by side on one image."""

from collections.abc import Sequence

import numpy as np

from keras_sphereface.data import contact_sheet, images
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.faces import Faces, MissingFaceError

TILES_PER_ROW = 5
GAP = 6  # white pixels beside a pair, so that one sees which two faces belong together


def draw_face_pairs(
    faces: Faces | None, templates: Templates, pairs: Sequence[tuple[str, str, str]]
) -> bytes | None:
    """Draw pairs of faces on one image.

    Args:
        faces: Loaders of the faces; None if there are only embeddings.
        templates: {name: [(key of an image, its medium)]} of names that are not keys; the first
            image of a template that can be loaded stands for it.
        pairs: (first, second, caption) of each pair, by key or name.

    Returns:
        A PNG; None where no face of any pair can be loaded.
    """
    if faces is None:
        return None
    sides = [[load_face(faces, templates, name) for name in pair[:2]] for pair in pairs]
    loaded = [face for both in sides for face in both if face is not None]
    if not loaded:
        return None
    blank = np.full_like(loaded[0], 255)
    tiles = [_tile(*(blank if face is None else face for face in both)) for both in sides]
    captions = [caption for *_, caption in pairs]
    return images.encode_png(contact_sheet.draw_contact_sheet(tiles, TILES_PER_ROW, captions))


def load_face(faces: Faces, templates: Templates, name: str) -> np.ndarray | None:
    """Return the face of an image, or the first of a template that can be loaded."""
    for key, _ in templates.get(name, [(name, "")]):
        try:
            return faces.load(key)
        except MissingFaceError:
            continue
    return None


def _tile(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the two faces of a pair side by side."""
    inside, outside = (np.full((len(first), width, 3), 255, np.uint8) for width in (2, GAP))
    return np.concatenate([outside, first, inside, second, outside], axis=1)
