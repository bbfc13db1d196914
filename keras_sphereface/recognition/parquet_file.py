"""Tables of embeddings as .parquet, for stores of vectors and for other tools."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def check_parquet_installed(path: Path) -> None:
    """Raise an ImportError, with what to do, if parquet cannot be written."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Writing parquet needs pyarrow: pip install 'keras-sphereface[parquet]'; without it, "
            f"write .npz. Received: {path}"
        ) from error


def write_parquet(
    path: Path, keys: Sequence[str], rows: Sequence[np.ndarray], fingerprint: str, **columns: Any
) -> None:
    """Write the columns `key`, `embedding` and others, and the fingerprint as metadata.

    Args:
        path: The file.
        keys: N keys.
        rows: N embeddings, float32 (D,).
        fingerprint: Fingerprint of the model.
        **columns: N values each, as lists or arrays of pyarrow.
    """
    write_parquet_blocks(path, [(keys, rows, columns)], fingerprint)


def write_parquet_blocks(
    path: Path,
    blocks: Iterable[tuple[Sequence[str], Sequence[np.ndarray], Mapping[str, Any]]],
    fingerprint: str,
) -> int:
    """Write the same a block of rows at a time, and return the number of rows.

    Args:
        path: The file; without a block it is not written.
        blocks: Keys, embeddings and further columns of each block, of the same types.
        fingerprint: Fingerprint of the model.
    """
    import pyarrow
    import pyarrow.parquet

    vectors = pyarrow.list_(pyarrow.float32())  # not every store reads lists of fixed size
    count = 0
    with contextlib.ExitStack() as stack:
        writer = None
        for keys, rows, columns in blocks:
            table: Mapping[str, Any] = {
                "key": pyarrow.array(keys, pyarrow.string()),
                "embedding": pyarrow.array(list(rows), vectors),
                **columns,
            }
            block = pyarrow.table(table).replace_schema_metadata({"fingerprint": fingerprint})
            if writer is None:
                writer = stack.enter_context(pyarrow.parquet.ParquetWriter(path, block.schema))
            writer.write_table(block)
            count += len(keys)
    return count
