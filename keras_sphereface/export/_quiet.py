"""Libraries that log about themselves, kept quiet."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what converters and runtimes write to stderr, log and warn of; errors still rise.

    They report their progress whatever the network is. The whole process has no stderr meanwhile.
    """
    disabled = logging.root.manager.disable
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as devnull, warnings.catch_warnings():
            os.dup2(devnull.fileno(), 2)
            logging.disable(logging.WARNING)
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(disabled)
