"""Tensors come out of files of torch.save; a pickle that asks for more is refused and not run."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from keras_sphereface.export.weights import read_torch_file
from keras_sphereface.export.weights.torch_file import UnsafePickleError
from tests.helpers import weights_files
from tests.helpers.weights_files import name_of, number, pickled_state, text, tuple_of

TENSORS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.float32([1.5, -2]),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.float32(7).reshape(()),
    "empty": np.empty((0, 3), np.float32),
}
FORMS = {"zip": weights_files.write_torch_zip, "legacy": weights_files.write_torch_legacy}
forms = pytest.mark.parametrize("form", FORMS)


@forms
def test_tensors_are_read(tmp_path, form):
    read = read_torch_file(FORMS[form](tmp_path / "net.pth", TENSORS))
    assert list(read) == list(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(read[name], tensor)
        assert read[name].dtype == np.float32


def test_names_of_parallel_networks_lose_their_beginning(tmp_path):
    tensors = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
    assert list(read_torch_file(FORMS["zip"](tmp_path / "net.pth", tensors))) == list(TENSORS)


def test_a_state_dict_may_be_in_a_checkpoint(tmp_path):
    inner = pickled_state(TENSORS, legacy=False)[2:-1]
    outer = b"\x80\x02}(" + text("epoch") + number(3) + text("state_dict") + inner + b"u."
    path = FORMS["zip"](tmp_path / "net.pth", TENSORS, outer)
    assert list(read_torch_file(path)) == list(TENSORS)


class Command:
    """Unpickled by `pickle`, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


HOSTILE = {
    "os.mkdir": lambda folder: pickle.dumps({"a": Command(folder)}, 2),
    "posix.mkdir in protocol 4": lambda folder: pickle.dumps({"a": Command(folder)}, 4),
    "builtins.eval": lambda folder: (
        b"\x80\x02"
        + name_of("builtins", "eval")
        + tuple_of(text(f"__import__('os').mkdir({str(folder)!r})"))
        + b"R."
    ),
    "a name with dots": lambda folder: (
        b"\x80\x04" + text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93."
    ),
    "an object of a class": lambda folder: (
        b"\x80\x02" + name_of("subprocess", "Popen") + tuple_of(text(f"mkdir {folder}")) + b"\x81."
    ),
}


@forms
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, form, name):
    folder = tmp_path / "made"
    content = HOSTILE[name](folder)
    path = FORMS[form](tmp_path / "net.pth", TENSORS, content)
    message = r"must hold tensors only; it was not run. Received: a pickle that asks for "
    with pytest.raises(UnsafePickleError, match=message):
        read_torch_file(path)
    bare = tmp_path / "bare.pth"
    bare.write_bytes(content)
    with pytest.raises(UnsafePickleError, match=message):
        read_torch_file(bare)
    assert not folder.exists()
    if "mkdir" in name:
        pickle.loads(content)
        assert folder.exists(), "the pickle is no danger at all: this test proves nothing"


def test_what_a_pickle_changes_does_not_outlast_it(tmp_path):
    """BUILD sets attributes, here of the type of a storage."""
    changed = name_of("torch", "FloatStorage") + b"}" + text("dtype") + number(1) + b"sb"
    with pytest.raises(ValueError, match="must hold a state dict"):
        read_torch_file(FORMS["zip"](tmp_path / "a.pth", TENSORS, b"\x80\x02" + changed + b"."))
    assert list(read_torch_file(FORMS["zip"](tmp_path / "b.pth", TENSORS))) == list(TENSORS)


@forms
@pytest.mark.parametrize(
    "changes", [{"count": 1}, {"count": 2**31 - 1}, {"count": -1}, {"offset": 1}, {"offset": -1}]
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, form, changes):
    pickled = pickled_state(TENSORS, form == "legacy", **changes)
    message = r"saved by torch\.save, and whole\. Received: (a tensor|a storage|storages) "
    with pytest.raises(ValueError, match=message):
        read_torch_file(FORMS[form](tmp_path / "net.pth", TENSORS, pickled))


@forms
def test_a_file_that_is_cut_short_is_refused(tmp_path, form):
    path = FORMS[form](tmp_path / "net.pth", TENSORS)
    content = path.read_bytes()
    for size in range(0, len(content), 23):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"saved by torch\.save, and whole"):
            read_torch_file(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"a zip archive without data.pkl"):
        read_torch_file(path)
    compressed = FORMS["zip"](path, TENSORS, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed entries"):
        read_torch_file(compressed)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="another pickle"):
        read_torch_file(path)
    with pytest.raises(ValueError, match=r"names with tensors\. Received: int"):
        read_torch_file(FORMS["zip"](path, {}, b"\x80\x02" + number(5) + b"."))
