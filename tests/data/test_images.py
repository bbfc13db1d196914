import io
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sphereface.data import images, preprocessing


def encoded(mode="RGB", format_="PNG", size=(6, 4), exif=None, **options):
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    ).convert(mode)
    buffer = io.BytesIO()
    if exif:
        options["exif"] = exif
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "BMP", "WEBP", "PPM"])
def test_every_format_decodes_to_rgb(format_):
    assert images.decode(encoded(format_=format_)).shape == (4, 6, 3)


def test_gray_becomes_three_equal_channels():
    image = images.decode(encoded("L"))
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_transparency_lies_on_black():
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (200, 100, 50, 0)).save(buffer, "PNG")
    assert not images.decode(buffer.getvalue()).any()


def test_exif_rotation_is_undone():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated a quarter to the right
    rotated, plain = encoded(format_="PNG", exif=exif), encoded(format_="PNG")
    np.testing.assert_array_equal(images.decode(rotated), np.rot90(images.decode(plain), -1))
    assert images.fit(rotated, (6, 4)) != rotated


@pytest.mark.parametrize(
    "damaged", [b"", b"no image", encoded()[:40], encoded(format_="JPEG")[:200]]
)
def test_damaged_bytes_are_refused(damaged):
    with pytest.raises(images.UnreadableImageError):
        images.decode(damaged)


def huge_png(side):
    """A few bytes whose header claims an image of side x side pixels."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    other_chunks = chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + other_chunks


@pytest.mark.parametrize("side", [8_100, 11_000, 50_000])
def test_images_of_too_many_pixels_are_refused_unread(side):
    for read in (images.decode, lambda encoded: images.fit(encoded, (side, side))):
        with pytest.raises(images.UnreadableImageError, match="pixels"):
            read(huge_png(side))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP"])
def test_an_image_that_is_cut_does_not_pass_through(format_):
    whole = encoded(format_=format_, size=(60, 40))
    assert images.fit(whole, (40, 60)) == whole
    for end in (len(whole) // 2, len(whole) * 9 // 10):
        with pytest.raises(images.UnreadableImageError):
            images.fit(whole[:end], (40, 60))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP", "WEBP", "PPM"])
def test_images_are_recognized_by_their_first_bytes(format_):
    assert images.looks_like_image(encoded(format_=format_))
    assert not images.looks_like_image(b"RIFFxxxxWAVE")
    assert not images.looks_like_image(bytes(100))


def test_only_right_size_and_format_pass_through():
    assert images.fit(encoded(), (4, 6)) == encoded()
    others = [encoded(size=(4, 6)), encoded(format_="WEBP"), encoded("RGBA")]
    others.append(encoded(transparency=(1, 2, 3)))
    for other in others:
        fitted = images.fit(other, (4, 6))
        assert fitted != other
        assert preprocessing.decode_record_image(fitted, (4, 6)).shape == (4, 6, 3)


def test_no_format_is_tried_that_may_start_programs(tmp_path, monkeypatch):
    # Pillow reads EPS with Ghostscript; here a program of that name leaves a trace.
    trace = tmp_path / "trace"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {trace}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 112\n%%EndComments\n"
    with pytest.raises(images.UnreadableImageError):
        images.decode(eps)
    assert not trace.exists()


def portable_graymap(gray):
    """A 16-bit image as PGM, which the oldest Pillow cannot write."""
    height, width = gray.shape
    return b"P5 %d %d 65535\n" % (width, height) + gray.astype(">u2").tobytes()


def png(gray):
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("encode", [png, portable_graymap])
def test_sixteen_bits_of_gray_keep_their_brightness(encode):
    gray = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    np.testing.assert_allclose(images.decode(encode(gray))[..., 1], gray / 257, atol=0.51)


def test_tensorflow_and_pillow_read_the_same_pixels():
    data = encoded()
    np.testing.assert_array_equal(
        preprocessing.decode_record_image(data, (4, 6)), images.decode(data)
    )


def test_crop_keeps_the_center_and_the_proportions():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    np.testing.assert_array_equal(images.crop_to(image, (50, 50))[:, 1:-1], 255)


def test_normalize_is_the_scaling_of_the_paper_also_inside_a_dataset():
    pixels = np.array([0, 127, 255], np.uint8)
    expected = (pixels.astype(np.float64) - 127.5) / 128
    np.testing.assert_allclose(preprocessing.normalize(pixels), expected)
    dataset = tf.data.Dataset.from_tensors(pixels).map(preprocessing.normalize)
    np.testing.assert_allclose(next(dataset.as_numpy_iterator()), expected)


def test_mirror_swaps_left_and_right():
    image = np.arange(24).reshape(1, 2, 4, 3)
    np.testing.assert_array_equal(preprocessing.mirror(image), image[:, :, ::-1])
