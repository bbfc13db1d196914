"""Blobs come out of a .caffemodel as they went in, in every form; damaged files are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.export.weights import read_caffemodel, wire
from tests.helpers import weights_files
from tests.helpers.weights_files import caffemodel, message, varint

LAYERS = weights_files.random_layers(blocks=(0, 0, 1, 0))


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", ["packed", "unpacked", "old", "doubles", "v1"])
def test_every_form_is_read(tmp_path, form):
    read = read_caffemodel(written(tmp_path / "net.caffemodel", caffemodel(LAYERS, form)))
    assert list(read) == list(LAYERS)
    for name, arrays in LAYERS.items():
        assert len(read[name]) == len(arrays)
        for array, expected in zip(read[name], arrays, strict=True):
            four_axes = (1,) * (4 - expected.ndim) + expected.shape
            assert array.shape == (four_axes if form in ("old", "v1") else expected.shape)
            assert array.dtype == (np.float64 if form == "doubles" else np.float32)
            np.testing.assert_array_equal(array.reshape(expected.shape), expected)


@pytest.mark.parametrize("form", ["packed", "unpacked", "v1"])
def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path, form):
    layers = {"conv1_1": LAYERS["conv1_1"]}
    content = caffemodel(layers, form)
    whole = read_caffemodel(written(tmp_path / "whole", content))
    for size in range(1, len(content), 7):
        cut = written(tmp_path / "cut", content[:size])
        with pytest.raises(ValueError, match=r"must be a .caffemodel.*Received: "):
            assert read_caffemodel(cut).keys() != whole.keys()


BLOB = message(5, np.float32([1, 2, 3]).tobytes())
SHAPE = message(7, message(1, varint(2)))


@pytest.mark.parametrize(
    ("content", "message_of_error"),
    [
        (b"", "no layer with weights"),
        (b"ada\tbob\n", "8 bytes are announced, and 7 are left"),
        (b"\x0b", "a field is of kind 3, which is none, at byte 0"),
        (message(1, b"only a name"), "no layer with weights"),
        (b"\x00\x01", "no field has the number 0, at byte 0"),
        (varint(1 << 3) + b"\xff" * 11, "a number does not end"),
        (
            message(100, message(1, b"relu1") + message(7, BLOB + SHAPE)),
            r"3 numbers for the shape \(2,\), in blob 0 of layer 'relu1', in 31 bytes",
        ),
        (message(100, message(7, message(5, b"12345"))), "5 bytes for numbers of 4"),
        (2 * message(100, message(1, b"a") + message(7, BLOB)), "two layers are called 'a'"),
        (varint(100 << 3) + varint(7), "field 100 is a number"),
    ],
)
def test_what_is_no_caffemodel_is_told(tmp_path, content, message_of_error):
    path = written(tmp_path / "net.caffemodel", content)
    with pytest.raises(ValueError, match=message_of_error):
        read_caffemodel(path)


@given(st.binary(max_size=80))
def test_any_bytes_are_fields_or_an_error(content):
    try:
        fields = list(wire.message_fields(memoryview(content)))
    except ValueError:
        return
    assert all(field.number > 0 for field in fields)
    assert sum(isinstance(f.value, int) or len(f.value) <= len(content) for f in fields) == len(
        fields
    )


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_varints_are_read_back(numbers):
    assert wire.varints(memoryview(b"".join(map(varint, numbers)))) == numbers


def test_runs_of_fixed_numbers_keep_their_order_and_their_neighbours():
    one, two = varint(5 << 3 | 5), varint(6 << 3 | 5)
    content = (
        one + b"aaaa" + one + b"bbbb" + two + b"cccc" + one + b"dddd" + varint(1 << 3) + b"\x05"
    )
    fields = [
        (f.number, f.value if isinstance(f.value, int) else bytes(f.value))
        for f in wire.message_fields(memoryview(content))
    ]
    assert fields == [(5, b"aaaabbbb"), (6, b"cccc"), (5, b"dddd"), (1, 5)]
