"""A trained network as a SavedModel that takes raw pixels and runs without this package."""

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export.backbone import without_head
from keras_sphereface.export.network_files import check_savedmodel_folder, check_savedmodel_path
from keras_sphereface.export.signature import (
    INPUT,
    OUTPUT,
    SIGNATURE,
    TensorInfo,
    check_signature,
    check_signature_name,
)
from keras_sphereface.heads.base import HALF_DTYPES
from keras_sphereface.models.embedding_network import (
    are_equal,
    contract_of,
    embed_pixels,
    embedding_network,
    probe_images,
)
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils.atomic import atomic_directory
from keras_sphereface.utils.compat import tf_variable

CONTRACT_FILE = "network.json"  # in the folder `assets.extra`, which TensorFlow leaves to others
# Largest difference of exported embeddings, as a share of their largest number.
TOLERANCE, HALF_TOLERANCE = 1e-3, 5e-2
MIN_NORM = 1e-30


class EmbeddingModule(tf.Module):
    """A backbone with its preprocessing, as the two signatures of a SavedModel.

    Both take `images`, uint8 RGB (N, H, W, 3), any N, and return `embeddings`, float32:
    `serving_default` (N, D), of the image; `embed` (N, 2 D), the embedding of the image
    concatenated with that of its mirror image, as Liu et al. test.
    """

    def __init__(self, backbone: keras.Model):
        super().__init__(name="sphereface_embedding")
        # Not the model: Keras would add its own calls, which fail where `training` is needed.
        self.weights = [tf_variable(variable) for variable in backbone.variables]
        spec = tf.TensorSpec((None, *backbone.input_shape[1:]), tf.uint8, name=INPUT)

        def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {OUTPUT: embed_pixels(backbone, images)}

        def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {OUTPUT: embed_both_views(backbone, images)}

        self.serve = tf.function(serve, input_signature=[spec])
        self.embed = tf.function(embed, input_signature=[spec])


def embed_both_views(backbone: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """Embed images and their mirror images: uint8 (N, H, W, 3) -> float32 (N, 2 D)."""
    views = [embed_pixels(backbone, view) for view in (images, preprocessing.mirror(images))]
    return tf.concat(views, axis=-1)


def export_savedmodel(
    model: keras.Model,
    folder: str | os.PathLike,
    image_size: tuple[int, int] | None = None,
    input_range: str | None = None,
) -> Path:
    """Write a network as a SavedModel that takes raw pixels.

    It is written beside `folder` and replaces it when complete. `tf.saved_model.load` opens it
    without this package. Its signatures take `images`, uint8 RGB (N, H, W, 3), and return
    `embeddings`, float32: (N, D) from `serving_default`; (N, 2 D) from `embed`, the embedding of
    the image concatenated with that of its mirror image. Before it takes its place, its embeddings
    of a few images are compared with those of the network. `assets.extra/network.json` in it states
    what the network takes.

    Args:
        model: Any Keras model from images to embeddings (N, D); a head at its end is left out. It
            may take floats in [-1, 1), or pixels 0..255, as floats or integers, RGB or gray.
        folder: New, or a SavedModel that is replaced.
        image_size: (height, width) of the images; None: as the model states it.
        input_range: "raw" if the model takes pixels 0..255, "unit" if it takes values in
            [-1, 1); None: found out, see `models.input_contract`.

    Returns:
        The folder.

    Raises:
        FileExistsError: If `folder` holds something other than a SavedModel.
        TypeError, ValueError: If it is no such model, its head cannot be left out, or it gives
            other embeddings of an image each time.

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
    if isinstance(model, keras.Model):
        model = without_head(model)
    network = embedding_network(model, image_size, input_range, must_differ=False)
    module = EmbeddingModule(network)
    signatures = {SIGNATURE: module.serve, "embed": module.embed}
    with atomic_directory(folder) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
        _check_embeddings(partial, network)
        _write_contract(partial, network)
    return folder


def _check_embeddings(savedmodel: Path, network: keras.Model) -> None:
    """Compare what was written with the network, on a few images; warn of equal embeddings."""
    images = probe_images(contract_of(network).image_size)
    expected = embed_pixels(network, images).numpy()
    written = tf.saved_model.load(str(savedmodel))  # in a variable: it keeps the weights alive
    embeddings = written.signatures[SIGNATURE](**{INPUT: tf.constant(images)})[OUTPUT].numpy()
    is_half = any(layer.compute_dtype in HALF_DTYPES for layer in network._flatten_layers())
    difference = np.abs(embeddings - expected).max() / max(np.abs(expected).max(), MIN_NORM)
    if not difference <= (HALF_TOLERANCE if is_half else TOLERANCE):
        raise ValueError(
            "The exported network must give the embeddings of the network: does the network draw "
            "random numbers where it is not trained? Received: embeddings that differ by "
            f"{difference:.2g} of the largest number, from {network.name}"
        )
    if are_equal(expected):
        warnings.warn(
            f"The exported network {network.name} gives different images equal embeddings. It "
            f"takes {contract_of(network).describe()}: was it trained with such pixels, and for so "
            "many steps that the averages of its batch normalization, if it has any, have settled?",
            stacklevel=3,
        )


def _write_contract(savedmodel: Path, network: keras.Model) -> None:
    """Write what the network takes, beside the SavedModel's own files."""
    folder = savedmodel / "assets.extra"
    folder.mkdir()
    contract = dataclasses.asdict(contract_of(network))
    contract["embedding_size"] = network.output_shape[-1]
    write_metrics(folder / CONTRACT_FILE, {"network": network.name, **contract})


def load_savedmodel(folder: Path) -> Any:
    """Load a SavedModel and check its signature `serving_default`.

    Raises:
        FileNotFoundError: If there is no SavedModel in the folder.
        ValueError: If it has another signature.
    """
    check_savedmodel_path(folder)
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
