"""How a command ends when something is wrong: a sentence and an exit status, not a traceback."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

from keras_sphereface.utils.atomic import DiskSpaceError
from keras_sphereface.utils.progress import log

ERROR, INTERRUPTED = 1, 130
# Errors whose messages are written for the user.
EXPECTED = (ImportError, OSError, ValueError, FloatingPointError, RuntimeError, MemoryError)


@contextlib.contextmanager
def ending(debug: bool = False) -> Iterator[None]:
    """End the program in one or two sentences on standard error for any error in the block.

    Args:
        debug: Bool. True to let the error pass, so that Python shows its traceback.

    Raises:
        SystemExit: With status 1 for an error, and 130 for an interruption by Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        log("stopped. The same command continues or begins anew.")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ERROR) from None
    except Exception as error:
        if debug:
            raise
        print(f"error: {_seen_from_here(sentence(error))}", file=sys.stderr)
        raise SystemExit(ERROR) from None


def sentence(error: Exception) -> str:
    """Return what a user should read of an error.

    Example:
        >>> sentence(ValueError("`m` must be at least 1. Received: m=0"))
        '`m` must be at least 1. Received: m=0'
        >>> sentence(KeyError("x"))
        "KeyError: 'x'. This should not happen; the same command with --debug shows where."
    """
    if isinstance(error, OSError) and error.errno and error.strerror:
        return _of_the_system(error)
    if isinstance(error, MemoryError) and not str(error):
        return "The memory is full. Smaller batches need less, for example --batch-size 32."
    # A TypeError of our own says what was received; others are faults.
    is_ours = isinstance(error, EXPECTED) or "Received: " in str(error)
    if is_ours and str(error):
        return str(error)
    name = type(error).__name__
    first_line = (str(error).strip().splitlines() or [""])[0]
    return (
        f"{name}: {first_line}. This should not happen; the same command with --debug shows where."
    )


def _seen_from_here(text: str) -> str:
    """The text with the paths below the working folder as users type them: without that folder."""
    try:
        here = os.getcwd().rstrip(os.sep)
    except FileNotFoundError:  # removed while the command ran
        return text
    return re.sub(rf"(?<![\w./-]){re.escape(here)}{os.sep}(?=\w)", "", text) if here else text


def _of_the_system(error: OSError) -> str:
    """An error that the operating system reports, without its number, with the path first."""
    path = f"{error.filename}: " if error.filename else ""
    is_full = isinstance(error, DiskSpaceError)
    return f"{path}{error.strerror}.{' Free some space, or choose another folder.' * is_full}"
