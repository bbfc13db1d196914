import base64
import html.parser
import io
import re

import jinja2
import numpy as np
import pytest
from PIL import Image

from keras_sphereface.reporting.blocks import (
    Details,
    Heading,
    ImageBlock,
    KeyNumbers,
    Paragraph,
    Statements,
    Table,
    Warnings,
)
from keras_sphereface.reporting.html import render_page, security_policy, template_environment
from tests.helpers import browser

VOID = {"meta", "link", "img", "br", "source"}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"double\" 'single' `back` & &amp; &lt;",
    "</title></style><!-- <b onclick=x>",
    "Zoë Łukasz 李小龙 \u05d0\u05d1 😀",
    "Aaron_Peirsol/" + "x" * 600,
]


class Document(html.parser.HTMLParser):
    """The elements of a page as (tag, attributes, text); fails where tags are not closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        element = [tag, dict(attrs), ""]
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag):
        return [(attrs, text) for name, attrs, text in self.elements if name == tag]

    def texts(self, tag):
        return [text for _, text in self.all(tag)]


def png(width, height):
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def everything(text):
    """A page in which `text` stands wherever a text can stand."""
    table = Table([text, "n"], [[text, "1"], [text, "2.5 %"]], note=text, caption=text)
    blocks = [
        KeyNumbers([(text, text, text), ("EER", "1.05 %", "")]),
        Warnings([text, "second"]),
        *(Heading(text, level) for level in (2, 3, 4, 2, 2, 2, 2)),
        Paragraph(text),
        table,
        Statements([(text, text)]),
        Table(["name"] + ["a column"] * 30, [["x"] + ["12.345"] * 30]),
        ImageBlock(png(2000, 300), text, text),
        Paragraph("between"),
        ImageBlock(png(800, 600), text, text),
        ImageBlock(png(80, 60), text, text),
        Details(text, [table, Paragraph(text), ImageBlock(png(900, 600), text)]),
    ]
    return render_page(text, blocks)


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_shown_as_it_is(text):
    document = Document(everything(text))
    for tag in ("title", "h1", "h2", "h3", "h4", "p", "caption", "figcaption", "summary", "li"):
        assert text in document.texts(tag), tag
    for tag, times in (("dt", 2), ("dd", 3), ("th", 6), ("a", 5)):
        assert document.texts(tag).count(text) == times, tag
    assert [attrs["alt"] for attrs, _ in document.all("img")] == [text] * 4
    assert {"script", "b"}.isdisjoint(tag for tag, *_ in document.elements)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x85", "\udc80", "\ufffe"])
def test_characters_that_html_cannot_hold_are_replaced(character):
    page = render_page("title", [Paragraph(f"a{character}b\tc")])
    page.encode("utf-8")
    assert Document(page).texts("p") == ["a\ufffdb\tc"]


def test_the_page_declares_its_language_and_a_strict_policy():
    document = Document(everything("text"))
    assert document.all("html")[0][0] == {"lang": "en"}
    metas = [attrs for attrs, _ in document.all("meta")]
    assert metas[0] == {"charset": "utf-8"}
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    (policy,) = [m["content"] for m in metas if "http-equiv" in m]
    assert dict(directive.split(maxsplit=1) for directive in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_another_template_fills_the_shell_and_escapes_values(tmp_path):
    (tmp_path / "own.html.j2").write_text(
        '{% extends "page.html.j2" %}{% block main %}<p>{{ text }}</p>{% endblock %}'
        "{% block scripts %}<script>run()</script>{% endblock %}"
    )
    template = template_environment(tmp_path).get_template("own.html.j2")
    policy = security_policy(script_src="'unsafe-inline'")
    for text in HOSTILE:
        document = Document(template.render(title=text, policy=policy, text=text))
        assert document.texts("title") == document.texts("h1") == document.texts("p") == [text]
        assert document.texts("script") == ["run()"]
        (shown,) = [m["content"] for m, _ in document.all("meta") if "http-equiv" in m]
        assert shown == policy == f"{security_policy()}; script-src 'unsafe-inline'"


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="policy"):
        template_environment().get_template("page.html.j2").render(title="t")


def test_nothing_is_loaded_from_elsewhere():
    page = everything("text")
    ids = [attrs["id"] for _, attrs, _ in Document(page).elements if "id" in attrs]
    assert len(ids) == len(set(ids)) == 5
    for _, attrs, _ in Document(page).elements:
        assert {"srcset", "style", "action", "background"}.isdisjoint(attrs)
        for name in {"src", "href"} & set(attrs):
            assert attrs[name].startswith("data:") or attrs[name].removeprefix("#") in ids
    (style,) = Document(page).texts("style")
    assert "color-scheme: light dark" in style
    assert not re.search(r"url\(|@import", style)


def test_contents_are_listed_from_five_sections_on():
    for number, listed in ((4, 0), (5, 5)):
        blocks = [Heading("first", 3)] + [Heading(f"section {i}") for i in range(number)]
        document = Document(render_page("title", blocks))
        targets = {attrs["id"]: text for attrs, text in document.all("h2")}
        links = document.all("a")
        assert [text for _, text in links] == [f"section {i}" for i in range(listed)]
        assert all(targets[attrs["href"][1:]] == text for attrs, text in links)


def test_headings_in_details_do_not_shift_the_contents():
    blocks = [Details("more", [Heading("inner")])] + [Heading(f"section {i}") for i in range(5)]
    document = Document(render_page("title", blocks))
    targets = {attrs["id"]: text for attrs, text in document.all("h2") if attrs}
    assert all(targets[attrs["href"][1:]] == text for attrs, text in document.all("a"))


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2"],
        ["98.97 %", ""],
        ["-0.5", "\u22120.5"],
        ["99.1 ± 0.3", "99.12 % +- 0.35 %"],
        ["6,000", "1e-05"],
        ["31.4°", "\u2013", "-"],
        ["0.5", "too few pairs"],
        ["3 / 600", "12-"],
    ],
)
def test_columns_of_numbers_are_aligned_to_the_right(cells):
    document = Document(
        render_page("t", [Table(["name", "number"], [["a1", cell] for cell in cells])])
    )
    heads = document.all("th")
    assert heads[0][0] == {"scope": "col"}
    assert heads[1][0] == {"scope": "col", "class": "number"}
    assert heads[2] == ({"scope": "row"}, "a1")
    assert document.all("td") == [({"class": "number"}, cell) for cell in cells]


@pytest.mark.parametrize("cells", [["a", "1", "b"], ["", "-"], ["m4", "20 layers"], ["2024-01-02"]])
def test_columns_of_words_are_aligned_to_the_left(cells):
    document = Document(render_page("t", [Table(["x", "y"], [["a", c] for c in cells])]))
    assert document.all("td") == [({}, cell) for cell in cells]


def test_a_table_without_rows_has_its_header():
    document = Document(render_page("t", [Table(["x", "y"], [])]))
    assert document.texts("th") == ["x", "y"]
    assert document.all("td") == []


def test_no_warning_makes_no_box():
    assert Document(render_page("t", [Warnings([])])).all("aside") == []
    assert len(Document(render_page("t", [Warnings(["w"])])).all("aside")) == 1


def test_images_are_kept_to_the_byte_and_know_their_size():
    images = [png(70, 50), png(10, 90)]
    document = Document(render_page("t", [ImageBlock(data, "alt") for data in images]))
    for (attrs, _), data, size in zip(
        document.all("img"), images, [("70", "50"), ("10", "90")], strict=True
    ):
        head, _, encoded = attrs["src"].partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(encoded) == data
        assert (attrs["width"], attrs["height"]) == size


def test_an_image_for_dark_pages_is_shown_on_screens_alone():
    light, dark = png(70, 50), png(70, 51)
    blocks = [ImageBlock(light, "alt", dark_png=dark), Paragraph("p"), ImageBlock(light, "alt")]
    document = Document(render_page("t", blocks))
    ((attrs, _),) = document.all("source")
    assert base64.b64decode(attrs["srcset"].partition(",")[2]) == dark
    assert attrs["media"] == "screen and (prefers-color-scheme: dark)"
    assert len(document.all("picture")) == 1
    assert len(document.all("img")) == 2
    with pytest.raises(
        ValueError, match=r"`dark_png` must be a PNG file. Received: dark_png=b'GIF"
    ):
        ImageBlock(light, "alt", dark_png=b"GIF89a")


def test_neighboring_images_share_a_row_unless_wide():
    blocks = [ImageBlock(png(60, 50), "a"), ImageBlock(png(200, 50), "b"), Paragraph("p")]
    document = Document(render_page("t", [*blocks, ImageBlock(png(60, 50), "c")]))
    assert [attrs["class"] for attrs, _ in document.all("figure")] == ["", "wide", "alone"]
    assert len([1 for attrs, _ in document.all("div") if attrs == {"class": "images"}]) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Heading("x", 1), "`level` must be 2, 3 or 4. Received: level=1"),
        (lambda: Table(["a", "b"], [["1", "2"], ["3"]]), r"as long as `header`.*lengths \[1, 2\]"),
        (lambda: Table([], []), r"at least one cell. Received: lengths \[0\]"),
        (lambda: ImageBlock(b"GIF89a..", "x"), "must be a PNG file. Received: png=b'GIF89a"),
        (lambda: ImageBlock(png(1, 1), " "), "`alt` must describe the image. Received: alt=' '"),
        (lambda: Details("x", [Heading("x", 5)]), "Received: level=5"),
    ],
)
def test_bad_blocks_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_types_than_blocks_are_refused():
    with pytest.raises(TypeError, match=r"blocks of reporting. Received: 'text'"):
        render_page("title", ["text"])
    with pytest.raises(TypeError, match=r"blocks of reporting. Received: 7"):
        render_page("title", [Details("more", [7])])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(everything(" ".join(HOSTILE)), encoding="utf-8")
    return path


MEASURE = """{
    inner: innerWidth,
    width: document.documentElement.scrollWidth,
    images: [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight]),
    scrolling: [...document.querySelectorAll(".scroll")].filter(
        e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX == "auto").length,
    title: document.title,
    shown: document.querySelector("h1").innerText,
    scripts: document.scripts.length,
    requests: performance.getEntriesByType("resource").map(e => e.name),
    columns: getComputedStyle(document.querySelector(".images")).gridTemplateColumns.split(" "),
}"""


@pytest.mark.full
@pytest.mark.parametrize(("width", "columns"), [(375, 1), (1280, 2)])
def test_a_browser_shows_all_of_it_and_the_page_never_scrolls_sideways(page, width, columns):
    measured = browser.evaluate(page, MEASURE, width)
    assert measured["inner"] == measured["width"] == width
    assert measured["images"] == [
        [True, 2000, 300],
        [True, 800, 600],
        [True, 80, 60],
        [True, 900, 600],
    ]
    assert measured["scrolling"] >= 1  # the table of 31 columns, in its own box
    assert measured["title"] == measured["shown"] == " ".join(HOSTILE)
    assert measured["scripts"] == 1  # the one that measures
    assert [name for name in measured["requests"] if not name.startswith("data:")] == []
    assert len(measured["columns"]) == columns


@pytest.mark.full
def test_a_browser_runs_no_script_that_gets_into_the_page(page, tmp_path):
    script = "<script>document.documentElement.dataset.ran = 1</script>"
    text = page.read_text(encoding="utf-8").replace("</main>", script + "</main>")
    forbidden = re.sub(r"<meta http-equiv[^>]*>", "", text)
    for name, content, ran in (("a.html", text, False), ("b.html", forbidden, True)):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert ("data-ran" in browser.dump_dom(tmp_path / name)) is ran


@pytest.mark.full
@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_follows_the_light_or_dark_color_scheme(page, tmp_path, width):
    for dark in (False, True):
        out = tmp_path / "page.png"
        browser.screenshot(page, out, width, 700, dark)
        image = np.asarray(Image.open(out).convert("L"))
        assert image.shape == (700, width)
        background = np.median(image)
        assert (background < 60) is np.bool_(dark)
        # Letters stand out from it.
        assert np.ptp(image[:, : width // 2].astype(int)) > 150


def test_columns_of_sentences_and_of_numbers_have_their_classes():
    rows = [["a", "a measure of what an image is worth", "1.5*"]]
    assert Table(["name", "what it is", "area"], rows).kinds == ["", "text", "number"]
    assert Table(["name"], []).kinds == [""]
    page = render_page("Title", [Table(["name", "what it is", "area"], rows)])
    assert '<td class="text">a measure' in page
    assert '<td class="number">1.5*</td>' in page
