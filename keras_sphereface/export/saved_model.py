"""A trained network as a SavedModel that takes raw pixels and needs no package of ours."""

import os
from pathlib import Path

import keras
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.utils.atomic import atomic_directory


class EmbeddingModule(tf.Module):
    """A backbone with its preprocessing, as the signatures of the SavedModel.

    Both take `images`, uint8 RGB (N, H, W, 3), any N, and return `embeddings`, float32:
    `serving_default` (N, D), one view; `embed` (N, 2 D), the image's embedding joined with
    that of its mirror image, as the authors test.
    """

    def __init__(self, backbone: keras.Model):
        super().__init__(name="sphereface_embedding")
        self.backbone = backbone
        spec = tf.TensorSpec((None, *backbone.input_shape[1:]), tf.uint8, name="images")
        self.serve = tf.function(self._serve, input_signature=[spec])
        self.embed = tf.function(self._embed, input_signature=[spec])

    def _serve(self, images):
        return {"embeddings": embed_one_view(self.backbone, images)}

    def _embed(self, pixels):
        return {"embeddings": embed_both_views(self.backbone, pixels)}


def embed_one_view(backbone: keras.Model, pixels: tf.Tensor) -> tf.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, D)."""
    return tf.cast(backbone(preprocessing.normalize(pixels), training=False), tf.float32)


def embed_both_views(backbone: keras.Model, pixels: tf.Tensor) -> tf.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 2 D): the images and their mirror images."""
    views = [embed_one_view(backbone, view) for view in (pixels, preprocessing.mirror(pixels))]
    return tf.concat(views, axis=-1)


def check_folder(folder: Path) -> None:
    """Refuse a folder for a SavedModel that holds something else.

    Raises:
        FileExistsError: if it does.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "saved_model.pb").is_file():
        raise FileExistsError(f"The folder must be new or hold a SavedModel. Received: {folder}")


def export_savedmodel(backbone: keras.Model, folder: str | os.PathLike) -> Path:
    """Write `backbone` (float images in, embeddings out) as a SavedModel.

    It is written beside `folder` and takes its place when whole.

    Returns:
        The folder.

    Raises:
        FileExistsError: if `folder` holds something else than a SavedModel.
    """
    folder = Path(folder)
    check_folder(folder)
    module = EmbeddingModule(backbone)
    signatures = {"serving_default": module.serve, "embed": module.embed}
    with atomic_directory(folder) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
    return folder
