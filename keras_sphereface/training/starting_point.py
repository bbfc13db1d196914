"""The trained network that a run starts from: found by its path, and its weights taken over."""

import dataclasses
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config.choices import START_PREFIX
from keras_sphereface.export.backbone import load_backbone
from keras_sphereface.export.network_files import SAVEDMODEL_FILE
from keras_sphereface.export.run_files import (
    EXPORT_FOLDER,
    NETWORK_FILE,
    WEIGHT_SUFFIXES,
    check_start_path,
    network_of_run,
    run_of,
)
from keras_sphereface.export.saved_model import CONTRACT_FILE
from keras_sphereface.export.weights import import_weights
from keras_sphereface.models.embedding_network import contract_of
from keras_sphereface.training.class_weights import HEAD_FILE, ClassesKept, read_labels
from keras_sphereface.training.run_config import saved_settings
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.compat import tf_variable
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.text import counted

START_FILE = "start.keras"  # in a run that took its network from a file, that network
BEGINNING_FILE = "start.json"  # what a run started from
# Settings of a run that name its old test set.
OLD_SETTINGS = (
    *("verify_pairs", "verify_images", "verify_landmarks", "verify_bin", "verify_folds"),
    *("landmark_columns", "pair_columns"),
)


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """A trained network, and what is known of its training.

    Attributes:
        path: As it was given.
        weights: All weights of the network, in the order of its `variables`.
        image_size: (height, width) of its images; None: it is not stated.
        embedding_size: D; 0: it is not stated.
        settings: Settings of the run that trained it, or those that its file states.
        network: The network itself where its file holds it; None: it is made by its settings.
        head_file: File of the class weights; None: there are none.
        labels: {identity: label} of these classes.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> sphereface4(embedding_size=8, width=0.05).save("trained.keras")
        >>> start = read_starting_point("trained.keras")
        >>> start.embedding_size, start.image_size, start.settings["backbone"]
        (8, (112, 96), 'start:sphereface4')
    """

    path: Path
    weights: Sequence[np.ndarray]
    image_size: tuple[int, int] | None
    embedding_size: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network: keras.Model | None = None
    head_file: Path | None = None
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def give_weights(self, network: keras.Model) -> None:
        """Let a network begin with the weights of this one.

        Raises:
            ValueError: If it is another network, with what differs.
        """
        variables = [tf_variable(variable) for variable in network.variables]
        here = [tuple(variable.shape) for variable in variables]
        there = [tuple(array.shape) for array in self.weights]
        if here != there:
            raise ValueError(
                "The network must be that of `start_from`: the same `backbone`, `width`, "
                "`embedding_size` and size of images. Received: "
                f"{self._differences(network, variables, here, there)}"
            )
        size = contract_of(network).image_size
        if self.image_size and size != self.image_size:
            log(
                f"The network takes images of {_times(size)} here, and took images of "
                f"{_times(self.image_size)} before: its weights fit both.",
                logging.WARNING,
            )
        for variable, array in zip(variables, self.weights, strict=True):
            variable.assign(array)

    def beginning(self, classes: ClassesKept) -> dict[str, Any]:
        """What a run that starts here is to remember: the path, a checksum, classes, old pairs."""
        digest = hashlib.sha256()
        for array in self.weights:
            digest.update(np.ascontiguousarray(array).tobytes())
        return {
            "start_from": str(self.path),
            "sha256_of_weights": digest.hexdigest(),
            "classes": classes,
            "settings": {name: self.settings.get(name, "") for name in OLD_SETTINGS},
        }

    def _differences(
        self, network: keras.Model, variables: Sequence[Any], here: list, there: list
    ) -> str:
        rows = [f"{network.name} here, with {_counted(here)}, and {_counted(there)} in {self.path}"]
        size = contract_of(network).image_size
        if self.image_size and size != self.image_size:
            rows.append(f"images of {_times(size)} here, of {_times(self.image_size)} there")
        if self.embedding_size and network.output_shape[-1] != self.embedding_size:
            rows.append(
                f"embedding_size={network.output_shape[-1]} here, {self.embedding_size} there"
            )
        for variable, one, two in zip(variables, here, there, strict=False):
            if one != two:
                rows.append(f"the first that differs, {variable.name}, {one} here, {two} there")
                break
        return "; ".join(rows)


def read_starting_point(path: str | os.PathLike) -> StartingPoint:
    """Read the network that a training is to start from.

    Args:
        path: Folder of a run that has ended; its `export`, or another SavedModel that this
            package wrote; a .keras file, whose head, if it has one, is left out; or a
            .caffemodel or .pth that `export.weights.import_weights` reads.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is something else, or its weights cannot be had.

    Example:
        >>> start = read_starting_point("model")
        >>> start.embedding_size, len(start.weights), start.network is None
        (8, 14, True)
    """
    path = Path(path)
    run = run_of(path)
    if run is not None:
        return _of_run(path, run)
    if (path / SAVEDMODEL_FILE).is_file():
        return _of_savedmodel(path, path)
    if path.suffix.lower() in WEIGHT_SUFFIXES and path.is_file():
        return _of_network(path, import_weights(path))
    if path.suffix == ".keras":
        return _of_network(path, load_backbone(path))
    check_start_path(path)
    raise AssertionError("`check_start_path` refuses every other path")


