"""Work spread over processes that start lean and end with the process that started them."""

import collections
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from keras_sphereface.utils.startup import DATA_ONLY

Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Any], Result], items: Iterable[Any], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of `function` on each of `items`, in their order.

    Args:
        function: Callable that can be pickled.
        items: Iterable of arguments that can be pickled. At most 2 `workers` items are taken
            ahead of the results, so endless items need no endless memory.
        workers: Int. Number of processes; 1 works in the calling process.

    Raises:
        ChildProcessError: if a process ends before its work is done.
    """
    if workers == 1:
        yield from map(function, items)
        return
    executor = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )

    def submit(item: Any) -> Future[Result]:
        with _lean_start():
            return executor.submit(function, item)

    try:
        remaining = iter(items)
        pending = collections.deque(map(submit, itertools.islice(remaining, 2 * workers)))
        while pending:
            # The next item is submitted before the result is yielded: no process ever waits.
            result = pending.popleft().result()
            pending.extend(map(submit, itertools.islice(remaining, 1)))
            yield result
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "A process ended before its work was done, perhaps because memory ran out. Use fewer "
            f"processes: --workers. Received: workers={workers}"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _lean_start() -> Generator[None, None, None]:
    """Processes that start meanwhile import neither Keras and TensorFlow nor the main script.

    The running script may import both, and `multiprocessing` would import it again in each
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


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes share the cores already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent: one that is killed cannot end its children itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
