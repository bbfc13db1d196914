"""Probes beside the faces of the identities that are nearest to them."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_sphereface.data import contact_sheet, images
from keras_sphereface.evaluation.face_sheets import short_name
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.identification.labeled_images import LabeledEmbeddings
from keras_sphereface.evaluation.pair_faces import load_face
from keras_sphereface.metrics.identification import NearestIdentities, SearchResult

NUM_NEAREST = 5
NUM_PROBES = 12  # that are shown
MATE = "= "  # before the score of the right identity
CAPTION = (
    "Probes, on the left, beside the five nearest identities of the gallery, with their cosine; "
    f"{MATE}marks the identity of the probe. First are the probes that are mistaken most clearly, "
    "or came closest to it."
)


def hardest_probes(result: SearchResult) -> np.ndarray:
    """Return rows of the probes to show: those whose mate trails the nearest other most, first.

    A non-mated probe has no mate to come first: the median of all mates' scores stands for it.
    """
    mated = result.ranks > 0
    typical = np.median(result.mate_scores[mated]) if mated.any() else 0.0
    lead = np.where(mated, result.mate_scores, typical) - result.top_nonmate_scores
    return np.argsort(lead, kind="stable")[:NUM_PROBES]


def draw_nearest_faces(
    faces: Faces,
    templates: Mapping[str, Sequence[tuple[str, str]]],
    entries: LabeledEmbeddings,
    probes: LabeledEmbeddings,
    result: SearchResult,
    nearest: NearestIdentities,
) -> bytes | None:
    """Draw the hardest probes, a row each; None if no face of them can be loaded.

    Args:
        faces: Loaders of the faces.
        templates: Images of keys that are templates.
        entries: Entries of the gallery.
        probes: Probes.
        result: Ranks and scores of the mates.
        nearest: Nearest identities of all probes.
    """
    keys, captions = [], []
    for row in hardest_probes(result):
        keys.append(probes.keys[row])
        captions.append(short_name(probes.keys[row]))
        for entry, score in zip(nearest.entries[row], nearest.scores[row], strict=True):
            is_mate = entries.identities[entry] == probes.identities[row]
            keys.append(entries.keys[entry])
            captions.append(f"{MATE * is_mate}{score:.2f} {short_name(entries.keys[entry])}")
    loaded = [load_face(faces, templates, key) for key in keys]
    sizes = [face.shape for face in loaded if face is not None]
    if not sizes:
        return None
    blank = np.full(sizes[0], 255, np.uint8)
    tiles = [blank if face is None else face for face in loaded]
    columns = 1 + nearest.entries.shape[1]
    return images.encode_png(contact_sheet.draw_contact_sheet(tiles, columns, captions))
