"""Archives are never unpacked, and what would do harm is refused."""

import io
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.readers import archives
from keras_sphereface.data.types import ImageRecord, SkippedImage

IMAGE = b"\xff\xd8\xff an image by its first bytes"
CLIMBING = ["../a/1.jpg", "a/../../b/1.jpg", "/etc/a/1.jpg", "..\\a\\1.jpg", "C:\\a\\1.jpg"]


def zip_of(entries, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def tar_of(entries, mode="w"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    file.seek(0)
    return file


def read_zip(file):
    return list(archives.read_zip(file, "faces.zip"))


def read_tar(file):
    return list(archives.read_tar(file, "faces.tar"))


def noise(seed):
    return IMAGE + np.random.default_rng(seed).bytes(3000)


def content_in(file, image):
    if isinstance(image.content, bytes):
        return image.content
    return image.content.read(file)


@pytest.mark.parametrize(("make", "read"), [(zip_of, read_zip), (tar_of, read_tar)])
def test_images_are_read_and_other_entries_are_named(make, read):
    file = make(
        {
            "top/Ada/1.jpg": IMAGE,
            "./Zoë/2 3.PNG": IMAGE,
            "Ada/Thumbs.db": b"",
            "__MACOSX/Ada/._1.jpg": b"",
            "alone.jpg": IMAGE,
            "Ada/empty.jpg": b"",
            "Ada/text.jpg": b"no image",
        }
    )
    entries = read(file)
    images = {entry.key: entry for entry in entries if isinstance(entry, ImageRecord)}
    assert [(key, image.identity) for key, image in images.items()] == [
        ("Ada/1.jpg", "Ada"),
        ("Zoë/2 3.PNG", "Zoë"),
        ("Ada/empty.jpg", "Ada"),
        *([("Ada/text.jpg", "Ada")] if make is tar_of else []),
    ]
    assert content_in(file, images["Zoë/2 3.PNG"]) == IMAGE
    reasons = {entry.key: entry.reason for entry in entries if isinstance(entry, SkippedImage)}
    assert reasons["Ada/Thumbs.db"] == "the name has no image suffix"
    assert reasons["alone.jpg"] == "the image is in no class folder"


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize(("make", "read"), [(zip_of, read_zip), (tar_of, read_tar)])
def test_an_entry_that_climbs_out_is_refused(make, read, name):
    with pytest.raises(ValueError, match=r"path leads out of it\. Received: "):
        read(make({"a/1.jpg": IMAGE, name: IMAGE}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_named_inside_and_refused_outside(kind):
    inside = "1.jpg" if kind == tarfile.SYMTYPE else "a/1.jpg"
    entries = read_tar(tar_of({"a/1.jpg": IMAGE, "a/2.jpg": (kind, inside)}))
    assert entries[1] == SkippedImage("a/2.jpg", "a link")
    with pytest.raises(ValueError, match=r"path leads out of it\. Received: .*passwd"):
        read_tar(tar_of({"a/2.jpg": (kind, "../../etc/passwd")}))


def test_a_link_in_a_zip_is_named():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("a/1.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert read_zip(file) == [SkippedImage("a/1.jpg", "a link")]


@pytest.mark.parametrize(
    ("make", "read"),
    [(zip_of, read_zip), (tar_of, read_tar), (lambda e: tar_of(e, "w:gz"), read_tar)],
)
def test_bombs_are_named_and_not_read(make, read, monkeypatch):
    monkeypatch.setattr(archives, "MAX_IMAGE_BYTES", 1000)
    entries = read(make({"a/1.jpg": bytes(2000), "a/2.jpg": IMAGE}))
    assert entries[0] == SkippedImage("a/1.jpg", "the image has more than 64 MiB")
    assert isinstance(entries[1], ImageRecord)


def test_a_zip_entry_larger_than_its_header_states_is_damaged():
    content = zip_of({"a/1.jpg": IMAGE + bytes(100_000)}).getvalue()
    size, stated = (100_000 + len(IMAGE)).to_bytes(4, "little"), (50).to_bytes(4, "little")
    assert read_zip(io.BytesIO(content.replace(size, stated))) == [
        SkippedImage("a/1.jpg", "the archive is damaged here")
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_name_that_fills_the_memory_is_refused(mode):
    with pytest.raises(ValueError, match="names take more than"):
        read_tar(tar_of({"a/1.jpg": IMAGE, "b/" + "x" * 100_000 + ".jpg": IMAGE}, mode))
    long = "b/" + "ä" * 300 + ".jpg"
    assert [entry.key for entry in read_tar(tar_of({long: IMAGE}, mode))] == [long]


def test_files_that_are_no_images_do_not_fill_the_disk():
    entries = read_tar(tar_of({"a/1.jpg": bytes(1000)}, "w:gz"))
    assert entries == [SkippedImage("a/1.jpg", "the first bytes are not those of an image")]


def test_an_encrypted_zip_is_refused():
    content = bytearray(zip_of({"a/1.jpg": IMAGE}).getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ValueError, match="is encrypted"):
        read_zip(io.BytesIO(bytes(content)))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_cut_short_keeps_what_came_before(mode):
    images = {f"a/{i}.jpg": noise(i) for i in range(20)}
    content = tar_of(images, mode).getvalue()
    entries = read_tar(io.BytesIO(content[: len(content) // 2]))
    images_read = [entry for entry in entries if isinstance(entry, ImageRecord)]
    assert 5 < len(images_read) < 15
    assert isinstance(entries[-1], SkippedImage)


def test_a_tar_that_is_damaged_between_two_entries_is_named():
    content = tar_of({f"a/{i}.jpg": IMAGE for i in range(6)}).getvalue()
    third = 2 * 1024  # each entry has a block of header and one of content
    damaged = content[:third] + b"?" + content[third + 1 :]
    for broken in (damaged, content[:third]):
        entries = read_tar(io.BytesIO(broken))
        assert [entry.key for entry in entries[:2]] == ["a/0.jpg", "a/1.jpg"]
        assert entries[2:] == [SkippedImage("faces.tar", "the archive is damaged from here on")]


@pytest.mark.slow
@given(st.data())
def test_damage_gives_images_skipped_or_a_value_error(data):
    make, read = data.draw(
        st.sampled_from(
            [
                (zip_of, read_zip),
                (lambda entries: zip_of(entries, zipfile.ZIP_LZMA), read_zip),
                (lambda entries: zip_of(entries, zipfile.ZIP_BZIP2), read_zip),
                (tar_of, read_tar),
                *[(partial(tar_of, mode=mode), read_tar) for mode in ("w:gz", "w:bz2", "w:xz")],
            ]
        )
    )
    content = bytearray(make({f"p/{i}.jpg": IMAGE * 20 for i in range(3)}).getvalue())
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        entries = read(io.BytesIO(bytes(content)))
    except ValueError:
        return
    assert all(isinstance(entry, ImageRecord | SkippedImage) for entry in entries)
