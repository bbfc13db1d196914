"""Progress of long work, with rate and time left, and log messages and warnings beside it.

All of it goes to standard error, so that standard output holds results only. On a terminal
progress is a bar; in a log file or a pipe it is a line every few seconds.
"""

import collections
import contextlib
import functools
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from types import TracebackType
from typing import Any, ClassVar, TextIO

from keras_sphereface.utils.text import duration

FIRST_SECONDS = 1.0  # until the first line, and until brief work is shown at all
LINE_SECONDS = 8.0  # from one line to the next
BAR_SECONDS = 0.5  # from one drawing of a bar to the next
RATE_SECONDS = 10  # of the newest work, whose rate a line reports
SHORTEST_TIMED = 0.05  # seconds; less has no meaningful rate
MIN_COUNTED = 5  # in these seconds; of slower work the rate since the start is reported
NARROWEST_WITH_NOTES = 64  # columns that a bar takes without notes
DEFAULT_COLUMNS = 80  # of a terminal that does not tell
WARNING = "WARNING: "  # begins the line of a warning


class Progress:
    """A count of work that is shown on standard error while it rises; see `progress_bar`.

    Attributes:
        n: Int. Number of items done.
    """

    def __init__(
        self,
        iterable: Iterable | None,
        desc: str,
        unit: str,
        total: int | None,
        initial: int,
        disable: bool,
        brief: bool,
    ) -> None:
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        self.iterable, self.desc, self.unit, self.total = iterable, desc, unit, total
        self.n = self.initial = initial
        self.brief = brief or bool(_STDERR.shown)
        self.notes: tuple[str, ...] = ()
        self.began = time.monotonic()
        self._ended = threading.Event()
        self._display: _Bar | _Lines | None = None
        if not disable:
            _STDERR.shown.append(self)
            self._display = _Bar(self) if _STDERR.isatty() else _Lines(self)
            # A thread: also work whose steps take minutes shows that it goes on.
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def update(self, count: int = 1) -> None:
        """Count `count` more items."""
        self.n += count

    def describe(self, desc: str = "", notes: Sequence[str] = ()) -> None:
        """Change the description, or what is noted behind the time left, the shortest first."""
        self.desc = desc or self.desc
        self.notes = tuple(notes)

    def close(self, finished: bool = True) -> None:
        """End the display; with `finished` its last state stays."""
        if self._display and not self._ended.is_set():
            self._ended.set()
            self._ticker.join()
            _STDERR.shown.remove(self)
            self._display.close(finished)

    def _tick(self) -> None:
        assert self._display
        wait = FIRST_SECONDS if self.brief else self._display.interval
        # A closed pipe is reported where it stops the work, not here.
        with contextlib.suppress(OSError, ValueError):
            while not self._ended.wait(wait):
                self._display.show()
                wait = self._display.interval

    def __iter__(self) -> Iterator[Any]:
        assert self.iterable is not None
        with self:
            for item in self.iterable:
                yield item
                self.update()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(finished=error is None)


def progress_bar(
    iterable: Iterable | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    disable: bool = False,
    brief: bool = False,
) -> Progress:
    """Show the progress of work: iterate over it, or use it as a context and call `update`.

    On a terminal it is a bar that never wraps. Elsewhere it is a line after one second, then one
    every 8 seconds and one at the end: "training: step 120 of 300 (40 %), 8.1 steps/s, 22 s left".

    Args:
        iterable: Items that are counted when the next one is asked for.
        desc: What is done, for example "embedding".
        unit: Name of one item, for example "image".
        total: Number of items; None: that of `iterable`, if it has one.
        initial: Int. Items that were done before.
        disable: Bool. Show nothing.
        brief: Bool. Show nothing in the first second, and on a terminal leave nothing. So it is
            with work that is part of other work with a bar.

    Example:
        >>> [item for item in progress_bar("ab", desc="reading", unit="letter", disable=True)]
        ['a', 'b']
    """
    return Progress(iterable, desc, unit, total, initial, disable, brief)


def stage(desc: str, disable: bool = False) -> Progress:
    """Show that work without countable items goes on, if it takes longer than a second.

    Args:
        desc: What is done, for example "opening the network".
        disable: Bool. Show nothing.

    Example:
        >>> with stage("opening the network"):
        ...     pass
    """
    return Progress(None, desc, "", None, 0, disable, brief=True)


class _StandardError:
    """The standard error of the moment, or what `shown_on` puts in its place."""

    replacement: TextIO | None = None
    shown: ClassVar[list["Progress"]] = []  # now; the last one is part of those before it

    @property
    def _stream(self) -> TextIO:
        return self.replacement or sys.stderr

    def write(self, text: str) -> None:
        self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "ascii"

    def columns(self) -> int:
        """Return the width of the terminal; the last column stays free, or some would wrap."""
        columns = 0
        with contextlib.suppress(OSError, ValueError):
            columns = os.get_terminal_size(self.fileno()).columns
        return (columns or DEFAULT_COLUMNS) - 1


_STDERR = _StandardError()


@contextlib.contextmanager
def shown_on(stream: TextIO) -> Iterator[None]:
    """Show progress and messages on another stream, while standard error is suppressed.

    Of blocks within each other the outermost counts: the others have what it suppresses.

    Args:
        stream: For example a duplicate of the file descriptor that is suppressed.
    """
    before = _STDERR.replacement
    _STDERR.replacement = before or stream
    try:
        yield
    finally:
        _STDERR.replacement = before


