"""Progress of long work, with rate and time left, and log messages beside it."""

import functools
import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Iterable | None = None, **kwargs: Any) -> tqdm:
    """Return a `tqdm` bar on standard error; in a log file it writes once in 10 s at most."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(iterable, mininterval=interval, maxinterval=interval, **kwargs)


def log(message: str, level: int = logging.INFO) -> None:
    """Log a message, by default as a line on standard error that leaves a progress bar whole.

    The logger is `logging.getLogger("keras_sphereface")`: its level and its handlers are those
    that a program gives it, and only without these all from INFO on goes to standard error.
    """
    _logger().log(level, message)


class _BesideBars(logging.Handler):
    """Writes to the standard error of the moment, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        tqdm.write(prefix + record.getMessage(), file=sys.stderr)


@functools.cache
def _logger() -> logging.Logger:
    logger = logging.getLogger("keras_sphereface")
    if not logger.handlers:
        logger.addHandler(_BesideBars())
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return logger
