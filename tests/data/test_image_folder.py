import unicodedata

import pytest

from keras_sphereface.data.folders import check_holds_some
from keras_sphereface.data.image_folder import ImageFolder
from keras_sphereface.data.readers import read_list_file
from keras_sphereface.data.types import ByteRange, ImageRecord


def make(root, *keys):
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(key.encode())
    return ImageFolder(root)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".bmp", ".webp", ".jfif", ".jpg"])
@pytest.mark.parametrize("listed", ["Ada/Ada_0001.jpg", "Ada/Ada_0001"])
def test_an_image_serves_whatever_its_suffix(suffix, listed, tmp_path):
    folder = make(tmp_path, f"Ada/Ada_0001{suffix}", "Ada/Ada_0001.txt", "Ada/Ada_00011.png")
    assert folder.path_of(listed) == tmp_path / f"Ada/Ada_0001{suffix}"
    assert folder.path_of("Ada/Ada_0002.jpg") is None
    assert folder.path_of("Bob/Ada_0001.jpg") is None
    check_holds_some(tmp_path, [listed], "pairs.txt")


def test_the_image_that_is_named_comes_first(tmp_path, capsys):
    folder = make(tmp_path, "1.bmp", "1.jpg", "1.png")
    assert folder.path_of("1.jpg") == tmp_path / "1.jpg"
    assert capsys.readouterr().err == ""
    assert folder.path_of("1.webp") == folder.path_of("1.webp") == tmp_path / "1.bmp"
    assert capsys.readouterr().err.count("any of 1.bmp, 1.jpg, 1.png; 1.bmp is taken") == 1


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_any_unicode_form(form, tmp_path):
    other = "NFD" if form == "NFC" else "NFC"
    name = unicodedata.normalize(form, "Zoë/Zoë_0001.png")
    folder = make(tmp_path, name)
    assert folder.path_of(unicodedata.normalize(other, "Zoë/Zoë_0001.jpg")) == tmp_path / name


def test_a_list_names_images_without_their_suffix(tmp_path):
    make(tmp_path, "Ada/1.png")
    (tmp_path / "list.txt").write_text("Ada/1\tAda\n")
    place = ByteRange(str(tmp_path / "Ada/1.png"), 0, 9)
    assert list(read_list_file(tmp_path / "list.txt")) == [ImageRecord("Ada/1", "Ada", place)]
