"""The page of spheres: its texts, its figures, and what a browser makes of it."""

import dataclasses
import html.parser
import io
import json
import math
import sys

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.experiments.feature_spheres import page as sphere_page
from keras_sphereface.experiments.feature_spheres.page import Globe
from keras_sphereface.plots.style import COLORS
from tests.helpers import browser

pytest.importorskip("plotly")

HOSTILE = '</script><b>&amp; O\'Neil "%{x}" Zoë 李'
NAMES = ["Ann", HOSTILE, "Cy"]
VIEW = (-45.0, 30.0)
EYE = 1.2 * np.array([math.sqrt(3 / 8), -math.sqrt(3 / 8), 0.5])
AXES = np.eye(3)
COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))
DEGREE = "\N{DEGREE SIGN}"


def make_globes():
    """Class weights along the axes, of any length; the first image is at the viewer's side."""
    images = [2 * EYE, [5 * COS, 0, 5 * SIN], [SIN, 0, COS], [0, 0.3, 0], [0, 0, 7]]
    labels = [0, 0, 0, 1, 2]
    kernel = AXES * [1.0, 2.0, 0.1]
    return [
        Globe(title, np.array(images), np.array(labels), kernel, f"line of {title}")
        for title in ("softmax", "m = 1", HOSTILE)
    ]


