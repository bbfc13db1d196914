import os

import pytest

from keras_sphereface.data.conversion.prepare import content_of
from keras_sphereface.data.readers import read_class_folders
from keras_sphereface.data.types import ImageRecord, SkippedImage


def test_files_that_are_no_images_are_skipped_and_named(tmp_path):
    for path in ("b/2.jpg", "b/1.PNG", "a b/ä.webp", "a b/Thumbs.db", "b/.DS_Store", "b/.x.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    for folder in (".c", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stray.jpg").touch()
    entries = list(read_class_folders(tmp_path))
    keys = {entry.key for entry in entries if isinstance(entry, ImageRecord)}
    assert keys == {"a b/ä.webp", "b/1.PNG", "b/2.jpg"}
    skipped = {entry.key: entry.reason for entry in entries if isinstance(entry, SkippedImage)}
    assert skipped == {
        "a b/Thumbs.db": "the name has no image suffix",
        "b/.DS_Store": "the name has no image suffix",
        "b/.x.jpg": "the name has no image suffix",
        "empty/": "the folder holds no image",
        "stray.jpg": "the name has no image suffix, or it is in no class folder",
    }


def test_names_that_are_not_utf8_are_skipped(tmp_path):
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path / "a") + b"/\xff\xfe.jpg", "wb"):
        pass
    entry = next(iter(read_class_folders(tmp_path)))
    assert entry == SkippedImage("a/??.jpg", "the name is not valid UTF-8")


@pytest.mark.parametrize("name", ["folder", "a/image.jpg"])
def test_a_link_out_of_the_source_is_refused_and_one_inside_is_followed(tmp_path, name):
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "secret").mkdir(parents=True)
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(b"image")
    (root / "a" / "2.jpg").symlink_to("1.jpg")
    (root / "b").symlink_to("a")
    images = [entry for entry in read_class_folders(root) if isinstance(entry, ImageRecord)]
    assert [content_of(image) for image in images] == [b"image"] * 4
    (root / name).symlink_to(outside / "secret")
    with pytest.raises(ValueError, match=r"must not lead out of it.*Received: .*secret"):
        list(read_class_folders(root))


def test_links_out_of_the_source_are_followed_on_request_and_never_in_circles(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside / "bob", root / "ada"):
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(b"image")
    (root / "bob").symlink_to(outside / "bob")
    (root / "ada" / "2.jpg").symlink_to(outside / "bob" / "1.jpg")
    (root / "circle").symlink_to(root)
    (root / "ada" / "circle").symlink_to(root)
    (root / "broken").symlink_to(tmp_path / "absent")
    entries = list(read_class_folders(root, follow_links=True))
    keys = sorted(entry.key for entry in entries if isinstance(entry, ImageRecord))
    assert keys == ["ada/1.jpg", "ada/2.jpg", "bob/1.jpg"]
    assert all(content_of(e) == b"image" for e in entries if isinstance(e, ImageRecord))


def test_an_identity_that_lies_deeper_is_skipped_with_that_reason(tmp_path):
    for path in ("a/1.jpg", "b/profile/1.jpg", "b/front/1.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    skipped = {e.key: e.reason for e in read_class_folders(tmp_path) if isinstance(e, SkippedImage)}
    assert "one level deeper" in skipped["b/"]
