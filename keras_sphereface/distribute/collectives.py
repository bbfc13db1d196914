"""Classes split over the replicas of a strategy, and the collectives between them.

Where classes are split (`ClassShard`), every replica computes the loss of the global batch, all
get the same number, and it counts once. So what comes back through a value that all share is
whole on every replica: it must be cut to the replica's own rows or classes, and must not be
summed. Where they are not (`ReplicaSlice`), each replica's loss is its own and all are summed, and
so is what comes back.
"""

import itertools
from typing import NamedTuple

import tensorflow as tf


def balanced_ranges(total: int, count: int) -> list[tuple[int, int]]:
    """[0, total) in `count` ranges (start, stop), the longer ones, by one, first."""
    width, longer = divmod(total, count)
    return list(itertools.pairwise(i * width + min(i, longer) for i in range(count + 1)))


class ClassShard(NamedTuple):
    """The classes that the replica at work holds; its methods run in replica context."""

    start: int  # its first class
    replica: int  # its number
    replicas: int  # how many there are

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """The sum over the replicas; it has no gradient of its own."""
        return tf.distribute.get_replica_context().all_reduce("SUM", values)

    def highest(self, values: tf.Tensor) -> tf.Tensor:
        """The elementwise maximum over the replicas, without a gradient."""
        gathered = tf.distribute.get_replica_context().all_gather(values[None], axis=0)
        return tf.reduce_max(gathered, axis=0)

    def gather_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, ...) of each replica -> (B, ...) of all, in their order."""
        first, size = self.replica * tf.shape(rows)[0], tf.shape(rows)[0]

        @tf.custom_gradient
        def gather(rows):
            def gradient(by_all):
                return by_all[first : first + size]

            return tf.distribute.get_replica_context().all_gather(rows, axis=0), gradient

        return gather(rows)

    def collect(self, values: tf.Tensor) -> tf.Tensor:
        """The sum over the replicas of values of which each but one has zeros there."""

        @tf.custom_gradient
        def add_up(values):
            return self.sum(values), lambda by_sum: by_sum

        return add_up(values)


class ReplicaSlice(NamedTuple):
    """Where the rows of the replica at work lie among those of all, which it may ask for.

    Outside of a replica, and where there is only one, its rows are those of all.
    """

    size: tf.Tensor  # how many there are
    first: tf.Tensor | None  # None: these are all

    @classmethod
    def of(cls, rows: tf.Tensor) -> "ReplicaSlice":
        """Of (b, ...) rows of each replica; a last batch may leave b different."""
        context, size = tf.distribute.get_replica_context(), tf.shape(rows)[0]
        if context is None or context.num_replicas_in_sync == 1:
            return cls(size, None)
        sizes = context.all_gather(size[None], axis=0)
        before = tf.range(tf.shape(sizes)[0]) < context.replica_id_in_sync_group
        return cls(size, tf.reduce_sum(tf.where(before, sizes, tf.zeros_like(sizes))))

    def cut(self, of_all: tf.Tensor) -> tf.Tensor:
        """(B, ...) -> the replica's own (b, ...)."""
        return of_all if self.first is None else of_all[self.first : self.first + self.size]

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """(b, ...) -> (B, ...) of all replicas, in their order."""
        if self.first is None:
            return rows
        context = tf.distribute.get_replica_context()

        @tf.custom_gradient
        def gather(rows):
            def gradient(by_all):
                return self.cut(context.all_reduce("SUM", by_all))

            return context.all_gather(rows, axis=0), gradient

        return gather(rows)
