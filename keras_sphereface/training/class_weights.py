"""The class weights of a run, left in a file, and kept for identities of the next run."""

import csv
import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.data.records import LABELS_FILE, LABELS_HEADER
from keras_sphereface.functional.norms import NORM_FLOOR
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.sharded import columns_of, read_class_columns
from keras_sphereface.training.trainer import Trainer
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.compat import tf_variable

HEAD_FILE = "head.weights.h5"  # that a run leaves beside its export


@dataclasses.dataclass(frozen=True)
class ClassesKept:
    """The classes of a run that start with weights of the run before.

    Attributes:
        kept: Int. Number of identities that both runs have.
        new: Int. Number of identities whose class weights start anew.
        left_out: Int. Number of identities of the run before that this one does not have.
        note: Why none is kept, or "".
        imprinted: Int. Number of the new ones that start at the mean of their faces.

    Example:
        >>> ClassesKept(kept=3, new=2, left_out=0).describe()
        '3 kept by name, 2 new; 0 of the start left out'
        >>> ClassesKept(0, 0, 5, "the head has no class weights").describe()
        'none: the head has no class weights'
    """

    kept: int
    new: int
    left_out: int
    note: str = ""
    imprinted: int = 0

    def describe(self) -> str:
        """The numbers in words."""
        if self.note and not self.new:
            return f"none: {self.note}"
        means = " (from the mean of their faces)" if self.imprinted else ""
        text = f"{self.kept:,} kept by name, {self.new:,} new{means}; "
        text += f"{self.left_out:,} of the start "
        return f"{text}left out{f' ({self.note})' if self.note else ''}"


def read_labels(folder: str | os.PathLike) -> dict[str, int]:
    """Return {identity: label} of the labels.csv in a folder; {} if there is none.

    Example:
        >>> read_labels("records")["person_0002"]
        1
    """
    path = Path(folder) / LABELS_FILE
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != LABELS_HEADER:
            raise ValueError(
                f"{path} must have the columns {', '.join(LABELS_HEADER)}. "
                f"Received: {rows.fieldnames}"
            )
        return {row["identity"]: int(row["label"]) for row in rows}


def save_class_weights(workdir: Path, trainer: Trainer, checkpoint: Path, data: str) -> Path | None:
    """Write the weights of the head, and the names of its classes, beside the export.

    `keras.Sequential([keras.Input((D,)), head])` of the same head reads them by `load_weights`.

    Args:
        workdir: Folder of the run.
        trainer: Whose head is written.
        checkpoint: Folder of the last checkpoint, which holds the classes if they are sharded.
        data: Folder of the records, whose labels.csv is copied.

    Returns:
        The path; None for a head without class weights, or with prototypes in their place.
    """
    head = trainer.head
    if trainer.gallery or not head.block_sizes():
        return None
    embedding_size = trainer.backbone.output_shape[-1]
    copy = type(head).from_config(head.get_config())
    # A device that holds a shard of the classes may have no room for all of them.
    with tf.device("CPU"):
        model = keras.Sequential([keras.Input((embedding_size,)), copy])
    if trainer.sharded_head:
        _fill_from_shards(copy, head, checkpoint, list(trainer.sharded_head.variables))
    else:
        for target, weight in zip(copy.weights, head.weights, strict=True):
            target.assign(tf_variable(weight).numpy())
    with atomic_file(workdir / HEAD_FILE) as partial:
        # Keras looks at the end of the name.
        model.save_weights(partial)
    labels = Path(data) / LABELS_FILE
    if labels.is_file():
        with atomic_file(workdir / LABELS_FILE) as partial:
            shutil.copyfile(labels, partial)
    return workdir / HEAD_FILE


def _fill_from_shards(
    copy: AngularHead, head: Head, checkpoint: Path, names: Sequence[str]
) -> None:
    """Fill a head in one piece: classes from the files of a checkpoint, the rest from `head`."""
    start = 0
    for i, size in enumerate(copy.block_sizes()):
        columns = read_class_columns(checkpoint, start, start + size, names, copy.num_centers)
        copy.kernels[i].assign(columns["kernel"])
        if copy.biases:
            copy.biases[i].assign(columns["bias"])
        start += size
    by_class = [id(weight) for weight in (*copy.kernels, *copy.biases)]
    shared = [weight for weight in copy.weights if id(weight) not in by_class]
    for target, weight in zip(shared, head.weights, strict=True):
        target.assign(tf_variable(weight).numpy())


