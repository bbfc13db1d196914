"""Single faces by name on one image."""

from collections.abc import Sequence

from keras_sphereface.data import contact_sheet, images
from keras_sphereface.data.filenames import without_image_suffix
from keras_sphereface.data.keys import short_key
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.pair_faces import load_face

# As wide as a report is, with room for a name of some 25 letters below each face.
COLUMNS, CELL_WIDTH = 6, 150


def face_sheet(
    faces: Faces, templates: Templates, keys: Sequence[str], captions: Sequence[str]
) -> bytes | None:
    """Return a PNG of faces with a caption each; None if none of them can be loaded.

    Args:
        faces: Loaders of the faces.
        templates: Images of keys that are templates.
        keys: Keys of images or templates; those without a face are left out.
        captions: One for each.
    """
    both = zip(keys, captions, strict=True)
    loaded = [(load_face(faces, templates, key), text) for key, text in both]
    shown = [(face, text) for face, text in loaded if face is not None]
    if not shown:
        return None
    tiles, texts = zip(*shown, strict=True)
    return images.encode_png(contact_sheet.draw_contact_sheet(tiles, COLUMNS, texts, CELL_WIDTH))


def short_name(key: str) -> str:
    """Return the name of an image for a caption, without its suffix.

    Example:
        >>> short_name("Ann/Ann_0001.jpg"), short_name("0000045/017.jpg")
        ('Ann_0001', '0000045/017')
    """
    return without_image_suffix(short_key(key))