class Document(html.parser.HTMLParser):
    """The elements of a page as (tag, attributes, direct text)."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2] += data

    def texts(self, tag):
        return [text.strip() for name, _, text in self.elements if name == tag]


@pytest.fixture(scope="module")
def text():
    return sphere_page.render_globes(HOSTILE, make_globes(), NAMES, HOSTILE, VIEW)


@pytest.fixture(scope="module")
def document(text):
    return Document(text)


@pytest.fixture(scope="module")
def figures():
    return [
        sphere_page.draw_globe(globe, NAMES, dict(zip("xyz", EYE, strict=True)))
        for globe in make_globes()
    ]


def points(figure):
    return [trace for trace in figure.data if trace.type == "scatter3d" and trace.mode == "markers"]


def rays(figure):
    return [trace for trace in figure.data if trace.hoverinfo == "text" and trace.mode == "lines"]


def test_every_text_is_shown_as_it_is(document):
    assert document.texts("title") == document.texts("h1") == [HOSTILE]
    assert document.texts("p")[0] == HOSTILE
    assert document.texts("h2") == ["softmax", "m = 1", HOSTILE]
    assert document.texts("figcaption")[2] == f"line of {HOSTILE}"
    assert document.texts("th")[3:] == [HOSTILE, *NAMES]
    # The legend: a name follows its spot.
    assert [body.strip() for tag, _, body in document.elements if tag == "span"] == NAMES
    assert "b" not in [tag for tag, *_ in document.elements]


def test_the_page_policy_allows_inline_code_only(document):
    (policy,) = [attrs["content"] for _, attrs, _ in document.elements if "http-equiv" in attrs]
    assert dict(part.split(maxsplit=1) for part in policy.split("; ")) == {
        "default-src": "'none'",
        "script-src": "'unsafe-inline'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_holds_plotly_once_and_loads_nothing(document):
    scripts = [body for tag, _, body in document.elements if tag == "script"]
    assert sum(len(body) > 1_000_000 for body in scripts) == 1
    assert sum("Plotly.newPlot(" in body for body in scripts if len(body) < 1_000_000) == 3
    for _, attrs, _ in document.elements:
        assert {"src", "srcset", "action"}.isdisjoint(attrs)
        assert attrs.get("href", "data:,") == "data:,"


def test_points_are_directions_and_rays_stand_out_of_the_sphere(figures):
    for figure in figures:
        first = points(figure)[0]
        drawn = np.stack([first[axis] for axis in "xyz"], axis=1)
        expected = [EYE / np.linalg.norm(EYE), [COS, 0, SIN], [SIN, 0, COS]]
        np.testing.assert_allclose(drawn, expected, atol=1e-6)
        for axis, ray in zip(AXES, rays(figure), strict=True):
            ends = np.stack([ray[name] for name in "xyz"], axis=1)
            np.testing.assert_allclose(ends[0], axis, atol=1e-6)
            assert 1.1 < ends[1] @ axis < 1.5


def test_an_identity_has_one_color_on_all_spheres_and_in_the_legend(document, figures):
    for figure in figures:
        assert [trace.marker.color for trace in points(figure)] == list(COLORS[:3])
        assert [trace.line.color for trace in rays(figure)] == list(COLORS[:3])
    spots = [attrs["style"] for tag, attrs, _ in document.elements if tag == "span"]
    assert spots == [f"background: {color}" for color in COLORS[:3]]


def test_an_image_has_its_identity_and_angles(figures):
    to_x, to_z = (math.degrees(math.acos(EYE[i] / np.linalg.norm(EYE))) for i in (0, 2))
    assert to_x < to_z
    of_identity = "from the class weight of the identity"
    none = f"{of_identity}<br>no other class weight is nearer"
    escaped = '&lt;/script&gt;&lt;b&gt;&amp;amp; O\'Neil "%{x}" Zoë 李'
    assert [list(trace.hovertext) for trace in points(figures[0])] == [
        [
            f"<b>Ann</b><br>{to_x:.1f}{DEGREE} {none}",
            f"<b>Ann</b><br>30.0{DEGREE} {none}",
            f"<b>Ann</b><br>60.0{DEGREE} {of_identity}<br>nearer to Cy: 30.0{DEGREE}",
        ],
        [f"<b>{escaped}</b><br>0.0{DEGREE} {none}"],
        [f"<b>Cy</b><br>0.0{DEGREE} {none}"],
    ]
    assert {trace.hoverinfo for trace in points(figures[0])} == {"text"}
    assert rays(figures[0])[1].hovertext == f"class weight of {escaped}"


def test_the_table_has_the_angles_as_numbers(document):
    to_x = math.degrees(math.acos(EYE[0] / np.linalg.norm(EYE)))
    row = [f"{(to_x + 30 + 60) / 3:.1f}{DEGREE} (1 of 3)"] * 3
    exact = [f"0.0{DEGREE} (0 of 1)"] * 3
    assert document.texts("td") == row + exact + exact


def test_a_slider_goes_from_the_first_globe_to_the_last(document):
    (slider,) = [attrs for tag, attrs, _ in document.elements if tag == "input"]
    assert [slider[name] for name in ("type", "min", "max", "step")] == ["range", "0", "2", "1"]
    assert document.texts("i") == ["softmax", "m = 1", HOSTILE]
    (label,) = [attrs for tag, attrs, _ in document.elements if tag == "label"]
    assert label["for"] == slider["id"]


def test_one_globe_needs_no_slider():
    page = Document(sphere_page.render_globes("title", make_globes()[:1], NAMES))
    assert "input" not in [tag for tag, *_ in page.elements]
    assert page.texts("button") == ["Back to the first view"]


def test_an_identity_without_images_has_a_dash():
    globe = Globe("one", AXES[:1], np.array([0]), AXES)
    page = Document(sphere_page.render_globes("title", [globe], NAMES))
    assert page.texts("td") == [f"0.0{DEGREE} (0 of 1)", "\N{EN DASH}", "\N{EN DASH}"]


def test_spheres_can_be_read_without_seeing_them(document):
    globes = [attrs for _, attrs, _ in document.elements if attrs.get("class") == "globe"]
    labels = [attrs["aria-label"] for attrs in globes]
    assert {attrs["tabindex"] for attrs in globes} == {"0"}
    assert "softmax, 5 images. line of softmax Rotate" in labels[0]
    assert labels[2].startswith(f"Globe of {HOSTILE}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones((5, 2))}, r"must be \(N, 3\).*shapes \(5, 2\), \(5,\)"),
        ({"labels": np.zeros(4, int)}, r"Received: shapes \(5, 3\), \(4,\), \(3, 3\)"),
        ({"kernel": np.ones((3, 4))}, r"with C = 3 names. Received: .* \(3, 4\)"),
        ({"labels": np.array([0, 1, 2, 3, 0])}, r"from 0 to 2. Received: \[0, 1, 2, 3\]"),
        ({"labels": np.array([0, 1, -1, 0, 0])}, r"from 0 to 2. Received: \[-1, 0, 1\]"),
        ({"embeddings": np.eye(5, 3)}, r"`embeddings` of the globe 'softmax'.*\] at 3"),
        ({"embeddings": np.full((5, 3), np.inf)}, "must be finite.* at 0"),
        ({"kernel": np.diag([1.0, 1.0, 0.0])}, "`kernel` .* at 2"),
    ],
)
def test_arrays_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sphere_page.render_globes("title", [dataclasses.replace(make_globes()[0], **change)], NAMES)


def test_a_page_needs_a_globe():
    with pytest.raises(ValueError, match="at least one globe"):
        sphere_page.render_globes("title", [], NAMES)


def test_without_plotly_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[interactive\]'"):
        sphere_page.render_globes("title", make_globes(), NAMES)


# From here on in a browser.

DRAWN = """[...document.querySelectorAll(".plotly-graph-div")].every(
    globe => globe._fullLayout?.scene?._scene?.glplot && globe.querySelector("canvas"))"""
CAMERAS = """[...document.querySelectorAll(".plotly-graph-div")].map(globe => {
    const eye = globe._fullLayout.scene._scene.getCamera().eye;
    return [eye.x, eye.y, eye.z]; })"""
PLACES = """[...document.querySelectorAll(".plotly-graph-div")].map(globe => {
    const box = globe.getBoundingClientRect();
    return [box.left + scrollX, box.top + scrollY, box.width, box.height]; })"""


@pytest.fixture(scope="module", params=[375, 1280])
def shown(request, text, tmp_path_factory):
    """The page in a window so wide, and that width."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text, encoding="utf-8")
    with browser.opened(path, request.param) as page:
        page.wait_for(DRAWN)
        page.evaluate("document.getElementById('all').click()")
        yield page, request.param


