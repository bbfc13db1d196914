"""Work spread over processes that start lean and end with the one that started them."""

import collections
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import cv2

# Tells `keras_sphereface/__init__.py` to leave out what needs Keras and TensorFlow.
DATA_ONLY = "KERAS_SPHEREFACE_DATA_ONLY"

Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Any], Result], items: Iterable[Any], workers: int
) -> Generator[Result, None, None]:
    """The results of `function` on each of `items`, in their order.

    Args:
        function, items: of what can be pickled.
        workers: processes; 1 works here, in this one. Few items more than there are processes
            are taken ahead of the results, so endless items need no endless memory.
    """
    if workers == 1:
        yield from map(function, items)
        return
    executor = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        remaining = iter(items)
        with _lean_start():
            first = [executor.submit(function, i) for i in itertools.islice(remaining, 2 * workers)]
        waiting = collections.deque(first)
        while waiting:
            # Taken before its result is given away: the processes must never wait for us.
            result = waiting.popleft().result()
            waiting.extend(executor.submit(function, i) for i in itertools.islice(remaining, 1))
            yield result
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _lean_start():
    """Processes that are started meanwhile do without Keras and TensorFlow."""
    before = os.environ.get(DATA_ONLY)
    os.environ[DATA_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[DATA_ONLY]
        else:
            os.environ[DATA_ONLY] = before


def _start_worker():
    cv2.setNumThreads(1)  # the processes share the cores already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """A parent that is killed cannot end its processes, and they would wait for ever."""
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
