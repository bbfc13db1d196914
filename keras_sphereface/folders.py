"""Folders that are whole or not there."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Write into a hidden folder beside `folder`, which takes its place when the block ends.

    What was there before goes only when the new one stands. A block that fails leaves it
    untouched, and the hidden folder to be removed by the next try.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    if not folder.exists():
        partial.rename(folder)
        return
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as old:
        folder.rename(Path(old) / "old")
        partial.rename(folder)
