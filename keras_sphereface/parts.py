"""Classes split over the replicas of a strategy: who holds which, and what they tell each other.

Where classes are split (`Part`), every replica computes the loss of the whole global batch, all
get the same number, and it counts once. So what comes back through a value that all share is
whole on every replica: it must be cut to the replica's own rows or classes, and must not be
summed. Where they are not (`rows_of_all`), each replica's loss is its own and all are summed, and
so is what comes back.
"""

import itertools
from typing import NamedTuple

import tensorflow as tf


def balanced_ranges(total: int, count: int) -> list[tuple[int, int]]:
    """[0, total) in `count` ranges (start, stop), the longer ones, by one, first."""
    width, longer = divmod(total, count)
    return list(itertools.pairwise(i * width + min(i, longer) for i in range(count + 1)))


class Part(NamedTuple):
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


def rows_of_all(rows: tf.Tensor) -> tf.Tensor:
    """(b, ...) of the replica at work -> (B, ...) of all, in their order.

    Every replica must have as many. Outside of a replica, and with a single one, it is the rows
    themselves.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    size = tf.shape(rows)[0]

    @tf.custom_gradient
    def gather(rows):
        def gradient(by_all):
            return own_rows(context.all_reduce("SUM", by_all), size)

        return context.all_gather(rows, axis=0), gradient

    return gather(rows)


def own_rows(rows: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Of the rows of all replicas the `size` of the replica at work."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    first = context.replica_id_in_sync_group * size
    return rows[first : first + size]