def _of_run(path: Path, run: Path) -> StartingPoint:
    check_start_path(run)
    settings, network = saved_settings(run), network_of_run(run)
    assert network is not None  # checked above
    if str(settings["backbone"]).startswith(START_PREFIX):
        # Its form is in a file too.
        start = _of_network(path, load_backbone(run / NETWORK_FILE))
    elif network.name == EXPORT_FOLDER:
        start = _of_savedmodel(path, network)
    else:
        start = dataclasses.replace(_of_network(path, load_backbone(network)), network=None)
    head, labels = run / HEAD_FILE, read_labels(run)
    return dataclasses.replace(
        start, settings=settings, head_file=head if head.is_file() else None, labels=labels
    )


def _of_savedmodel(path: Path, folder: Path) -> StartingPoint:
    model = tf.saved_model.load(str(folder))
    variables = list(getattr(model, "weights", ()))
    if not variables or not all(isinstance(variable, tf.Variable) for variable in variables):
        raise ValueError(
            "The weights of a SavedModel can be had only if this package wrote it: give the .keras "
            f"file of the network. Received: {path}, whose weights have no order"
        )
    contract = _contract(folder)
    size = contract.get("image_size")
    return StartingPoint(
        path,
        [variable.numpy() for variable in variables],
        tuple(size) if size else None,
        contract.get("embedding_size", 0),
        {name: contract[name] for name in ("embedding_size", "input_range") if name in contract},
    )


def _contract(folder: Path) -> dict[str, Any]:
    try:
        text = (folder / "assets.extra" / CONTRACT_FILE).read_text(encoding="utf-8")
    except OSError:  # of an earlier version
        return {}
    return json.loads(text)


def _of_network(path: Path, network: keras.Model) -> StartingPoint:
    contract, size = contract_of(network), network.output_shape[-1]
    settings = {
        "backbone": START_PREFIX + network.name,
        "width": 1.0,
        "batch_norm": False,
        "embedding_size": size,
        "input_range": contract.input_range,
    }
    weights = [tf_variable(variable).numpy() for variable in network.variables]
    return StartingPoint(path, weights, contract.image_size, size, settings, network)


def read_beginning(workdir: Path) -> dict[str, Any]:
    """Return the `StartingPoint.beginning` of a run; {} if it started from nothing."""
    path = workdir / BEGINNING_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save_network(workdir: Path, network: keras.Model) -> Path | None:
    """Write a network as `network.keras`, or say why Keras cannot.

    What is frozen is written as trainable: the file is a network like any other.
    """
    frozen = [layer for layer in network._flatten_layers() if not layer.trainable]
    try:
        _set_trainable(frozen, True)
        with atomic_file(workdir / NETWORK_FILE) as partial:
            network.save(partial)
    # A network of the user's own may hold what Keras cannot write, and fail in any way.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        log(f"{NETWORK_FILE} is left out: Keras cannot write this network. Received: {reason}")
        return None
    finally:
        _set_trainable(frozen, False)
    return workdir / NETWORK_FILE


def save_start(workdir: Path, start: StartingPoint) -> None:
    """Keep the network of a file in the folder of the run, which then needs the file no more."""
    if start.network is None:
        return
    with atomic_file(workdir / START_FILE) as partial:
        start.network.save(partial)


def network_of_start(
    workdir: Path, image_size: tuple[int, int], policy: str = "float32"
) -> keras.Model:
    """Return a new copy of the network that `save_start` kept, all of it trainable.

    Raises:
        ValueError: If it takes other images, or computes in another precision.
    """
    network = load_backbone(workdir / START_FILE)
    expected = contract_of(network).image_size
    if expected != image_size:
        raise ValueError(
            f"The records must hold images of {_times(expected)}, as the network of `start_from` "
            "takes: convert them with --height and --width. "
            f"Received: images of {_times(image_size)}"
        )
    layers = [one for one in network._flatten_layers() if not isinstance(one, keras.Model)]
    dtypes = {layer.compute_dtype for layer in layers if layer.weights}
    wanted = policy.removeprefix("mixed_")
    if dtypes - {wanted}:
        raise ValueError(
            f"`precision` must be that of the network of `start_from`, which computes in "
            f"{', '.join(sorted(dtypes))}. Received: precision={policy}"
        )
    _set_trainable(network._flatten_layers(), True)
    return network


def _set_trainable(layers: Iterable[keras.layers.Layer], value: bool) -> None:
    # One by one: Keras 3 does not pass it on from a model that is trainable already.
    for layer in layers:
        layer.trainable = value


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _counted(shapes: Sequence[tuple[int, ...]]) -> str:
    return f"{counted(sum(map(math.prod, shapes)), 'weight')} in {counted(len(shapes), 'array')}"
