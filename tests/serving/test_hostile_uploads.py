"""What an enemy may send: each is refused in the form of all errors, and the service lives on."""

import io
import socket
import struct
import time
import zipfile
import zlib

import pytest

pytest.importorskip("fastapi")

from PIL import Image

from keras_sphereface.recognition import Gallery
from tests.helpers.service import SIZE, Client, form, image, recognizer, serving

GOOD = image(1, "JPEG")
LIMITS = {"max_body_bytes": 400_000, "max_pixels": 100_000, "max_images": 3, "read_seconds": 0.4}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def client(place):
    with serving(recognizer(), str(place / "people.db"), **LIMITS) as client:
        yield client


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, *chunks, rows=b"\0"):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + end


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../etc/passwd", "x")
    return buffer.getvalue()


ZEROS = b"\0" * 5_000_000
TEXT_BOMB = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(ZEROS, 9))
PROFILE_BOMB = chunk(b"iCCP", b"icc\0\0" + zlib.compress(ZEROS, 9))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
GIF = saved(Image.new("P", SIZE), "GIF", save_all=True, append_images=[Image.new("P", SIZE)] * 50)
SIDEWAYS = saved(Image.new("RGB", (500, 180)), "JPEG")
HUGE_WEBP = (
    b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8X"
    + struct.pack("<I", 10)
    + (b"\0\0\0\0" + b"\xff\xff\xff" * 2)
)
TOO_MANY_OR_DAMAGED = (413, 422)  # by the version of Pillow
FILES = {
    "zero bytes": (b"", 415),
    "text": (b"not an image", 415),
    "svg with a file": (SVG, 415),
    "html": (b"<html><script>alert(1)</script>", 415),
    "gif of 51 frames": (GIF, 415),
    "tiff": (saved(Image.new("RGB", SIZE), "TIFF"), 415),
    "plain ppm, slow to read": (b"P3 300 300 255 " + b"1 " * 9, 415),
    "compressed bmp": (b"BM" + b"\0" * 60, 415),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415),
    "pickle": (b"\x80\x04cos\nsystem\n.", 415),
    "zip": (zipped(), 415),
    "magic and no more": (b"\xff\xd8\xff", 422),
    "jpeg cut in the middle": (GOOD[: len(GOOD) // 2], 422),
    "png cut in the middle": (image(1)[:20_000], 422),
    "png without pixels": (png(96, 112), 422),
    "png of 0 pixels": (png(0, 0), 422),
    "png of a wrong checksum": (image(1).replace(b"IDAT", b"IDAX"), 422),
    "png of 120,000 pixels where 100,000 are allowed": (png(400, 300), 413),
    "png that states 2 gigapixels": (png(46_000, 46_000), 413),
    "png one pixel high": (png(2**31 - 1, 1), 413),
    "jpeg of many pixels": (SIDEWAYS.replace(struct.pack(">HH", 180, 500), b"\xff\xff" * 2), 413),
    "webp head that states 16,777,216 a side": (HUGE_WEBP, TOO_MANY_OR_DAMAGED),
    "png with a text of 5 MB in 5 kB": (png(96, 112, TEXT_BOMB), 422),
    "png with a profile of 5 MB in 5 kB": (png(96, 112, PROFILE_BOMB), 422),
    "more bytes than allowed": (GOOD + b"\0" * LIMITS["max_body_bytes"], 413),
}


def refused(answer, *statuses):
    assert answer.status in statuses, (answer.status, answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] not in ("", "fault")
    return answer.json


@pytest.fixture(autouse=True)
def _the_service_lives_on(client):
    yield
    assert client.post("/v1/compare", ("first", GOOD), ("second", GOOD)).status == 200


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(client, name):
    content, statuses = FILES[name]
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    for pair in ((content, GOOD), (GOOD, content)):
        began = time.monotonic()
        refused(client.post("/v1/compare", *zip(("first", "second"), pair, strict=True)), *statuses)
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("behind", [zipped(), SVG, b"<?php"], ids=["zip", "svg", "php"])
def test_a_file_that_is_two_things_is_an_image_and_nothing_else(client, behind):
    answer = client.post("/v1/compare", ("first", GOOD + behind), ("second", GOOD))
    assert answer.json["score"] == pytest.approx(1)


def test_exif_turns_the_image_and_nothing_of_it_is_repeated(client):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 8, "<script>" * 1000
    turned = saved(Image.new("RGB", (100, 200)), "JPEG", exif=exif)
    answer = client.post("/v1/compare", ("first", turned), ("second", GOOD))
    assert b"script" not in answer.body


@pytest.mark.parametrize(
    "filename", ["../../../etc/passwd", "/etc/cron.d/x", "a\\..\\b", "x" * 900]
)
def test_the_name_of_a_file_leads_nowhere(client, place, filename):
    before = sorted(place.rglob("*"))
    content_type, body = form(("first", GOOD), ("second", GOOD), filename=filename)
    answer = client.ask("POST", "/v1/compare", body, Content_Type=content_type)
    assert answer.status == 200
    assert sorted(place.rglob("*")) == before


def test_a_type_in_the_form_is_not_believed(client):
    content_type, body = form(("first", b"#!/bin/sh"), ("second", GOOD))
    body = body.replace(b'"\r\n\r\n', b'"\r\nContent-Type: image/png\r\n\r\n')
    refused(client.ask("POST", "/v1/compare", body, Content_Type=content_type), 415)


def forms():
    content_type, body = form(("first", GOOD), ("second", GOOD))
    boundary = content_type.split("=")[1].encode()
    head = b"--%b\r\nContent-Disposition: form-data" % boundary
    yield "no boundary", "multipart/form-data", body, (400,)
    yield "a boundary of 4,000 bytes", "multipart/form-data; boundary=" + "b" * 4000, body, (400,)
    yield "another boundary", "multipart/form-data; boundary=x", body, (400,)
    yield "cut off", content_type, body[:-100], (400,)
    yield "json", "application/json", b'{"first": 1}', (415,)
    yield "urlencoded", "application/x-www-form-urlencoded", b"first=1", (415,)
    yield "nothing", content_type, b"", (400,)
    yield "a part without a name", content_type, head + b"\r\n\r\nx\r\n--%b--" % boundary, (400,)
    many = [(f"f{i}", b"") for i in range(500)]
    yield "500 files", *form(*many), (413,)
    yield "500 fields", *form(*((f"f{i}", "") for i in range(500))), (413,)
    yield "a field of 300 kB", *form(("policy", "x" * 300_000)), (413,)
    inner = form(("first", GOOD))[1]
    yield "forms in forms", *form(("first", inner), ("second", inner)), (415,)
    long_head = head + b'; name="first"; x="' + b"x" * 100_000 + b'"\r\n\r\nx\r\n--%b--' % boundary
    yield "a header of 100 kB", content_type, long_head, (400,)
    thousand = head + b'; name="first"' + b"\r\nX: y" * 9000 + b"\r\n\r\nx\r\n--%b--" % boundary
    yield "9,000 headers", content_type, thousand, (400,)
    yield "unknown fields", *form(("__proto__", "x"), ("first", GOOD), ("second", GOOD)), (422,)
    yield "a field twice", *form(("policy", "largest"), ("policy", "center")), (400,)
    yield (
        "not utf-8",
        *(lambda kind, data: (kind, data.replace(b"@", b"\xff")))(*form(("policy", "@"))),
        (400,),
    )


FORMS = list(forms())


# By their names: the boundaries are drawn anew in every process.
@pytest.mark.parametrize("number", range(len(FORMS)), ids=[one[0] for one in FORMS])
def test_a_hostile_form_is_refused(client, number):
    _, content_type, body, statuses = FORMS[number]
    refused(client.ask("POST", "/v1/compare", body, Content_Type=content_type), *statuses)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a\nb", "a\0b", "\x1b[2J", "\u202eada", "x" * 201, " ada", "ada\u200b", "\ud800"],
)
def test_a_name_that_is_none_is_refused_and_not_repeated(client, name):
    value = name.encode("utf-8", "surrogatepass").decode("latin-1")
    content_type, body = form(("name", "@@"), ("images", GOOD))
    body = body.replace(b"@@", value.encode("latin-1"))
    answer = client.ask("POST", "/v1/identities", body, Content_Type=content_type)
    values = refused(answer, 400, 422)
    assert not name.strip() or name not in values["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "'; DROP TABLE identities; --",
        '" OR 1=1',
        "%s%n",
        "<script>alert(1)</script>",
        "../../x",
        "名",
    ],
)
def test_a_name_of_any_language_is_a_name_and_nothing_else(client, place, name):
    files = sorted(place.rglob("*"))
    assert client.post("/v1/identities", ("name", name), ("images", GOOD)).status == 201
    found = client.post("/v1/identify", ("image", GOOD)).json
    assert name in [one["name"] for one in found["candidates"]]
    with Gallery.open(place / "people.db") as gallery:
        assert name in gallery
        gallery.remove(name)
    assert {path.suffix for path in place.rglob("*")} <= {".db", ".db-wal", ".db-shm"}
    assert len(files) <= 3


