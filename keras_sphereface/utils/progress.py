"""Progress of long work, with rate and time left."""

import sys

from tqdm import tqdm


def progress_bar(iterable=None, **kwargs) -> tqdm:
    """A `tqdm` bar on standard error; in a log file it writes a line's worth every 10 s only."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(iterable, mininterval=interval, maxinterval=interval, **kwargs)


def log(text: str) -> None:
    """A line on standard error that leaves a bar beside it whole."""
    tqdm.write(text, file=sys.stderr)
