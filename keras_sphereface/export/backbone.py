"""The network below the head of a model, and the network of a `.keras` file."""

import os
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_sphereface.functional.annealing import unfinished_annealing
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.embedding_classifier import EmbeddingClassifier
from keras_sphereface.models.embedding_network import embedding_network
from keras_sphereface.utils.compat import producer_of


def load_backbone(
    path: str | os.PathLike,
    image_size: tuple[int, int] | None = None,
    input_range: str | None = None,
) -> keras.Model:
    """Load the network of a .keras file, from float images in [-1, 1) to embeddings.

    Args:
        path: File that Keras saved; a head at the end of the model is removed.
        image_size: (height, width) of the images; None: as the network states it.
        input_range: "raw" if the network takes pixels 0..255, "unit" if it takes values in
            [-1, 1); None: found out, see `models.input_contract`.

    Returns:
        Model from float images (N, H, W, 3) to embeddings (N, D).

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no .keras file, is damaged, or holds another model.

    Warns:
        UserWarning: If the annealing of the head had not ended when the model was saved.

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
    _warn_of_unfinished_annealing(model, path)
    return embedding_network(without_head(model), image_size, input_range, must_differ=False)


def _warn_of_unfinished_annealing(model: keras.Model, path: Path) -> None:
    """Warn if a network was trained with hardly any margin: nothing else in its results tells."""
    for layer in model._flatten_layers():
        annealing = getattr(layer, "annealing", None)
        if not (isinstance(layer, Head) and annealing is not None and layer.built):
            continue
        step = int(layer.last_step)
        if step and (message := unfinished_annealing(annealing, step)):
            warnings.warn(
                f"{path} was trained with little of the margin: {message} Train longer, or give "
                "the head the number of all training steps, `total_steps=`.",
                stacklevel=3,
            )


def without_head(model: keras.Model) -> keras.Model:
    """Return the network below the head, or `model` itself if it has none.

    Args:
        model: `EmbeddingClassifier`, functional model or `Sequential`, which may end in a head of
            this package, also inside of a nested model. The network that is returned shares its
            weights.

    Raises:
        ValueError: If the head is part of a subclass of Model, which shows no graph.

    Example:
        >>> from keras_sphereface import ASoftmax, sphereface4
        >>> model = keras.Sequential([sphereface4(embedding_size=8, width=0.05), ASoftmax(3)])
        >>> without_head(model).output_shape
        (None, 8)
    """
    if isinstance(model, EmbeddingClassifier):
        return model.backbone
    if not _has_head(model):
        return model
    if getattr(model, "inputs", None) and getattr(model, "outputs", None):
        inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
        return keras.Model(inputs, _embeddings(model.outputs), name=model.name)
    if isinstance(model, keras.Sequential) and isinstance(model.layers[-1], Head):
        below = model.layers[:-1]
        is_network = len(below) == 1 and isinstance(below[0], keras.Model)
        return below[0] if is_network else keras.Sequential(below, name=model.name)
    networks = [layer.name for layer in model.layers if not _has_head(layer)]
    raise ValueError(
        "The head of a subclass of Model cannot be told from its network: give the network alone, "
        f"the part that returns embeddings. Received: {model.name}, a {type(model).__name__} of "
        f"{', '.join(networks) or 'a head'}"
    )


def _has_head(layer: Any) -> bool:
    return any(isinstance(part, Head) for part in layer._flatten_layers())


def _embeddings(outputs: Any) -> Any:
    """Return the tensor that enters the head, searched backwards from the outputs of a model."""
    tensors, seen = list(outputs), set()
    while tensors:
        tensor = tensors.pop(0)
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, inputs = producer_of(tensor)
        if isinstance(operation, Head):
            return inputs[0]
        if isinstance(operation, keras.layers.Layer) and _has_head(operation):
            return without_head(operation)(*inputs)
        tensors += inputs
    raise ValueError("The head must lie between the inputs and the outputs of the model.")
