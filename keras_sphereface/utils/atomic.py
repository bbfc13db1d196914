"""Files and folders that appear whole or not at all, and errors of a full disk."""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

# Of file systems that cannot do it, and of folders that may not be opened.
NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM)


class DiskSpaceError(OSError):
    """The disk has less space left than the output will take."""


def partial_folder(folder: Path) -> Path:
    """Return the hidden folder beside `folder` in which it is made until it is whole."""
    return folder.with_name(f".{folder.name}.partial")


def _replaced_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def commit_directory(folder: Path) -> None:
    """Let the partial folder take the place of `folder`, and remove the previous one.

    Its files are on the disk before it gets its name, so that not even a power failure leaves a
    folder under that name whose files are empty.
    """
    replaced, partial = _replaced_folder(folder), partial_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    _sync_all(partial)
    if folder.exists():
        folder.rename(replaced)
    partial.rename(folder)
    _sync(folder.parent)
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
    untouched, and nothing beside it; what a killed process left, the next attempt removes.
    """
    recover(folder)
    partial = partial_folder(folder)
    shutil.rmtree(partial, ignore_errors=True)
    with removed_on_failure(partial):
        partial.mkdir(parents=True)
        yield partial
        commit_directory(folder)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a hidden file of the same suffix, which replaces `path` when the block ends.

    It is on the disk before it gets its name. A block that fails leaves `path` as it was, and
    nothing beside it.
    """
    partial = path.with_name(f".partial-{path.name}")
    with removed_on_failure(partial):
        yield partial
        _sync(partial)
        os.replace(partial, path)
    _sync(path.parent)


@contextlib.contextmanager
def removed_on_failure(partial: Path) -> Iterator[None]:
    """Remove an unfinished file or folder if the block fails, also by an interrupt."""
    try:
        yield
    except BaseException:
        # The first error is the one to report.
        with contextlib.suppress(OSError):
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink()
        raise


def _sync_all(folder: Path) -> None:
    """Wait until the disk has a folder and all that it holds.

    Hidden entries are left out: a conversion has its database there, and SQLite would lose its
    lock if this process opened and closed that file once more.
    """
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder, where the system can do it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise


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
