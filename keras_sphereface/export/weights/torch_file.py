"""The tensors of a file of `torch.save`, read without PyTorch and without running what it holds.

Such a file is a pickle, and a pickle may run any code. The unpickler here knows tensors, their
storages and ordered dicts; every other name is refused before it is looked up.
"""

import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C  # begins a file of the form before PyTorch 1.6
_PROTOCOL = 1001
_LARGEST_PICKLE = 64 << 20  # bytes; that of a network holds names, no weights
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class UnsafePickleError(ValueError):
    """A pickle asks for more than tensors and dicts."""


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return {name: array} of the tensors of a state dict that `torch.save` wrote.

    Args:
        path: File of a state dict, in the zip form of PyTorch 1.6 and later or the form before it.
            It may be in a dict under `state_dict`, and names may begin with `module.`.

    Raises:
        UnsafePickleError: If the pickle asks for anything but tensors and dicts. Nothing of it is
            run.
        ValueError: If it is no such file, is damaged, or holds no tensors.

    Example:
        >>> with open("network.pth", "wb") as file:
        ...     pickle.dump({"weights": print}, file)
        >>> read_torch_file("network.pth")
        Traceback (most recent call last):
        keras_sphereface...UnsafePickleError: network.pth must hold tensors only; it was not run.
        Received: a pickle that asks for builtins.print...
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            loaded = _load_zip(file) if zipfile.is_zipfile(file) else _load_legacy(file)
        except UnsafePickleError as error:
            raise UnsafePickleError(
                f"{path} must hold tensors only; it was not run. Received: {error}. Save the "
                "network's state_dict() in place of the network"
            ) from error
        # A damaged pickle raises almost anything; none of it helps a user more than this.
        except Exception as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"{path} must be a state dict saved by torch.save, and whole. Received: {words}"
            ) from error
    tensors = _state_dict(loaded)
    if not tensors:
        raise ValueError(
            f"{path} must hold a state dict, names with tensors. Received: {type(loaded).__name__}"
        )
    return tensors


def _state_dict(loaded: Any) -> dict[str, np.ndarray]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        return {}
    return {
        str(name).removeprefix("module."): tensor
        for name, tensor in loaded.items()
        if isinstance(tensor, np.ndarray)
    }


class _Tensors(pickle.Unpickler):
    """An unpickler that admits tensors and dicts.

    What it admits is made anew for each file: a pickle can set attributes of what it is given.
    """

    def __init__(self, file: BinaryIO, storage_of: Callable[[Any], np.ndarray] | None) -> None:
        # Files of Python 2 have names as bytes.
        super().__init__(file, encoding="latin1")
        self._storage_of = storage_of
        self._admitted = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise UnsafePickleError(f"a pickle that asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> np.ndarray:
        if self._storage_of is None:
            raise ValueError("a storage where there is none")
        return self._storage_of(pid)


def _admitted() -> dict[tuple[str, str], Any]:
    class StateDict(dict):
        def __setstate__(self, state: Any) -> None:
            """Leave out the versions of layers, which PyTorch sets as an attribute."""

    class StorageType:
        def __init__(self, dtype: str) -> None:
            self.dtype = np.dtype(dtype)

    def rebuild(
        storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> np.ndarray:
        return _tensor(storage, offset, size, stride)

    def parameter(tensor: np.ndarray, *_: Any) -> np.ndarray:
        return tensor

    return {
        ("collections", "OrderedDict"): StateDict,
        ("torch._utils", "_rebuild_tensor"): rebuild,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild,
        ("torch._utils", "_rebuild_parameter"): parameter,
        **{("torch", name): StorageType(dtype) for name, dtype in _DTYPES.items()},
    }


def _tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> np.ndarray:
    """A copy of the part of a storage that a tensor is; refuse one that reaches beyond it."""
    numbers = (offset, *size, *stride)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"a tensor of size {size} and stride {stride} from {offset} on")
    if len(size) != len(stride):
        raise ValueError(f"a tensor of size {size} and stride {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and not (last < len(storage) and math.prod(size) <= len(storage)):
        raise ValueError(f"a tensor of size {size} in a storage of {len(storage)} numbers")
    if not math.prod(size):
        return np.empty(size, storage.dtype)
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False).copy()


def _load_zip(file: BinaryIO) -> Any:
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ValueError("a zip archive without data.pkl")
    if archive.getinfo(names[0]).file_size > _LARGEST_PICKLE:
        raise ValueError("a data.pkl that is too large")
    # PyTorch never compresses; what is small in the file and huge in memory is no network.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise ValueError("compressed entries")
    root = names[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("numbers of another byte order")

    def storage_of(pid: Any) -> np.ndarray:
        dtype, key, count = _storage(pid)
        info = archive.getinfo(f"{root}data/{key}")
        if info.file_size != count * dtype.itemsize:
            raise ValueError(f"a storage of {count} numbers in {info.file_size} bytes")
        return np.frombuffer(archive.read(info), dtype)

    return _Tensors(io.BytesIO(archive.read(names[0])), storage_of).load()


def _load_legacy(file: BinaryIO) -> Any:
    """Load the form before PyTorch 1.6: five pickles, then the numbers of the storages."""
    file.seek(0)
    if _Tensors(file, None).load() != _MAGIC or _Tensors(file, None).load() != _PROTOCOL:
        raise ValueError("another pickle")
    _Tensors(file, None).load()  # facts about the machine
    storages: dict[str, np.ndarray] = {}
    size = os.fstat(file.fileno()).st_size

    def storage_of(pid: Any) -> np.ndarray:
        dtype, key, count = _storage(pid)
        if key not in storages:
            total = count * dtype.itemsize + sum(storage.nbytes for storage in storages.values())
            if total > size:
                raise ValueError(f"storages of {total} bytes in a file of {size}")
            storages[key] = np.zeros(count, dtype)
        return storages[key]

    # The numbers come last, so the first pass shows which storages there are; the second cuts the
    # tensors out of them.
    start = file.tell()
    _Tensors(file, storage_of).load()
    keys = _Tensors(file, None).load()
    for key in keys:
        _read_storage(file, storages[str(key)])
    file.seek(start)
    return _Tensors(file, storage_of).load()


def _read_storage(file: BinaryIO, storage: np.ndarray) -> None:
    head, content = file.read(8), file.read(storage.nbytes)
    if len(head) != 8 or len(content) != storage.nbytes:
        raise ValueError("a file that is cut short")
    if int.from_bytes(head, "little") != len(storage):
        raise ValueError(f"{int.from_bytes(head, 'little')} numbers in place of {len(storage)}")
    storage[:] = np.frombuffer(content, storage.dtype)


def _storage(pid: Any) -> tuple[np.dtype, str, int]:
    """The type of the numbers, the key and the count of a storage."""
    kind, storage_type, key, _, count, *view = pid
    if kind != "storage" or view not in ([], [None]) or not isinstance(count, int) or count < 0:
        raise ValueError("a storage of another form")
    return storage_type.dtype, str(key), count