def cameras(page):
    return np.array(page.evaluate(CAMERAS))


def wait_until_all_look_from(page, eye):
    for _ in range(100):
        if np.abs(cameras(page) - eye).max() < 1e-6:
            return
    np.testing.assert_allclose(cameras(page), np.tile(eye, (3, 1)), atol=1e-6)


def rotate(page, number, eye):
    """Look at one sphere from `eye`, by plotly.js itself, and wait for the others."""
    camera = json.dumps({"eye": dict(zip("xyz", eye, strict=True))})
    globe = f"document.querySelectorAll('.plotly-graph-div')[{number}]"
    page.evaluate(f"Plotly.relayout({globe}, {{'scene.camera': {camera}}}).then(() => 0)")
    wait_until_all_look_from(page, eye)


def pause(page):
    page.evaluate("new Promise(done => setTimeout(done, 300))")


def back_to_start(page):
    page.evaluate("document.getElementById('reset').click(); scrollTo(0, 0)")
    wait_until_all_look_from(page, EYE)


@pytest.mark.full
def test_a_browser_draws_every_sphere_and_the_page_never_scrolls_sideways(shown):
    page, width = shown
    rotate(page, 0, [0.85, 0.85, 0.6])  # where all class weights are in front
    assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    image = np.asarray(Image.open(io.BytesIO(page.screenshot(whole=True))).convert("RGB"))
    places = page.evaluate(PLACES)
    assert len({left for left, *_ in places}) == (1 if width < 500 else 3)
    for left, top, *size in places:
        assert size[0] == size[1] > 280
        box = np.array([top, left, top + size[1], left + size[0]]).round().astype(int)
        globe = image[box[0] : box[2], box[1] : box[3]].astype(int)
        for color in (*COLORS[:3], sphere_page.GLOBE_COLOR):
            rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
            min_pixels = globe[..., 0].size / 5 if color == sphere_page.GLOBE_COLOR else 20
            assert (np.abs(globe - rgb).max(axis=2) < 12).sum() > min_pixels, color


@pytest.mark.full
def test_rotating_one_sphere_rotates_all_and_then_rests(shown):
    page, _ = shown
    page.evaluate(
        """window.moves = 0; for (const globe of document.querySelectorAll(".plotly-graph-div"))
            globe.on("plotly_relayout", () => window.moves++);"""
    )
    eye = [0.1, 1.2, -0.5]
    rotate(page, 1, eye)
    pause(page)
    moves = page.evaluate("window.moves")
    pause(page)
    # Those of the last test may be among them; what goes round and round never stops.
    assert 0 < moves == page.evaluate("window.moves")
    wait_until_all_look_from(page, eye)


