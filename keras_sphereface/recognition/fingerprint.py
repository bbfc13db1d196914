"""The fingerprint of a model: what tells whether two embeddings come from the same network."""

import hashlib
import os
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def model_fingerprint(path: str | os.PathLike) -> str:
    """Return a fingerprint of the bytes of a model, "sha256:" and 64 digits.

    Args:
        path: File (.tflite, .onnx, .keras, ...), or folder of a SavedModel, whose files count with
            their relative paths. A copy has the same fingerprint.

    Raises:
        FileNotFoundError: If there is nothing, or no file in the folder.

    Example:
        >>> print(model_fingerprint("model")[:7], len(model_fingerprint("model")))
        sha256: 71
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if not files:
        raise FileNotFoundError(
            f"A model must be a file, or a folder with files. Received: {path}, which "
            + ("is empty" if path.exists() else "does not exist")
        )
    digest = hashlib.sha256()
    for file in files:
        # The lengths keep the end of one file from counting as the beginning of the next.
        name = file.relative_to(path).as_posix().encode() if file != path else b""
        digest.update(f"{len(name)}:".encode() + name + f"{file.stat().st_size}:".encode())
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"
