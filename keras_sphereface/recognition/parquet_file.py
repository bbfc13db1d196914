"""Tables of embeddings as .parquet, for stores of vectors and for other tools."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def check_parquet_installed(path: Path) -> None:
    """Raise an ImportError, with what to do, if parquet cannot be written."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Writing parquet needs pyarrow: pip install keras-sphereface[parquet]; without it, "
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
    import pyarrow
    import pyarrow.parquet

    vectors = pyarrow.list_(pyarrow.float32())  # not every store reads lists of fixed size
    table: Mapping[str, Any] = {
        "key": pyarrow.array(keys, pyarrow.string()),
        "embedding": pyarrow.array(list(rows), vectors),
        **columns,
    }
    written = pyarrow.table(table).replace_schema_metadata({"fingerprint": fingerprint})
    pyarrow.parquet.write_table(written, path)
