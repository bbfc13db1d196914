import pytest

from keras_sphereface.utils.atomic import atomic_directory


def write(folder, text):
    with atomic_directory(folder) as partial:
        (partial / "file.txt").write_text(text)
        assert text != "bad"


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    for text in ("first", "second"):
        write(tmp_path / "deep" / "out", text)
        assert (tmp_path / "deep" / "out" / "file.txt").read_text() == text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_block_that_fails_leaves_the_old_folder(tmp_path):
    write(tmp_path / "out", "first")
    with pytest.raises(AssertionError):
        write(tmp_path / "out", "bad")
    assert (tmp_path / "out" / "file.txt").read_text() == "first"
    write(tmp_path / "out", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
