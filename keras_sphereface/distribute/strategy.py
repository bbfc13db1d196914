"""The devices that train together: all of this machine, or those of several machines."""

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator

import tensorflow as tf

# Gradients go between workers in packs of this size. As one pack, TensorFlow's default, those of
# SphereFace-20 took 1.7 times as long between two processes.
BYTES_PER_PACK = 32 * 2**20
# What internal errors of lost connections speak of.
CONNECTION = re.compile("nccl|collective|peer|connection|socket|coordination", re.IGNORECASE)


class WorkerLostError(RuntimeError):
    """Another worker of a training on several machines has gone."""


def make_strategy() -> tf.distribute.Strategy:
    """MirroredStrategy over all visible devices, or over several workers if `TF_CONFIG` says so.

    To be called before anything is computed.

    Raises:
        ValueError: if `TF_CONFIG` is not as TensorFlow wants it.
    """
    if workers_of_cluster() > 1:
        options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=BYTES_PER_PACK)
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def workers_of_cluster() -> int:
    """The number of workers in `TF_CONFIG`; 0 where there is none."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        os.environ.pop("TF_CONFIG", None)  # TensorFlow takes an empty one for a broken one
        return 0
    try:
        cluster, task = (json.loads(text).get(name, {}) for name in ("cluster", "task"))
        unknown = set(cluster) - {"chief", "worker"}
        tasks = [(job, i) for job, addresses in cluster.items() for i in range(len(addresses))]
        wrong = [
            address
            for addresses in cluster.values()
            for address in (addresses if isinstance(addresses, list) else [None])
            if not (isinstance(address, str) and re.fullmatch(r".+:\d+", address))
        ]
        is_one = (task.get("type"), task.get("index")) in tasks and task["index"] is not True
        if unknown or wrong or (cluster and not is_one):
            raise ValueError
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            '`TF_CONFIG` must be as {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}}, with an index for each address. Received: {text}'
        ) from None
    return len(tasks)


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """The number of processes that train together."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return max(1, sum(map(len, cluster.values())))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """The number of this process; the chief is 0."""
    if num_workers(strategy) == 1:
        return 0
    resolver = strategy.cluster_resolver
    before = len(resolver.cluster_spec().as_dict().get("chief", []))
    return resolver.task_id + (before if resolver.task_type == "worker" else 0)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this is the process that writes."""
    return worker_index(strategy) == 0


def all_gather_int(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """What every worker says, once for each of its devices; all must ask.

    `number` is an int from -2^63 to 2^63 - 1.
    """
    if num_workers(strategy) == 1:
        return [number]
    numbers = _teller(strategy)(tf.constant([number], tf.int64))
    return strategy.experimental_local_results(numbers)[0].numpy().tolist()


@functools.lru_cache(maxsize=1)
def _teller(strategy):
    @tf.function
    def tell(number):
        def gather():
            here = tf.identity(number)  # on the replica's device
            return tf.distribute.get_replica_context().all_gather(here, axis=0)

        return strategy.run(gather)

    return tell


def assert_equal_across_workers(
    strategy: tf.distribute.Strategy, value: int | str, what: str
) -> None:
    """Make sure that all workers come with the same number, or with the same text.

    Raises:
        ValueError: if they do not; `what` says what the number, or the checksum of the text, is.
    """
    if isinstance(value, str):
        value = int(hashlib.sha256(value.encode()).hexdigest()[:15], 16)
    numbers = all_gather_int(strategy, value)
    if len(set(numbers)) > 1:
        raise ValueError(f"{what} differs between the workers. Received: {numbers}")


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Wait until all workers are here."""
    all_gather_int(strategy, 0)


@contextlib.contextmanager
def explain_lost_workers(strategy: tf.distribute.Strategy, help_: str) -> Iterator[None]:
    """Turn what TensorFlow says when another worker is gone into a `WorkerLostError`."""
    errors = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    try:
        yield
    except errors as error:
        # Of internal errors only those of the connections; others would be misread.
        internal = isinstance(error, tf.errors.InternalError)
        if num_workers(strategy) == 1 or (internal and not CONNECTION.search(str(error))):
            raise
        first = str(error).strip().splitlines()[0]
        raise WorkerLostError(
            f"Another worker has gone, so this one ends too. {help_} ({first})"
        ) from (error)
