import os
import pickle

import numpy as np
import pytest

from keras_sphereface import bins


def test_pictures_as_bytes_and_as_arrays_are_read(tmp_path):
    pictures = [b"one", np.frombuffer(b"two", np.uint8), b"three", np.frombuffer(b"4", np.uint8)]
    for protocol in (2, 4, 5):
        file = tmp_path / "set.bin"
        file.write_bytes(pickle.dumps((pictures, [True, np.False_]), protocol))
        read, is_same = bins.read_bin(file)
        assert read == [b"one", b"two", b"three", b"4"]
        np.testing.assert_array_equal(is_same, [True, False])


def test_a_pickle_of_an_old_numpy_is_read(tmp_path):
    content = pickle.dumps(([np.frombuffer(b"a", np.uint8)] * 2, [True]), 2)
    file = tmp_path / "set.bin"
    file.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert bins.read_bin(file)[0] == [b"a", b"a"]


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    file, target = tmp_path / "set.bin", tmp_path / "harm"
    file.write_bytes(pickle.dumps(([Hostile(str(target))], [True])))
    with pytest.raises(ValueError, match="mkdir is not part of a verification set"):
        bins.read_bin(file)
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", pickle.dumps(3), pickle.dumps(([b"a"], [True]))]
)
def test_anything_else_is_refused(tmp_path, content):
    file = tmp_path / "set.bin"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="Received: "):
        bins.read_bin(file)
