"""Classes sharded over the replicas of a strategy, and the collectives between them.

Where classes are sharded (`ClassShard`), every replica computes the loss of the global batch, all
get the same number, and it counts once. So the gradient that comes back through a value that all
share is whole on every replica: it must be cut to the replica's own rows or classes, and must not
be summed. Where they are not (`ReplicaSlice`), each replica's loss is its own and all are summed,
and so are the gradients.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from keras_sphereface.backend import BACKEND, Tensor, ops

if BACKEND == "tensorflow":  # the strategies are TensorFlow's, and nothing else needs it here
    import tensorflow as tf

Gradient = Callable[[Tensor], Tensor]


def balanced_ranges(total: int, count: int) -> list[tuple[int, int]]:
    """Return [0, total) as `count` ranges (start, stop); the first ones are longer by one.

    Example:
        >>> balanced_ranges(7, 3)
        [(0, 3), (3, 5), (5, 7)]
    """
    width, longer = divmod(total, count)
    return list(itertools.pairwise(i * width + min(i, longer) for i in range(count + 1)))


class ClassShard(NamedTuple):
    """The classes that the current replica holds; its methods run in replica context.

    Attributes:
        start: First class of the shard.
        replica: Number of the replica.
        replicas: Number of replicas.

    Example:
        >>> strategy = tf.distribute.OneDeviceStrategy("CPU:0")
        >>> shard = ClassShard(start=0, replica=0, replicas=1)
        >>> float(strategy.run(lambda: shard.sum(tf.constant(2.0))))
        2.0
    """

    start: int
    replica: int
    replicas: int

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the replicas, without a gradient."""
        return tf.distribute.get_replica_context().all_reduce("SUM", values)

    def max(self, values: Tensor) -> Tensor:
        """Return the elementwise maximum over the replicas, without a gradient."""
        gathered = tf.distribute.get_replica_context().all_gather(values[None], axis=0)
        return tf.reduce_max(gathered, axis=0)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Return (b, ...) of each replica as (B, ...) of all, in their order."""
        first, size = self.replica * tf.shape(rows)[0], tf.shape(rows)[0]

        @tf.custom_gradient
        def gather(rows: Tensor) -> tuple[Tensor, Gradient]:
            def gradient(by_global: Tensor) -> Tensor:
                return by_global[first : first + size]

            return tf.distribute.get_replica_context().all_gather(rows, axis=0), gradient

        return gather(rows)

    def collect(self, values: Tensor) -> Tensor:
        """Return the sum over replicas of values that are 0 on all replicas but one."""

        @tf.custom_gradient
        def add_up(values: Tensor) -> tuple[Tensor, Gradient]:
            return self.sum(values), lambda by_sum: by_sum

        return add_up(values)


class ReplicaSlice(NamedTuple):
    """Place of the current replica's rows in the global batch.

    Outside of a replica, and where there is only one, its rows are the global batch.

    Attributes:
        size: Number of rows of this replica.
        first: Index of its first row; None: its rows are the global batch.

    Example:
        >>> rows = tf.constant([[1.0], [2.0]])
        >>> ReplicaSlice.of(rows).gather(rows).shape
        TensorShape([2, 1])
    """

    size: Tensor
    first: Tensor | None

    @classmethod
    def of(cls, rows: Tensor) -> "ReplicaSlice":
        """Return the place of (b, ...) rows; in a last batch b may differ between replicas."""
        size = ops.shape(rows)[0]
        if BACKEND != "tensorflow":  # JAX sees the global batch, and PyTorch has one device here
            return cls(size, None)
        context, size = tf.distribute.get_replica_context(), tf.shape(rows)[0]
        if context is None or context.num_replicas_in_sync == 1:
            return cls(size, None)
        sizes = context.all_gather(size[None], axis=0)
        before = tf.range(tf.shape(sizes)[0]) < context.replica_id_in_sync_group
        return cls(size, tf.reduce_sum(tf.where(before, sizes, tf.zeros_like(sizes))))

    def cut(self, global_rows: Tensor) -> Tensor:
        """Return the replica's own (b, ...) of the global (B, ...)."""
        if self.first is None:
            return global_rows
        return global_rows[self.first : self.first + self.size]

    def gather(self, rows: Tensor) -> Tensor:
        """Return (b, ...) of each replica as (B, ...) of all, in their order."""
        if self.first is None:
            return rows
        context = tf.distribute.get_replica_context()

        @tf.custom_gradient
        def gather(rows: Tensor) -> tuple[Tensor, Gradient]:
            def gradient(by_global: Tensor) -> Tensor:
                return self.cut(context.all_reduce("SUM", by_global))

            return context.all_gather(rows, axis=0), gradient

        return gather(rows)
