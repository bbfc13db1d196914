"""A trained network as a SavedModel that takes raw pixels and runs without this package."""

import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export.network_files import check_network_path, check_savedmodel_folder
from keras_sphereface.export.signature import (
    INPUT,
    OUTPUT,
    SIGNATURE,
    TensorInfo,
    check_signature,
    check_signature_name,
)
from keras_sphereface.utils.atomic import atomic_directory


class EmbeddingModule(tf.Module):
    """A backbone with its preprocessing, as the two signatures of a SavedModel.

    Both take `images`, uint8 RGB (N, H, W, 3), any N, and return `embeddings`, float32:
    `serving_default` (N, D), of the image; `embed` (N, 2 D), the embedding of the image
    concatenated with that of its mirror image, as Liu et al. test.
    """

    def __init__(self, backbone: keras.Model):
        super().__init__(name="sphereface_embedding")
        self.backbone = backbone
        spec = tf.TensorSpec((None, *backbone.input_shape[1:]), tf.uint8, name=INPUT)
        self.serve = tf.function(self._serve, input_signature=[spec])
        self.embed = tf.function(self._embed, input_signature=[spec])

    def _serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: embed_one_view(self.backbone, images)}

    def _embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: embed_both_views(self.backbone, images)}


def embed_one_view(backbone: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """Embed images as they are: uint8 (N, H, W, 3) -> float32 (N, D)."""
    return tf.cast(backbone(preprocessing.normalize(images), training=False), tf.float32)


def embed_both_views(backbone: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """Embed images and their mirror images: uint8 (N, H, W, 3) -> float32 (N, 2 D)."""
    views = [embed_one_view(backbone, view) for view in (images, preprocessing.mirror(images))]
    return tf.concat(views, axis=-1)


def export_savedmodel(backbone: keras.Model, folder: str | os.PathLike) -> Path:
    """Write a network as a SavedModel that takes raw pixels.

    It is written beside `folder` and replaces it when complete. `tf.saved_model.load` opens it
    without this package. Its signatures take `images`, uint8 RGB (N, H, W, 3), and return
    `embeddings`, float32: (N, D) from `serving_default`; (N, 2 D) from `embed`, the embedding of
    the image concatenated with that of its mirror image.

    Args:
        backbone: Network that maps float images (N, H, W, 3) to embeddings (N, D).
        folder: New, or a SavedModel that is replaced.

    Returns:
        The folder.

    Raises:
        FileExistsError: If `folder` holds something other than a SavedModel.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> network = sphereface4(embedding_size=8, width=0.05)
        >>> folder = export_savedmodel(network, "export")
        >>> signatures = tf.saved_model.load("export").signatures
        >>> signatures["embed"](images=np.zeros((1, 112, 96, 3), np.uint8))["embeddings"].shape
        TensorShape([1, 16])
    """
    folder = Path(folder)
    check_savedmodel_folder(folder)
    module = EmbeddingModule(backbone)
    signatures = {SIGNATURE: module.serve, "embed": module.embed}
    with atomic_directory(folder) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
    return folder


def load_savedmodel(folder: Path) -> Any:
    """Load a SavedModel and check its signature `serving_default`.

    Raises:
        FileNotFoundError: If there is no SavedModel in the folder.
        ValueError: If it has another signature.
    """
    check_network_path(folder)
    model = tf.saved_model.load(str(folder))
    check_signature_name(folder, model.signatures)
    check_signature(folder, *signature_tensors(model.signatures[SIGNATURE]))
    return model


def signature_tensors(function: Any) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Return {name: tensor} of the inputs and of the outputs of a SavedModel's signature."""
    inputs = function.structured_input_signature[1]
    return _describe(inputs), _describe(function.structured_outputs)


def _describe(tensors: dict[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            tensor.dtype.name, None if tensor.shape.rank is None else tuple(tensor.shape)
        )
        for name, tensor in tensors.items()
    }