def read_class_weights(
    path: str | os.PathLike, embedding_size: int, num_classes: int
) -> dict[str, np.ndarray]:
    """Read the class weights of a file that `save_class_weights` wrote, by whatever Keras.

    Args:
        path: The file.
        embedding_size: Int. D.
        num_classes: Int. C.

    Returns:
        "kernel", (D, C), and, if the head has biases of the classes, "bias", (C,).

    Raises:
        ValueError: If it holds no class weights of this size.

    Example:
        >>> from keras_sphereface import ASoftmax
        >>> model = keras.Sequential([keras.Input((4,)), ASoftmax(3)])
        >>> model.save_weights("head.weights.h5")
        >>> read_class_weights("head.weights.h5", 4, 3)["kernel"].shape
        (4, 3)
    """
    try:
        arrays = _arrays_of(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read. Received: {error}") from error
    parts: dict[str, list[np.ndarray]] = {"kernel": [], "bias": []}
    for name, ndim in (("kernel", 2), ("bias", 1)):
        # Blocks of classes come first, in order.
        missing = num_classes
        for array in arrays:
            if array.ndim == ndim and (ndim == 1 or len(array) == embedding_size) and missing > 0:
                parts[name].append(array)
                missing -= array.shape[-1]
        if missing:
            parts[name] = []
    if not parts["kernel"]:
        raise ValueError(
            f"{path} must hold class weights ({embedding_size}, {num_classes}) of a head of this "
            f"package. Received: arrays of {', '.join(str(array.shape) for array in arrays)}"
        )
    return {name: np.concatenate(part, axis=-1) for name, part in parts.items() if part}


def _arrays_of(path: str | os.PathLike) -> list[np.ndarray]:
    """The weights of the layer with most of them, in the order in which Keras saved them."""
    groups: dict[str, dict[int, np.ndarray]] = {}

    def collect(name: str, item: Any) -> None:
        folder, _, number = name.rpartition("/")
        if isinstance(item, h5py.Dataset) and folder.endswith("vars") and number.isdigit():
            groups.setdefault(folder, {})[int(number)] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    arrays = max(groups.values(), key=len, default={})
    return [arrays[number] for number in sorted(arrays)]


def keep_class_weights(
    trainer: Trainer,
    head_file: Path | None,
    labels_before: Mapping[str, int],
    labels_now: Mapping[str, int],
) -> ClassesKept:
    """Let identities that both runs have start with the class weights of the run before.

    Weights are taken as they are, those of one kind of head for another kind too: their
    directions are where the faces of an identity lie. A head whose weights are kept at unit length
    gets them at unit length. A file of another form, such as that of a head with several weights
    for each class where this head has one, gives none.

    Args:
        trainer: Before its first step; its class weights are changed in place.
        head_file: Class weights of the run before; None: there are none.
        labels_before: {identity: label} of the run before.
        labels_now: {identity: label} of this run.

    Returns:
        How many are kept, and why none.
    """
    common = [name for name in labels_now if name in labels_before]
    left_out = len(labels_before) - len(common)
    has_classes = bool(trainer.head.block_sizes()) and not trainer.gallery
    num_now = trainer.head.num_classes if has_classes else 0
    if note := _why_none(trainer, head_file, labels_before, labels_now, common):
        return ClassesKept(0, num_now, len(labels_before), note)
    assert head_file is not None  # else there is a note
    size = trainer.backbone.output_shape[-1]
    centers = trainer.head.num_centers
    try:
        values = read_class_weights(head_file, size, len(labels_before) * centers)
    except ValueError as error:
        # A head of another form, with several weights a class for example, or none of this package.
        return ClassesKept(0, num_now, len(labels_before), str(error))
    if trainer.head.projected:
        norms = np.linalg.norm(values["kernel"], axis=0, keepdims=True)
        values["kernel"] = values["kernel"] / np.maximum(norms, NORM_FLOOR)
    source = np.array([labels_before[name] for name in common])
    target = np.array([labels_now[name] for name in common])
    for start, stop, variables in class_variables(trainer):
        inside = (start <= target) & (target < stop)
        for name, variable in variables.items():
            if name in values and inside.any():
                array, count = variable.numpy(), columns_of(name, 1, centers)
                columns = _columns(target[inside] - start, count)
                array[..., columns] = values[name][..., _columns(source[inside], count)]
                variable.assign(array)
    return ClassesKept(len(common), num_now - len(common), left_out)


def _columns(classes: np.ndarray, count: int) -> np.ndarray:
    """The columns of classes that have `count` of them each, side by side."""
    return (classes[:, None] * count + np.arange(count)).ravel()


def _why_none(
    trainer: Trainer,
    head_file: Path | None,
    before: Mapping[str, int],
    now: Mapping[str, int],
    common: Sequence[str],
) -> str:
    if trainer.gallery:
        return "prototypes take the place of class weights"
    if not trainer.head.block_sizes():
        return "the head has no class weights"
    if head_file is None:
        return f"the start has no {HEAD_FILE}"
    if not before:
        return f"the start has no {LABELS_FILE}, the names of its classes"
    if not now:
        return f"the records have no {LABELS_FILE}, the names of their classes"
    return "" if common else "the records share no identity with the start"


def class_variables(trainer: Trainer) -> list[tuple[int, int, dict[str, Any]]]:
    """Return classes (start, stop) and variables by name of each block that this process holds."""
    if trainer.sharded_head:
        return list(trainer.sharded_head.local_blocks())
    head, blocks, start = trainer.head, [], 0
    biases = head.biases or [None] * len(head.kernels)
    for kernel, bias in zip(head.kernels, biases, strict=True):
        stop = start + kernel.shape[-1] // head.num_centers
        variables = {"kernel": tf_variable(kernel)}
        if bias is not None:
            variables["bias"] = tf_variable(bias)
        blocks.append((start, stop, variables))
        start = stop
    return blocks
