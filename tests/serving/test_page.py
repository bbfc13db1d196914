"""The page in a real browser: two faces compared, one enrolled, found and removed."""

import io

import numpy as np
import pytest

pytest.importorskip("fastapi")

from PIL import Image

from keras_sphereface.recognition.gallery_file import GalleryFile
from tests.helpers.browser import opened
from tests.helpers.service import corner, recognizer, serving
from tests.recognition.test_face_recognizer import RECOGNITION, faces_at

pytestmark = pytest.mark.full
KEY = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images of 200 x 160: a and again are equal, b is like them, other is not."""
    folder = tmp_path_factory.mktemp("images")
    for name, seed in {"a": 1, "again": 1, "b": 2, "other": 5}.items():
        # Large blocks: the network looks at a corner of the aligned face.
        blocks = np.random.default_rng(seed).integers(0, 256, (20, 16, 3), np.uint8)
        image = Image.fromarray(blocks).resize((160, 200))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
    return folder


@pytest.fixture
def client(tmp_path):
    of = recognizer(faces_at((30, 40, 1.0)), corner, RECOGNITION)
    with serving(of, str(tmp_path / "people.db"), detect=True) as client:
        yield client


def choose(page, selector, *paths):
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])


def click(page, selector):
    page.evaluate(f"document.querySelector({selector!r}).click()")


def text_of(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def ready(page):
    page.wait_for("!document.getElementById('tool').hidden")


def wait_for_answer(page, panel):
    place = f"document.getElementById('panel-{panel}')"
    page.wait_for(
        f"!!{place}.querySelector('.verdict') || !!{place}.querySelector('.problem').textContent"
    )


def compared(page, first, second):
    choose(page, "[data-picker=first] input", first)
    choose(page, "[data-picker=second] input", second)
    click(page, "#compare")
    wait_for_answer(page, "compare")


@pytest.mark.parametrize("width", [390, 1280])
def test_two_faces_are_compared(client, files, width):
    with opened(f"http://127.0.0.1:{client.port}/", width) as page:
        ready(page)
        assert page.evaluate("document.getElementById('compare').disabled")
        compared(page, files / "a.png", files / "again.png")
        assert text_of(page, ".verdict strong") == "One person"
        assert "The score 1.000 reaches the threshold 0.500" in text_of(page, ".verdict p")
        assert page.evaluate("document.querySelectorAll('.crops img').length") == 2
        assert page.evaluate("document.querySelector('.crops img').naturalWidth") == 96
        # The box lies over the image in its own pixels.
        box = page.evaluate(
            "(() => { const r = document.querySelector('.view rect').getBoundingClientRect(),"
            " i = document.querySelector('.view img').getBoundingClientRect();"
            " return [(r.left - i.left) / i.width, (r.top - i.top) / i.height]; })()"
        )
        np.testing.assert_allclose(box, [30 / 160, 40 / 200], atol=0.02)
        label = page.evaluate("document.querySelector('.curve').getAttribute('aria-label')")
        assert "more than 99.9 %" in label
        compared(page, files / "a.png", files / "other.png")
        assert text_of(page, ".verdict strong") == "Two persons"
        scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert page.evaluate(scrolls) is False
        assert page.complaints == []
        assert all(
            url.startswith((f"http://127.0.0.1:{client.port}/", "blob:", "data:"))
            for url in page.requests
        )


def test_a_name_is_enrolled_found_and_removed(client, files):
    name = "<img src=x onerror=alert(1)>"
    with opened(f"http://127.0.0.1:{client.port}/", 390) as page:
        ready(page)
        click(page, "#tab-enroll")
        page.wait_for("document.getElementById('count').textContent === '0 identities'")
        choose(page, "#panel-enroll input[multiple]", files / "a.png", files / "b.png")
        page.evaluate(
            f"(() => {{ const name = document.getElementById('name'); name.value = {name!r};"
            " name.dispatchEvent(new Event('input')); })()"
        )
        click(page, "#enroll")
        wait_for_answer(page, "enroll")
        assert text_of(page, "#panel-enroll .verdict strong") == name
        assert text_of(page, "#identities li span") == f"{name}2 images"
        click(page, "#tab-identify")
        choose(page, "#panel-identify input", files / "again.png")
        click(page, "#identify")
        wait_for_answer(page, "identify")
        assert text_of(page, "#panel-identify .verdict strong") == name
        assert text_of(page, ".candidates b") == name
        click(page, "#tab-enroll")
        page.evaluate("window.confirm = () => true")
        click(page, "#identities button")
        page.wait_for("document.getElementById('count').textContent === '0 identities'")
        assert client.ask("GET", "/v1/identities").json["total"] == 0
        assert page.complaints == []


def test_bytes_that_stay_after_a_removal_are_told(client, files, monkeypatch):
    parts = [("name", "ada"), ("images", (files / "a.png").read_bytes())]
    assert client.post("/v1/identities", *parts, ("strict", "false")).status == 201
    monkeypatch.setattr(GalleryFile, "erase_removed", lambda _: False)
    with opened(f"http://127.0.0.1:{client.port}/", 390) as page:
        ready(page)
        click(page, "#tab-enroll")
        page.wait_for("document.getElementById('count').textContent === '1 identity'")
        page.evaluate("window.confirm = () => true")
        click(page, "#identities button")
        page.wait_for("!!document.querySelector('#panel-enroll .problem').textContent")
        assert "ada is found no more, but" in text_of(page, "#panel-enroll .problem")
        assert text_of(page, "#count") == "0 identities"


def test_what_is_refused_is_said_and_tabs_follow_the_keys(client, files, tmp_path):
    (tmp_path / "broken.png").write_bytes((files / "a.png").read_bytes()[:200])
    with opened(f"http://127.0.0.1:{client.port}/", 390) as page:
        ready(page)
        compared(page, files / "a.png", tmp_path / "broken.png")
        assert "`second` cannot be decoded" in text_of(page, "#panel-compare .problem")
        page.evaluate("document.getElementById('tab-compare').focus()")
        page.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-identify"
        assert page.evaluate("document.getElementById('panel-compare').hidden")
        unnamed = (
            "[...document.querySelectorAll('button, input, select')].filter(e =>"
            " !e.textContent.trim() && !e.labels?.length && !e.getAttribute('aria-label')).length"
        )
        assert page.evaluate(unnamed) == 0


def test_a_key_is_asked_once(files):
    with (
        serving(recognizer(recognition=RECOGNITION), key=KEY) as client,
        opened(f"http://127.0.0.1:{client.port}/", 390) as page,
    ):
        page.wait_for("!document.getElementById('key-form').hidden")
        for key, condition in (
            ("wrong", "!!document.getElementById('key-problem').textContent"),
            (KEY, "!document.getElementById('tool').hidden"),
        ):
            page.evaluate(f"document.getElementById('key').value = {key!r}")
            click(page, "#key-form button")
            page.wait_for(condition)
        assert page.evaluate("document.getElementById('tab-identify').hidden")
        assert page.evaluate("document.getElementById('key-form').hidden")


def test_the_interface_is_described(client):
    with opened(f"http://127.0.0.1:{client.port}/docs", 390) as page:
        assert "POST /v1/compare" in text_of(page, "main")
        scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert page.evaluate(scrolls) is False
        assert page.complaints == []
