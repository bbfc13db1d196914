import pytest

from keras_sphereface.data.conversion.prepare import content_of
from keras_sphereface.data.readers import open_source, read_list_file
from keras_sphereface.data.types import SkippedImage


def test_paths_may_hold_spaces_and_are_checked(tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("a b/1 2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    file = tmp_path / "list.txt"
    absolute = tmp_path / "3.jpg"
    file.write_text(f"\ufeffa b/1 2.jpg 7\n\na b/1 2.jpg\tAda L\n{absolute} 7\nno.jpg 7\n")
    entries = list(read_list_file(file))
    assert [entry.identity for entry in entries[:3]] == ["7", "Ada L", "7"]
    assert [content_of(entry) for entry in entries[:3]] == [b"a b/1 2.jpg"] * 2 + [b"3.jpg"]
    assert entries[3] == SkippedImage("no.jpg", "the file does not exist")
    for line in ("lonely.jpg", "../up.jpg 3", "x/../../up.jpg\t3"):
        file.write_text(f"3.jpg 7\n{line}\n")
        with pytest.raises(ValueError, match=r"line 2: .*Received: "):
            list(read_list_file(file))
    file.write_bytes(b"3.jpg 7\n\xff\xfe\xfd 7\n")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        list(read_list_file(file))


def test_a_linked_list_names_images_beside_the_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "list.txt").write_text("1.jpg Ada\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "1.jpg").write_bytes(b"image")
    (tmp_path / "source" / "list.txt").symlink_to(tmp_path / "elsewhere" / "list.txt")
    (entry,) = open_source(tmp_path / "source" / "list.txt").images()
    assert content_of(entry) == b"image"
