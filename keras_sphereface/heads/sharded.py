"""`ShardedHead`: a head whose class weights are sharded over the replicas."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard, balanced_ranges
from keras_sphereface.heads.angular_head import DEFAULT_BLOCK_SIZE, AngularHead
from keras_sphereface.losses.context import HeadOutput

FILE = re.compile(r"classes-(\d+)-(\d+)\.npz")
MAX_BLOCKS = 64  # of a shard, unless the head has a block size
# Updates a weight in place: (weight, its slots, gradient).
Rule = Callable[[tf.Variable, Sequence[tf.Variable], tf.Tensor], None]


class ShardedHead:
    """A head whose class weights (D, C) are sharded by class over the replicas of a strategy.

    With n replicas each holds C / n classes, and the optimizer slots of these, so that C can
    grow with the number of devices. Embeddings and labels are gathered, every replica computes
    its own classes for the samples of all, and sums over the classes include all replicas.
    Loss and gradients are those of the head in one piece. It is for a custom training loop
    (`strategy.run`): Keras optimizers do not support weights that differ between replicas.

    It must be made in the scope of the strategy. The start weights are those of the head in one
    piece, whatever the number of replicas.

    Args:
        head: A head that is not built yet; its weights that do not grow with the classes stay
            its own, equal on all replicas.
        embedding_size: Int. D.
        num_slots: Int. Number of variables that the optimizer keeps for each weight.

    Raises:
        ValueError: If there are fewer classes than replicas, a block would hold less than two
            classes, or the head has a regularizer.

    Reference: An et al., "Partial FC: Training 10 Million Identities on a Single Machine", 2021.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> sharded = ShardedHead(CosFace(num_classes=10), embedding_size=4, num_slots=1)
        >>> sharded.num_bytes  # of 10 x 4 float32 weights and as many of the optimizer
        320
    """

    def __init__(self, head: AngularHead, embedding_size: int, num_slots: int):
        self.head = head
        self.strategy = tf.distribute.get_strategy()
        count = self.strategy.num_replicas_in_sync
        if head.num_classes < count:
            raise ValueError(
                f"`num_classes` must be at least {count}, one class for each replica. "
                f"Received: num_classes={head.num_classes}"
            )
        if head.kernel_regularizer is not None:
            raise ValueError(
                "A class-sharded head cannot have a `kernel_regularizer`; leave it at None. "
                f"Received: kernel_regularizer={head.kernel_regularizer!r}"
            )
        self.ranges = balanced_ranges(head.num_classes, count)
        widest = self.ranges[0][1]
        block_size = sharded_block_size(head, widest)
        if block_size < min(2, widest):
            raise ValueError(
                "`block_size` of a class-sharded head must be >= 2. "
                f"Received: block_size={block_size}"
            )
        self.num_blocks = -(-widest // block_size)
        head.build_shared((None, embedding_size))
        names = ["kernel", "bias"] if head.use_bias else ["kernel"]
        # {name: a variable for each block}; the slots of "kernel" are "kernel_slot0" and so on.
        self.variables: dict[str, list[tf.Variable]] = {
            name + slot: [
                self._variable(embedding_size, name, stop - start)
                for start, stop in balanced_ranges(widest, self.num_blocks)
            ]
            for name in names
            for slot in ["", *(f"_slot{i}" for i in range(num_slots))]
        }
        self._fill(embedding_size)

    def _width(self, name: str, classes: int) -> int:
        return columns_of(name, classes, self.head.num_centers)

    def _variable(self, embedding_size: int, name: str, classes: int) -> tf.Variable:
        width = self._width(name, classes)
        shape = (embedding_size, width) if name == "kernel" else (width,)
        return tf.Variable(
            tf.zeros(shape, self.head.compute_dtype),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.NONE,
        )

    def _fill(self, embedding_size: int) -> None:
        """Set the start weights of the head in one piece, one of its blocks after another."""
        stops = list(itertools.accumulate(self.head.block_sizes()))
        for i, (first, end) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
            initializer, width = self.head.block_initializer(i), self.head.num_centers
            shape = (embedding_size, (end - first) * width)
            values = initializer(shape, dtype=self.head.compute_dtype)
            for start, stop, components in self.local_blocks():
                low, high = max(start, first), min(stop, end)
                if low < high:
                    columns = slice((low - start) * width, (high - start) * width)
                    given = values[:, (low - first) * width : (high - first) * width]
                    components["kernel"][:, columns].assign(given)

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights and slots that all replicas hold together."""
        return sum(
            len(self.ranges) * math.prod(block.shape) * block.dtype.size
            for blocks in self.variables.values()
            for block in blocks
        )

    def blocks(self, index: int) -> list[tuple[int, int]]:
        """Return the ranges of classes (start, stop) of the blocks of a replica."""
        first, end = self.ranges[index]
        ranges = balanced_ranges(end - first, self.num_blocks)
        return [(first + start, first + stop) for start, stop in ranges]

    def local_blocks(self) -> Iterator[tuple[int, int, dict[str, tf.Variable]]]:
        """Yield classes (start, stop) and variables of each block that this process holds."""
        numbers = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(context.replica_id_in_sync_group)
        )
        local = self.strategy.experimental_local_results
        for place, index in enumerate(local(numbers)):
            for i, (start, stop) in enumerate(self.blocks(int(index))):
                variables = self.variables.items()
                yield start, stop, {name: local(blocks[i])[place] for name, blocks in variables}

    def shard(self) -> ClassShard:
        """Return the classes of the current replica."""
        context = tf.distribute.get_replica_context()
        index = tf.get_static_value(context.replica_id_in_sync_group)
        return ClassShard(self.ranges[index][0], int(index), len(self.ranges))

    def weights(self) -> list[tf.Tensor]:
        """Return the kernels, then the biases if there are any, of the current replica."""
        widths = [stop - start for start, stop in self.blocks(self.shard().replica)]
        return [
            # A shard that is narrower than the widest leaves the last column of a block unused.
            weight if weight.shape[-1] == width else weight[..., :width]
            for name in self._names()
            for weight, width in zip(
                map(tf.convert_to_tensor, self.variables[name]),
                (self._width(name, classes) for classes in widths),
                strict=True,
            )
        ]

    def _names(self) -> list[str]:
        return [name for name in ("kernel", "bias") if name in self.variables]

    def compute_losses(
        self, embeddings: tf.Tensor, labels: tf.Tensor, weights: list[tf.Tensor], step: tf.Tensor
    ) -> tuple[HeadOutput, tf.Tensor]:
        """Return losses and measures of the samples of all replicas, and their |x|, (B,) each.

        Args:
            embeddings: (b, D), the replica's own.
            labels: (b,), the replica's own.
            weights: The tensors that `weights` returned, watched by a gradient tape.
            step: Step of the annealing.
        """
        shard = self.shard()
        global_labels = tf.distribute.get_replica_context().all_gather(labels, axis=0)
        kernels, biases = weights[: self.num_blocks], weights[self.num_blocks :]
        rows = shard.gather_rows(embeddings)
        context = self.head.context(rows, step, True, kernels, biases, shard)
        return self.head.losses_of(context, global_labels), context.norms[:, 0]

    def update(self, gradients: list[tf.Tensor], rule: Rule) -> None:
        """Update each weight of the current replica by its gradient, with `rule`.

        One after another: side by side, what the updates of all blocks make on their way would
        take as much memory again as all weights.
        """
        updated: list[tf.Tensor] = []
        variables = [(name, i) for name in self._names() for i in range(len(self.variables[name]))]
        for (name, i), gradient in zip(variables, gradients, strict=True):
            weight = self.variables[name][i]
            unused = weight.shape[-1] - gradient.shape[-1]
            if unused:
                gradient = tf.pad(gradient, [[0, 0]] * (gradient.shape.rank - 1) + [[0, unused]])
            slots = [
                blocks[i]
                for slot, blocks in self.variables.items()
                if slot.startswith(f"{name}_slot")
            ]
            with tf.control_dependencies(updated):
                rule(weight, slots, gradient)
                if name == "kernel" and self.head.projected:
                    weight.assign(keras.constraints.UnitNorm(axis=0)(tf.convert_to_tensor(weight)))
                updated = [tf.reduce_sum(tf.convert_to_tensor(weight)[..., :1])]

    def save(self, folder: Path) -> None:
        """Write the classes of this process to files that are named after them.

        However wide a block is, no file is large: who reads a class reads its whole file.
        """
        per_file = max(1, DEFAULT_BLOCK_SIZE // self.head.num_centers)
        for start, stop, components in self.local_blocks():
            values = {name: variable.numpy() for name, variable in components.items()}
            for first, end in balanced_ranges(stop - start, -(-(stop - start) // per_file)):
                # A zip of arrays has checksums, which are checked in reading.
                np.savez(
                    folder / f"classes-{start + first:09d}-{start + end:09d}.npz",
                    **{
                        name: array[..., self._width(name, first) : self._width(name, end)]
                        for name, array in values.items()
                    },
                )

    def restore(self, folder: Path) -> None:
        """Read the classes of this process, whatever the number of replicas that wrote them.

        Raises:
            ValueError: If there are not all classes or not the same variables.
            zipfile.BadZipFile, EOFError, OSError, RuntimeError: If a file is damaged.
        """
        for start, stop, components in self.local_blocks():
            arrays = read_class_columns(folder, start, stop, components, self.head.num_centers)
            for name, component in components.items():
                unused = component.shape[-1] - arrays[name].shape[-1]
                padding = [(0, 0)] * (arrays[name].ndim - 1) + [(0, unused)]
                component.assign(np.pad(arrays[name], padding))


def sharded_block_size(head: AngularHead, num_classes: int) -> int:
    """Return the largest number of classes of a shard in one block.

    It is that of the head, but for shards of many classes, where the head chooses: a sample of a
    block has as many logits as a whole block of an unsampled head, since few large samples hold
    the batch's classes as well as many small ones, each of which needs room for all of them; and
    there are at most `MAX_BLOCKS`, since the time to compile a step grows with their number.

    Args:
        head: Its block size, sample rate and class weights per class count.
        num_classes: Int. Number of classes of the shard.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> sharded_block_size(CosFace(10**6), 10**6)
        16320
        >>> sharded_block_size(CosFace(10**6, sample_rate=0.1), 10**6)
        163200
    """
    size = head.max_classes_per_block(num_classes)
    if head.block_size is not None or size >= num_classes:
        return size
    return min(num_classes, max(int(size / head.sample_rate), -(-num_classes // MAX_BLOCKS)))


def columns_of(name: str, classes: int, centers: int) -> int:
    """Return the number of columns of so many classes in an array of class weights.

    Args:
        name: "kernel", "bias", or either with the name of a slot behind it.
        classes: Int. Number of classes.
        centers: Int. Number of class weights of each class.

    Example:
        >>> columns_of("kernel_slot0", 5, centers=3), columns_of("bias", 5, centers=3)
        (15, 5)
    """
    return classes * (centers if name.startswith("kernel") else 1)


def read_class_columns(
    folder: Path, start: int, stop: int, names: Iterable[str], centers: int = 1
) -> dict[str, np.ndarray]:
    """Read classes that `ShardedHead.save` wrote, whatever the number of replicas that did.

    Args:
        folder: Of the files.
        start, stop: The classes, [start, stop).
        names: All arrays that the files must hold.
        centers: Int. Number of class weights of each class.

    Returns:
        {name: array}, the classes along the last axis.

    Raises:
        ValueError: If there are not all classes or not the same arrays.
        zipfile.BadZipFile, EOFError, OSError, RuntimeError: If a file is damaged.
    """
    matches = [(FILE.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
    files = [(int(match[1]), int(match[2]), path) for match, path in matches if match]
    pieces = [
        _read_classes(path, names, max(start - first, 0), min(stop, end) - first, centers)
        for first, end, path in files
        if max(start, first) < min(stop, end)
    ]
    width = columns_of("kernel", stop - start, centers)
    if sum(piece["kernel"].shape[-1] for piece in pieces) != width:
        raise ValueError(f"{folder} lacks some of the classes {start} to {stop - 1}")
    return {name: np.concatenate([piece[name] for piece in pieces], axis=-1) for name in names}


def _read_classes(
    path: Path, names: Iterable[str], low: int, high: int, centers: int
) -> dict[str, np.ndarray]:
    """Read the classes [low, high) of all arrays of a file."""
    with open(path, "rb") as file, np.load(file) as arrays:
        if set(arrays) != set(names):
            raise ValueError(f"{path} must hold {sorted(names)}. Received: {sorted(arrays)}")
        ends = {name: [columns_of(name, c, centers) for c in (low, high)] for name in arrays}
        return {name: arrays[name][..., slice(*ends[name])] for name in arrays}
