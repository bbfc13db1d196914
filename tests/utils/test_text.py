import pytest

from keras_sphereface.utils.text import numbered_lines


def test_lines_are_stripped_and_numbered_and_blank_ones_left_out(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeff first \n\n \t\nsecond é".encode())
    assert list(numbered_lines(file)) == [(1, "first"), (4, "second é")]


def test_a_binary_file_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"first\n\xff\n")
    with pytest.raises(ValueError, match=r"list.txt is not UTF-8 text. Received: "):
        list(numbered_lines(tmp_path / "list.txt"))