@pytest.mark.full
def test_a_mouse_and_the_arrow_keys_rotate_all_spheres(shown):
    page, _ = shown
    back_to_start(page)
    left, top, width, height = page.evaluate(PLACES)[0]
    x, y = left + width / 2, top + height / 2
    page.mouse("mouseMoved", x, y)
    page.mouse("mousePressed", x, y, held=True)
    for step in range(1, 5):
        page.mouse("mouseMoved", x + 15 * step, y, held=True)
    page.mouse("mouseReleased", x + 60, y)
    pause(page)
    (rotated,) = np.unique(cameras(page).round(5), axis=0)
    assert np.linalg.norm(rotated - EYE) > 0.1

    back_to_start(page)
    page.evaluate("document.querySelectorAll('.globe')[2].focus()")
    page.press("ArrowRight")
    azimuth = math.atan2(EYE[1], EYE[0]) + math.radians(10)
    flat = math.hypot(EYE[0], EYE[1])
    wait_until_all_look_from(page, [flat * math.cos(azimuth), flat * math.sin(azimuth), EYE[2]])
    page.press("ArrowLeft")
    wait_until_all_look_from(page, EYE)


@pytest.mark.full
def test_pointing_at_an_image_shows_its_identity(shown):
    page, _ = shown
    back_to_start(page)
    left, top, width, height = page.evaluate(PLACES)[0]
    for shift in (3, 2, 1, 0):
        page.mouse("mouseMoved", left + width / 2 + shift, top + height / 2)
        page.evaluate("new Promise(done => setTimeout(done, 100))")
    page.wait_for("document.querySelector('.hovertext') !== null")
    label = page.evaluate("document.querySelector('.hovertext').textContent")
    assert label.startswith("Ann")
    assert "from the class weight of the identity" in label


@pytest.mark.full
def test_a_browser_asks_for_nothing_and_has_no_complaint(shown):
    page, _ = shown
    assert [url for url in page.requests if not url.startswith("data:")][1:] == []
    assert page.requests[0].endswith("/page.html")
    assert page.complaints == []


VISIBLE = """[...document.querySelectorAll(".spheres figure")].map(
    figure => getComputedStyle(figure).visibility === "visible")"""
TRACE_COLORS = """[...document.querySelectorAll(".plotly-graph-div")].map(
    globe => [globe.data[0].colorscale[0][1], globe.data[2].marker.line.color])"""


@pytest.mark.full
def test_the_slider_shows_one_sphere_and_the_button_all(text, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    with browser.opened(path, 390) as page:
        page.wait_for(DRAWN)
        assert page.evaluate(VISIBLE) == [True, False, False]
        # The whole sphere and its numbers are in the first view of a phone.
        caption = "document.querySelector('.spheres figcaption').getBoundingClientRect().bottom"
        assert page.evaluate(caption) < 800
        page.evaluate("document.getElementById('chosen').focus()")
        page.press("ArrowRight")
        assert page.evaluate(VISIBLE) == [False, True, False]
        assert page.evaluate("document.getElementById('chosen').ariaValueText") == "m = 1"
        places = np.array(page.evaluate(PLACES))
        assert (places == places[0]).all()
        page.evaluate("document.getElementById('all').click()")
        assert page.evaluate(VISIBLE) == [True, True, True]
        assert page.evaluate("document.getElementById('all').textContent") == "One at a time"
        page.evaluate("document.getElementById('all').click()")
        assert page.evaluate(VISIBLE) == [False, True, False]
        assert page.complaints == []


@pytest.mark.full
def test_spheres_follow_the_colors_of_the_page(text, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    light = [sphere_page.GLOBE_COLOR, sphere_page.EDGE_COLOR]
    with browser.opened(path, 390) as page:
        page.wait_for(DRAWN)
        for scheme in ("dark", "light"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            page.call("Emulation.setEmulatedMedia", features=[feature])
            colors = (
                [sphere_page.DARK_COLORS[name] for name in light] if scheme == "dark" else light
            )
            expected = json.dumps([colors] * 3, separators=(",", ":"))
            page.wait_for(f"JSON.stringify({TRACE_COLORS}) === '{expected}'")
        assert page.complaints == []