def test_more_images_than_allowed_are_refused(client):
    parts = [("images", image(seed, "JPEG")) for seed in range(4)]
    values = refused(client.post("/v1/identities", ("name", "ada"), *parts), 422)
    assert values["field"] == "images"
    assert client.ask("GET", "/v1/identities").json["total"] == 0


def raw(client: Client, *blocks: bytes, pause: float = 0.0) -> bytes:
    """What comes back from a connection to which blocks are sent, until it is closed."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        try:
            for block in blocks:
                connection.sendall(block)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while block := connection.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
        return answer


HEAD = b"POST /v1/compare HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
MULTIPART = HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n"


def test_a_body_without_an_end_is_cut_by_its_size(client):
    chunked = MULTIPART + b"Transfer-Encoding: chunked\r\n\r\n"
    block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b" 413 " in raw(client, chunked, *[block] * 12)[:20]
    assert b" 413 " in raw(client, MULTIPART + b"Content-Length: 9999999999999\r\n\r\nx")[:20]


@pytest.mark.slow
def test_a_body_that_dawdles_is_cut_by_its_time(client):
    began = time.monotonic()
    answer = raw(client, MULTIPART + b"Content-Length: 1000\r\n\r\nx")
    assert b" 408 " in answer[:20]
    assert b'"code":"too-slow"' in answer
    assert time.monotonic() - began < 8


@pytest.mark.slow
def test_a_head_that_dawdles_is_cut_by_its_time(client):
    for head in (b"", b"POST /v1/compare HTTP/1.1\r\nHost: loc"):
        began = time.monotonic()
        assert raw(client, head) == b""
        assert time.monotonic() - began < 8
    # The second on one connection too.
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(client, whole, b"GET /healthz HTTP/1.1\r\nHos", pause=0.1).count(b" 200 OK") == 1


def test_a_caller_that_leaves_is_forgotten(client):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(MULTIPART + b"Content-Length: 1000\r\n\r\nx")
    time.sleep(0.1)
    text = client.ask("GET", "/metrics").body.decode()
    assert "sphereface_requests_in_service 0.0" in text


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(client, request_bytes):
    assert b" 400 " in raw(client, request_bytes)[:20]
