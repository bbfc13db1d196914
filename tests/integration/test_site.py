"""The documentation site: it builds without a warning, links hold, and it needs no network."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT
from tests.helpers import browser
from tests.helpers.documents import GUIDES

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as `make docs` builds it, in another folder."""
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--clean", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "KERAS_SPHEREFACE_DATA_ONLY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


def pages(site):
    """{path: HTML} of the pages."""
    return {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}


def test_every_document_is_a_page(site):
    names = {path.relative_to(site).as_posix() for path in pages(site)}
    assert {f"{guide.stem}.html" for guide in GUIDES[1:]} <= names
    assert {"index.html", "sphereface_tour.html", "changelog.html", "citation.html"} <= names


def test_links_within_the_site_lead_somewhere(site):
    texts = pages(site)
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    broken = set()
    for path, text in texts.items():
        if path.name == "404.html":  # it is served under any address
            continue
        for target in re.findall(r'<(?:a|link|script|img)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            link = urlsplit(html.unescape(target))
            if link.scheme:
                continue
            linked = (path.parent / unquote(link.path)).resolve() if link.path else path
            if linked.is_dir():
                linked /= "index.html"
            ids = anchors.get(linked)
            anchor = unquote(link.fragment)
            if not linked.exists() or (ids is not None and anchor and anchor not in ids):
                broken.add((path.name, target))
    assert not broken


def test_pages_fetch_nothing_from_elsewhere(site):
    for path, text in pages(site).items():
        sources = re.findall(r'<(?:script|img|iframe)\b[^>]*?\bsrc="([^"]*)"', text)
        sources += re.findall(r'<link\b(?![^>]*rel="canonical")[^>]*?\bhref="([^"]*)"', text)
        assert not [source for source in sources if re.match(r"(https?:)?//", source)], path


def test_every_figure_is_there_for_light_and_for_dark_pages(site):
    folder = ROOT / "docs" / "images"
    figures = {str(path.relative_to(folder))[:-4] for path in folder.rglob("*.png")}
    light = {name for name in figures if not name.endswith("-dark")}
    assert figures == light | {f"{name}-dark" for name in light}
    texts = "".join((site / page).read_text("utf-8") for page in ("figures.html", "serving.html"))
    for name in ["feature_spheres", *light]:
        assert f'src="images/{name}.png#only-light"' in texts
        assert f'src="images/{name}-dark.png#only-dark"' in texts


def test_the_reference_has_every_public_name(site):
    from tests.test_examples import PUBLIC

    text = "".join(html for path, html in pages(site).items() if path.parent.name == "reference")
    documented = set(re.findall(r'<h2 id="(keras_sphereface[\w.]+)"', text))
    assert set(PUBLIC) <= documented


def test_the_reference_has_the_flags_of_the_parser(site):
    text = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "sphereface gallery create" in text
    assert "--lambda-min" in text


@pytest.mark.full
def test_the_search_needs_no_server_and_no_network(site):
    with browser.opened(site / "index.html", 1280, 800) as page:
        page.evaluate('location.search = "?q=annealing"')
        found = 'document.querySelectorAll(".md-search-result__item").length'
        page.wait_for(f"{found} > 0")
        assert all(request.startswith(("file:", "data:")) for request in page.requests)
        assert not page.complaints
