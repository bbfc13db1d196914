"""Work spread over processes that start lean and end with the one that started them."""

import collections
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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

    def submit(item):
        with _lean_start():
            return executor.submit(function, item)

    try:
        remaining = iter(items)
        waiting = collections.deque(map(submit, itertools.islice(remaining, 2 * workers)))
        while waiting:
            # The next item goes out before the result is given away: no process ever waits.
            result = waiting.popleft().result()
            waiting.extend(map(submit, itertools.islice(remaining, 1)))
            yield result
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "A process ended before its work was done; perhaps the system ended it for want of "
            f"memory. Received: workers={workers}"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _lean_start() -> Generator[None, None, None]:
    """Processes that start meanwhile import neither Keras and TensorFlow nor the main script.

    The script that runs may import both, and `multiprocessing` would import it again in each
    process, in case the work were defined there; ours never is.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    before = os.environ.get(DATA_ONLY)
    os.environ[DATA_ONLY] = "1"
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
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
