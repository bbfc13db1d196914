"""Files and folders that appear whole or not at all, and errors of a full disk."""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class DiskSpaceError(OSError):
    """The disk has less space left than the output will take."""


def partial_folder(folder: Path) -> Path:
    """Return the hidden folder beside `folder` in which it is made until it is whole."""
    return folder.with_name(f".{folder.name}.partial")


def _replaced_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def commit_directory(folder: Path) -> None:
    """Let the partial folder take the place of `folder`, and remove the previous one."""
    replaced = _replaced_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    partial_folder(folder).rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(folder: Path) -> None:
    """Bring back the folder that a killed `commit_directory` was replacing."""
    replaced = _replaced_folder(folder)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Write into a hidden folder beside `folder`, which takes its place when the block ends.

    The previous folder goes only when the new one stands. A block that fails leaves it
    untouched, and the next attempt removes the hidden folder.
    """
    recover(folder)
    partial = partial_folder(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    commit_directory(folder)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a hidden file of the same suffix, which replaces `path` when the block ends."""
    partial = path.with_name(f".partial-{path.name}")
    yield partial
    os.replace(partial, path)


CONTINUES = "Free some space and run the same command again: it continues"


@contextlib.contextmanager
def explain_full_disk(folder: Path, advice: str = CONTINUES) -> Iterator[None]:
    """Replace the errors of a full disk by one that names the folder and the next step.

    Args:
        folder: Where the output goes.
        advice: What became of the output, and what to do.
    """
    try:
        yield
    except DiskSpaceError:
        raise
    except Exception as error:
        if not _is_full_disk(error):
            raise
        # SQLite does not say which of the two it is.
        state = "full or damaged" if "disk I/O error" in str(error) else "full"
        message = f"The disk is {state}. {advice}"
        raise OSError(errno.ENOSPC, message, os.fspath(folder)) from error


def _is_full_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, sqlite3.OperationalError):
        return "full" in str(error) or "disk I/O error" in str(error)
    # TensorFlow's errors have the words of the system, and no number.
    words = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), os.strerror(errno.EFBIG))
    return any(word in str(error) for word in words)


def check_free_space(folder: Path, needed: int) -> None:
    """Raise `DiskSpaceError` unless the disk that holds `folder` has `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskSpaceError(
            errno.ENOSPC,
            f"About {needed / 1e9:.2f} GB are needed, and the disk has {free / 1e9:.2f} GB left",
            os.fspath(folder),
        )
