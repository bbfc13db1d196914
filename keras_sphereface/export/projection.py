"""A SavedModel with a linear map of its embeddings behind it, as one dense layer."""

import json
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export.network_files import check_savedmodel_folder
from keras_sphereface.export.saved_model import (
    CONTRACT_FILE,
    TOLERANCE,
    load_savedmodel,
    signature_tensors,
)
from keras_sphereface.export.signature import INPUT, OUTPUT, SIGNATURE
from keras_sphereface.models.embedding_network import probe_images
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils.atomic import atomic_directory


class ProjectedModule(tf.Module):
    """The two signatures of an export, with x -> x kernel + bias after its network.

    Args:
        model: What `load_savedmodel` returns.
        kernel: (D, K).
        bias: (K,).
    """

    def __init__(self, model: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
        super().__init__(name="projected_embedding")
        self.network = model  # it keeps the weights alive
        self.kernel = tf.Variable(kernel.astype(np.float32), trainable=False, name="kernel")
        self.bias = tf.Variable(bias.astype(np.float32), trainable=False, name="bias")
        signature = model.signatures[SIGNATURE]
        shape = signature_tensors(signature)[0][INPUT].shape
        spec = tf.TensorSpec(shape, tf.uint8, name=INPUT)

        def projected(images: tf.Tensor) -> tf.Tensor:
            embeddings = self.network.signatures[SIGNATURE](**{INPUT: images})[OUTPUT]
            return tf.matmul(embeddings, self.kernel) + self.bias

        def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {OUTPUT: projected(images)}

        def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
            views = [projected(view) for view in (images, preprocessing.mirror(images))]
            return {OUTPUT: tf.concat(views, axis=-1)}

        self.serve = tf.function(serve, input_signature=[spec])
        self.embed = tf.function(embed, input_signature=[spec])


def export_projected(
    savedmodel: str | os.PathLike,
    folder: str | os.PathLike,
    kernel: np.ndarray,
    bias: np.ndarray,
) -> Path:
    """Write a SavedModel whose embeddings are those of another, mapped: x kernel + bias.

    It has the form of `export_savedmodel`: `serving_default` returns the mapped embedding (N, K),
    and `embed` that of the image joined with that of its mirror image, each mapped, (N, 2 K).
    Before it takes its place, its embeddings of a few images are compared with NumPy's. A
    `recognition.json` is not taken over, since its threshold is that of other embeddings.

    Args:
        savedmodel: Folder of a SavedModel with the signature `serving_default`.
        folder: New, or a SavedModel that is replaced; another one than `savedmodel`.
        kernel: (D, K) real numbers, for embeddings (N, D).
        bias: (K,).

    Returns:
        The folder.

    Raises:
        FileNotFoundError, FileExistsError: If there is no SavedModel, or `folder` holds
            something else.
        ValueError: If the shapes do not fit, or both folders are one.

    Example:
        >>> folder = export_projected("model", "projected", np.eye(8)[:, :3], np.zeros(3))
        >>> signatures = tf.saved_model.load("projected").signatures
        >>> signatures["embed"](images=np.zeros((1, 112, 96, 3), np.uint8))["embeddings"].shape
        TensorShape([1, 6])
    """
    source, folder = Path(savedmodel), Path(folder)
    check_savedmodel_folder(folder)
    if folder.exists() and folder.resolve() == source.resolve():
        raise ValueError(
            f"The mapped network must have a folder of its own. Received: {folder} for both"
        )
    model = load_savedmodel(source)
    size = signature_tensors(model.signatures[SIGNATURE])[1][OUTPUT].shape
    kernel, bias = np.asarray(kernel), np.asarray(bias)
    has_shapes = kernel.ndim == 2 and bias.shape == kernel.shape[1:]
    if not has_shapes or (size and size[-1] not in (None, len(kernel))):
        raise ValueError(
            f"`kernel` must be (D, K) and `bias` (K,) for embeddings {size}. "
            f"Received: {kernel.shape} and {bias.shape}"
        )
    module = ProjectedModule(model, kernel, bias)
    signatures = {SIGNATURE: module.serve, "embed": module.embed}
    with atomic_directory(folder) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
        _check_written(partial, model, kernel, bias)
        _write_mapped_contract(source, partial, kernel.shape[1])
    return folder


def _check_written(folder: Path, model: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    # Checked by `load_savedmodel`: only the first number may be None.
    shape = cast("tuple[Any, ...]", signature_tensors(model.signatures[SIGNATURE])[0][INPUT].shape)
    images = tf.constant(probe_images(shape[1:3])[: shape[0]])
    expected = model.signatures[SIGNATURE](**{INPUT: images})[OUTPUT].numpy() @ kernel + bias
    written = tf.saved_model.load(str(folder))  # in a variable: it keeps the weights alive
    embeddings = written.signatures[SIGNATURE](**{INPUT: images})[OUTPUT].numpy()
    difference = np.abs(embeddings - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not difference <= TOLERANCE:
        raise ValueError(
            "The mapped network must give the embeddings of the network, mapped. Received: "
            f"embeddings that differ by {difference:.2g} of the largest number"
        )


def _write_mapped_contract(source: Path, folder: Path, size: int) -> None:
    """Take over what the network takes, where it is stated, with the new size of embeddings."""
    path = source / "assets.extra" / CONTRACT_FILE
    if path.is_file():
        contract = json.loads(path.read_text(encoding="utf-8"))
        contract["embedding_size"] = size
        (folder / "assets.extra").mkdir()
        write_metrics(folder / "assets.extra" / CONTRACT_FILE, contract)
