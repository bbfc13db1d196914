"""Everything from an image file to a batch.

The names below are imported on first use: processes that only prepare images must import neither
Keras nor TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.data.alignment import align, landmark_template, similarity_transform
    from keras_sphereface.data.augmentation import Augmentation
    from keras_sphereface.data.contact_sheet import draw_contact_sheet
    from keras_sphereface.data.face_drawing import Traits, draw_traits, render_face
    from keras_sphereface.data.landmarks import read_landmarks
    from keras_sphereface.data.pipeline import evaluation_batches, training_batches
    from keras_sphereface.data.preprocessing import normalize
    from keras_sphereface.data.quality_checks import check_images, template_fit
    from keras_sphereface.data.records import DatasetInfo, damaged_shards, read_folder, read_info
    from keras_sphereface.data.synthetic import generate_faces
    from keras_sphereface.data.tfrecord import Record
    from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

__all__ = [
    "Augmentation",
    "ByteRange",
    "DatasetInfo",
    "ImageRecord",
    "Record",
    "SkippedImage",
    "Traits",
    "align",
    "check_images",
    "damaged_shards",
    "draw_contact_sheet",
    "draw_traits",
    "evaluation_batches",
    "generate_faces",
    "landmark_template",
    "normalize",
    "read_folder",
    "read_info",
    "read_landmarks",
    "render_face",
    "similarity_transform",
    "template_fit",
    "training_batches",
]

_MODULES = {
    "alignment": ("align", "landmark_template", "similarity_transform"),
    "augmentation": ("Augmentation",),
    "contact_sheet": ("draw_contact_sheet",),
    "face_drawing": ("Traits", "draw_traits", "render_face"),
    "landmarks": ("read_landmarks",),
    "pipeline": ("evaluation_batches", "training_batches"),
    "preprocessing": ("normalize",),
    "quality_checks": ("check_images", "template_fit"),
    "records": ("DatasetInfo", "damaged_shards", "read_folder", "read_info"),
    "synthetic": ("generate_faces",),
    "tfrecord": ("Record",),
    "types": ("ByteRange", "ImageRecord", "SkippedImage"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
