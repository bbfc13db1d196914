"""Libraries that log about themselves, kept quiet."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from keras_sphereface.utils.progress import shown_on


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what converters and runtimes write to stderr, log and warn of; errors still rise.

    They report their progress whatever the network is. The whole process has no stderr meanwhile,
    except for our own progress.
    """
    disabled = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(os.fdopen(os.dup(2), "w"))
        devnull = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(warnings.catch_warnings())
        stack.callback(logging.disable, disabled)
        stack.callback(os.dup2, stderr.fileno(), 2)
        if writes_to_descriptor(sys.stderr, 2):
            stack.enter_context(shown_on(stderr))
        os.dup2(devnull.fileno(), 2)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        yield


def writes_to_descriptor(stream: TextIO, descriptor: int) -> bool:
    """Return whether a stream is a file with this descriptor: notebooks and tests have others."""
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError, AttributeError):
        return False
