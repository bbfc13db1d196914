"""From a model to an answer: faces compared, a gallery of identities, and who a face is among them.

The names below are imported on first use, and nothing here imports Keras or TensorFlow unless a
network or a detector needs it: a gallery is NumPy and SQLite.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.recognition.comparison import Comparison
    from keras_sphereface.recognition.face_quality import FaceQuality
    from keras_sphereface.recognition.face_recognizer import FaceRecognizer
    from keras_sphereface.recognition.faces import Face
    from keras_sphereface.recognition.gallery import EnrolledIdentity, Gallery
    from keras_sphereface.recognition.identification import Candidate, Identification
    from keras_sphereface.recognition.input_images import DoubtfulImageError
    from keras_sphereface.recognition.nearest_index import IndexReport
    from keras_sphereface.recognition.template_index import IdentityMatch

__all__ = [
    "Candidate",
    "Comparison",
    "DoubtfulImageError",
    "EnrolledIdentity",
    "Face",
    "FaceQuality",
    "FaceRecognizer",
    "Gallery",
    "Identification",
    "IdentityMatch",
    "IndexReport",
]

_MODULES = {
    "comparison": ("Comparison",),
    "face_quality": ("FaceQuality",),
    "face_recognizer": ("FaceRecognizer",),
    "faces": ("Face",),
    "gallery": ("EnrolledIdentity", "Gallery"),
    "identification": ("Candidate", "Identification"),
    "input_images": ("DoubtfulImageError",),
    "nearest_index": ("IndexReport",),
    "template_index": ("IdentityMatch",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
