"""Folders that are whole or not there, and disks that are full."""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class DiskSpaceError(OSError):
    """What is about to be written will not fit on the disk."""


def partial_folder(folder: Path) -> Path:
    """Where `folder` is made until it is whole: a hidden folder beside it."""
    return folder.with_name(f".{folder.name}.partial")


def _replaced_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def commit_directory(folder: Path) -> None:
    """Let the partial folder take the place of `folder`; what was there before goes then."""
    replaced = _replaced_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    partial_folder(folder).rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(folder: Path) -> None:
    """Bring back what `commit_directory` was replacing when its process was killed."""
    replaced = _replaced_folder(folder)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Write into a hidden folder beside `folder`, which takes its place when the block ends.

    What was there before goes only when the new one stands. A block that fails leaves it
    untouched, and the hidden folder to be removed by the next try.
    """
    recover(folder)
    partial = partial_folder(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    commit_directory(folder)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a hidden file of the same suffix, which takes the place of `path` in the end."""
    partial = path.with_name(f".partial-{path.name}")
    yield partial
    os.replace(partial, path)


@contextlib.contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says where, and what to do."""
    try:
        yield
    except DiskSpaceError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _full_disk(folder) from error
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        raise _full_disk(folder) from error


def check_free_space(folder: Path, needed: int) -> None:
    """Raise `DiskSpaceError` if the disk that holds `folder` has not so many bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskSpaceError(
            errno.ENOSPC,
            f"About {needed / 1e9:.2f} GB are needed, and the disk has {free / 1e9:.2f} GB left",
            os.fspath(folder),
        )


def _full_disk(folder):
    message = (
        "The disk is full. What is written so far stays hidden beside the output, what was there "
        "before is untouched, and the same command goes on once there is space"
    )
    return OSError(errno.ENOSPC, message, os.fspath(folder))
