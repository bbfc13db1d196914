"""A headless Chromium for tests of pages; a test that needs it is skipped where there is none."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
# It has its own profile, and no name of another machine leads anywhere.
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions --hide-scrollbars"
).split() + ["--host-resolver-rules=MAP * ~NOTFOUND"]
SMALLEST_WINDOW = 500  # a window is never narrower, whatever one asks for


def dump_dom(path: Path, dark: bool = False) -> str:
    """The document of a page after it has loaded, as HTML."""
    return _run(path, "--dump-dom", *(["--force-dark-mode"] if dark else []))


def screenshot(path: Path, out: Path, width: int, height: int, dark: bool = False) -> None:
    """A PNG of the top of a page in a window of `width` times `height` pixels."""
    with tempfile.TemporaryDirectory() as folder:
        if width < SMALLEST_WINDOW:
            path = framed(path, Path(folder), width, height)
        _run(
            path,
            f"--screenshot={out}",
            f"--window-size={width},{height}",
            *(["--force-dark-mode"] if dark else []),
        )


def evaluate(path: Path, expression: str, width: int, height: int = 800) -> object:
    """The value of a JavaScript expression in a loaded page of `width` pixels, through JSON.

    A copy of the page runs it, without the policy that would forbid scripts.
    """
    page = Path(path).read_text(encoding="utf-8")
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    script = f"""<script>addEventListener("load", () => {{
        top.document.documentElement.dataset.value = JSON.stringify({expression});
    }})</script>"""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.replace("</body>", script + "</body>"), encoding="utf-8")
        dom = dump_dom(framed(copy, Path(folder), width, height))
    found = re.search(r'<html[^>]* data-value="([^"]*)"', dom)
    assert found, f"the page has not evaluated {expression}: {dom[:300]}"
    return json.loads(html.unescape(found[1]))


def framed(path: Path, folder: Path, width: int, height: int) -> Path:
    """A page in `folder` that shows the page in a frame of `width` times `height` pixels."""
    page = html.escape(Path(path).read_text(encoding="utf-8"))
    frame = folder / f"framed-{width}.html"
    frame.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">'
        f'<iframe srcdoc="{page}" style="border:0;width:{width}px;height:{height}px"></iframe>',
        encoding="utf-8",
    )
    return frame


def _run(path, *options):
    found = [name for name in NAMES if shutil.which(name)]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [found[0], *OPTIONS, f"--user-data-dir={profile}", *options]
        result = subprocess.run(
            [*command, Path(path).resolve().as_uri()],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    return result.stdout
