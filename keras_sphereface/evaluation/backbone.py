"""The backbone of a `.keras` file, with or without a head."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_sphereface.heads.base import Head
from keras_sphereface.layers.face_preprocessing import FacePreprocessing


def load_backbone(path: str | os.PathLike) -> keras.Model:
    """Load the network of a .keras file, from float images to embeddings.

    Args:
        path: File that Keras saved; a head at the end of the model is removed.

    Returns:
        Model from float images (N, H, W, 3) to embeddings (N, D).

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no .keras file, is damaged, or holds another model.

    Example:
        >>> from keras_sphereface import ASoftmax, sphereface4
        >>> backbone = sphereface4(embedding_size=8, width=0.05)
        >>> keras.Sequential([backbone, ASoftmax(3)]).save("trained.keras")
        >>> load_backbone("trained.keras").output_shape
        (None, 8)
    """
    path = Path(path)
    if not (path.is_file() and path.suffix == ".keras"):
        error = ValueError if path.exists() else FileNotFoundError
        raise error(f"`model` must be a SavedModel folder or a .keras file. Received: {path}")
    try:
        model = keras.models.load_model(path, compile=False)
    # A damaged file, or one of another Keras, raises almost anything.
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded. Received: {error}") from error
    return without_head(model)


def without_head(model: keras.Model) -> keras.Model:
    """Return the network before the head, or `model` itself if it has none.

    Raises:
        ValueError: If it has other inputs than one batch of float images, gives no embeddings,
            or scales the images itself.
    """
    # In some versions of Keras a subclass of Model has neither.
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    heads = [layer for layer in model.layers if isinstance(layer, Head)]
    if heads and inputs:
        model = keras.Model(inputs, heads[0].input)
        outputs = model.outputs
    # Keras 3 gives names, Keras 2 types of TensorFlow.
    dtypes = [getattr(tensor.dtype, "name", tensor.dtype) for tensor in inputs]
    if not (_are_images(inputs, dtypes) and len(outputs) == 1 and len(outputs[0].shape) == 2):
        raise ValueError(
            "The network must take float images (N, H, W, 3) and give embeddings (N, D). "
            f"Received: {[tuple(t.shape) for t in inputs]} of {dtypes} -> "
            f"{[tuple(t.shape) for t in outputs]}"
        )
    if any(isinstance(layer, FacePreprocessing) for layer in model.layers):
        raise ValueError(
            "The network must come without `FacePreprocessing`: an exported one scales by itself. "
            f"Received: {[layer.name for layer in model.layers]}"
        )
    return model


def _are_images(inputs: list[Any], dtypes: list[str]) -> bool:
    """Return whether the inputs are one batch of float images (N, H, W, 3)."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return False
    return inputs[0].shape[-1] == 3 and "float" in dtypes[0]