class _Lines:
    """Progress as lines, for log files and pipes."""

    interval = 1.0  # to count; `LINE_SECONDS` to write

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.counts = collections.deque([(progress.began, progress.n)], maxlen=RATE_SECONDS)
        self.next_line = progress.began + FIRST_SECONDS
        self.has_lines = False

    def show(self) -> None:
        now, n = time.monotonic(), self.progress.n
        if now >= self.next_line and self.progress is _STDERR.shown[-1]:
            self._write(now)
            self.next_line = now + LINE_SECONDS
        self.counts.append((now, n))

    def close(self, finished: bool) -> None:
        # Brief work that showed no line needs no last one either.
        if finished and self.progress.unit and (self.has_lines or not self.progress.brief):
            self._write(time.monotonic(), is_last=True)

    def _write(self, now: float, is_last: bool = False) -> None:
        self.has_lines = True
        progress, seconds = self.progress, now - self.progress.began
        if is_last:  # the rate of the whole work
            self.counts.clear()
            self.counts.append((progress.began, progress.initial))
        rate = self._rate(now)
        parts = [self._count(), _rate_text(rate, progress.unit) if rate else ""]
        if is_last:
            parts.append(f"took {duration(seconds)}")
        elif rate and progress.total is not None:
            parts.append(f"{duration((progress.total - progress.n) / rate)} left")
        else:
            parts.append(f"{duration(seconds)} so far")
        _STDERR.write(", ".join(filter(None, [*parts, *progress.notes])) + "\n")
        _STDERR.flush()

    def _count(self) -> str:
        """Return what is done and how much of it."""
        progress, n = self.progress, self.progress.n
        if not progress.unit:
            return progress.desc
        if progress.total is None:
            return f"{progress.desc}: {n:,} {progress.unit}s"
        percent = 100 * n // progress.total if progress.total else 100
        return f"{progress.desc}: {progress.unit} {n:,} of {progress.total:,} ({percent} %)"

    def _rate(self, now: float) -> float:
        """Return items per second: of the last seconds, or of all if these had few."""
        n, (time_before, n_before) = self.progress.n, self.counts[0]
        if n - n_before < MIN_COUNTED:
            time_before, n_before = self.progress.began, self.progress.initial
        seconds = now - time_before
        return (n - n_before) / seconds if seconds >= SHORTEST_TIMED else 0.0


def _rate_text(rate: float, unit: str) -> str:
    if rate >= 99.5:
        return f"{rate:,.0f} {unit}s/s"
    if rate >= 1:
        return f"{rate:.3g} {unit}s/s"
    return f"{duration(1 / rate)} {'an' if unit[:1] in 'aeiou' else 'a'} {unit}"


class _Bar:
    """Progress as a bar of `tqdm`, for terminals."""

    interval = BAR_SECONDS

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bar: Any = None
        if not progress.brief:
            self.show()

    def show(self) -> None:
        progress = self.progress
        if self.bar is None:
            self.bar = self._make()
        # Now, since the terminal may have another size and the work another description.
        self.bar.ncols = _STDERR.columns()
        self.bar.desc = progress.desc
        self.bar.set_postfix_str(self._notes(), refresh=False)
        if progress.n > self.bar.n:
            self.bar.update(progress.n - self.bar.n)
        self.bar.refresh()

    def close(self, finished: bool) -> None:
        if self.bar is not None:
            self.show()
            self.bar.close()

    def _make(self) -> Any:
        # Only now: without a bar its import would be the slowest of a command.
        from tqdm import tqdm

        progress = self.progress
        bar = tqdm(
            desc=progress.desc,
            total=progress.total,
            initial=progress.initial,
            unit=progress.unit,
            ncols=_STDERR.columns(),
            bar_format=None if progress.unit else "{desc} [{elapsed}]",
            file=_STDERR,
            mininterval=0,
            leave=not progress.brief,
        )
        bar.start_t -= time.monotonic() - progress.began
        return bar

    def _notes(self) -> str:
        """Return as many of the notes as the terminal has room for."""
        room, kept = _STDERR.columns() - NARROWEST_WITH_NOTES, []
        for note in self.progress.notes:
            room -= len(note) + 2
            if room < 0:
                break
            kept.append(note)
        return ", ".join(kept)


def log(message: str, level: int = logging.INFO) -> None:
    """Log a message, by default as a line on standard error that leaves a progress bar whole.

    The logger is `logging.getLogger("keras_sphereface")`: its level and its handlers are those
    that a program gives it, and only without these all from INFO on goes to standard error.
    """
    _logger().log(level, message)


def warn(message: str) -> None:
    """Log a warning, a line that begins with "WARNING: "; the one way for warnings of commands."""
    log(message, logging.WARNING)


def warn_once(messages: Iterable[str], warned: set[str]) -> None:
    """Log the warnings that are not in `warned`, and add them: several models share a warning."""
    for message in messages:
        if message not in warned:
            warned.add(message)
            warn(message)


@contextlib.contextmanager
def python_warnings_logged() -> Iterator[None]:
    """Log Python's warnings in the block as messages, without the place in the code.

    A program is told of where it calls what it should not; the user of a command has no use for it.
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: warn(str(message))
        yield


class _BesideBars(logging.Handler):
    """Writes to the standard error of the moment, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        # Errors too: a command ends by raising them, and logs what it survives.
        prefix = WARNING if record.levelno >= logging.WARNING else ""
        line = prefix + record.getMessage() + "\n"
        if "tqdm" not in sys.modules:  # there is no bar
            _STDERR.write(line)
            _STDERR.flush()
            return
        from tqdm import tqdm

        tqdm.write(line, file=_STDERR, end="")


@functools.cache
def _logger() -> logging.Logger:
    logger = logging.getLogger("keras_sphereface")
    if not logger.handlers:
        logger.addHandler(_BesideBars())
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return logger
