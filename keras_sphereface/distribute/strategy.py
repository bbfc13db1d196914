"""The devices that train together: all of this machine, or those of several machines."""

import contextlib
import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

# Gradients go between workers in packs of this size. As one pack, TensorFlow's default, those of
# SphereFace-20 took 1.7 times as long between two processes.
BYTES_PER_PACK = 32 * 2**20
# Words in the internal errors of lost connections.
CONNECTION = re.compile("nccl|collective|peer|connection|socket|coordination", re.IGNORECASE)
# An answer of a few bytes takes less than a millisecond, but processes may share busy cores.
SECONDS_TO_ARRIVE = 2


class WorkerLostError(RuntimeError):
    """The connection to another worker of a training is lost."""


def make_strategy() -> tf.distribute.Strategy:
    """Return the strategy that trains on all devices.

    To be called before anything is computed.

    Returns:
        `MirroredStrategy` over all visible devices, or `MultiWorkerMirroredStrategy` where
        `TF_CONFIG` names several workers.

    Raises:
        ValueError: If `TF_CONFIG` is not as TensorFlow reads it.

    Example:
        >>> make_strategy().num_replicas_in_sync >= 1
        True
    """
    if workers_of_cluster() > 1:
        options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=BYTES_PER_PACK)
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def workers_of_cluster() -> int:
    """Return the number of workers in `TF_CONFIG`; 0 without it.

    Raises:
        ValueError: If it is not as TensorFlow reads it.
    """
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


def is_chief_process() -> bool:
    """Return whether `TF_CONFIG` names this process the chief, or only one; without a strategy."""
    if workers_of_cluster() < 2:
        return True
    config = json.loads(os.environ["TF_CONFIG"])
    first = "chief" if config["cluster"].get("chief") else "worker"
    return (config["task"]["type"], config["task"]["index"]) == (first, 0)


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Return the number of processes that train together."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return max(1, sum(map(len, cluster.values())))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Return the number of this process; the chief is 0."""
    if num_workers(strategy) == 1:
        return 0
    resolver = strategy.cluster_resolver
    before = len(resolver.cluster_spec().as_dict().get("chief", []))
    return resolver.task_id + (before if resolver.task_type == "worker" else 0)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this is the process that writes."""
    return worker_index(strategy) == 0


def all_gather_int(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """Return the numbers of all workers, once for each of their devices; all must call it.

    Args:
        strategy: Its workers take part.
        number: Int from -2^63 to 2^63 - 1.
    """
    if num_workers(strategy) == 1:
        return [number]
    numbers = _gather_function(strategy)(tf.constant([number], tf.int64))
    return strategy.experimental_local_results(numbers)[0].numpy().tolist()


@functools.lru_cache(maxsize=1)
def _gather_function(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], Any]:
    @tf.function
    def gather(number: tf.Tensor) -> Any:
        def on_replica() -> tf.Tensor:
            local = tf.identity(number)  # on the replica's device
            return tf.distribute.get_replica_context().all_gather(local, axis=0)

        return strategy.run(on_replica)

    return gather


def assert_equal_across_workers(
    strategy: tf.distribute.Strategy, value: int | str, name: str
) -> None:
    """Check that all workers call it with the same number, or with the same text.

    Args:
        strategy: Its workers take part.
        value: Int, or a text whose checksum is compared.
        name: Name of the number, or of the checksum of the text, for the error.

    Raises:
        ValueError: If they do not.
    """
    if isinstance(value, str):
        value = int(hashlib.sha256(value.encode()).hexdigest()[:15], 16)
    numbers = all_gather_int(strategy, value)
    if len(set(numbers)) > 1:
        raise ValueError(f"{name} differs between the workers. Received: {numbers}")


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Wait until all workers have called it."""
    all_gather_int(strategy, 0)


@contextlib.contextmanager
def stay_for_the_others(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Keep this process for a moment after the block, whether it succeeds or fails.

    A collective ends where its answer is handed to the connection, not where it has arrived. A
    process that ends at once may take the answer with it, and the others take it for lost.
    """
    try:
        yield
    finally:
        if num_workers(strategy) > 1:
            time.sleep(SECONDS_TO_ARRIVE)


@contextlib.contextmanager
def explain_lost_workers(strategy: tf.distribute.Strategy, advice: str) -> Iterator[None]:
    """Turn TensorFlow's errors of a lost connection into a `WorkerLostError` with advice."""
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
        first_line = str(error).strip().splitlines()[0]
        raise WorkerLostError(
            f"The connection to another worker is lost, so this one ends too. {advice} "
            f"({first_line})"
        ) from error
