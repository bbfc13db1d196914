"""A headless Chromium for tests of pages; without one these tests are skipped."""

import base64
import contextlib
import fcntl
import html
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
# It has its own profile, and no name or address of another machine leads anywhere.
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions --hide-scrollbars"
).split() + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
# Figures in three dimensions need WebGL, here without a graphics card.
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
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
    match = re.search(r'<html[^>]* data-value="([^"]*)"', dom)
    assert match, f"the page has not evaluated {expression}: {dom[:300]}"
    return json.loads(html.unescape(match[1]))


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


class Page:
    """A page that is open in a browser, with mouse and keys; it keeps errors and requests.

    It speaks the DevTools protocol through the two ends of pipes.
    """

    def __init__(self, commands: int, answers: int):
        self.requests: list[str] = []  # addresses, that of the page first
        self.complaints: list[str] = []  # errors, and what the policy refused
        self._commands, self._answers = commands, answers
        self._number, self._session, self._read, self._events = 0, None, b"", []

    def load(self, path: Path | str, width: int, height: int) -> None:
        """Show a file or an address in a view of this size, in CSS pixels; wait for its load."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        opened = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = opened["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **view)
        is_address = isinstance(path, str) and "://" in path
        self.call("Page.navigate", url=path if is_address else Path(path).resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._receive()

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression, through JSON; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def mouse(self, kind: str, x: float, y: float, held: bool = False) -> None:
        """Move ("mouseMoved"), press or release the left button at a place of the view."""
        button = "none" if kind == "mouseMoved" and not held else "left"
        clicks = int(kind != "mouseMoved")
        place = {"type": kind, "x": x, "y": y, "button": button, "clickCount": clicks}
        self.call("Input.dispatchMouseEvent", **place, buttons=int(held))

    def press(self, key: str) -> None:
        """Press and release a key by its name, for example "ArrowLeft"."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, whole: bool = False) -> bytes:
        """A PNG of the view, or of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def call(self, method: str, **parameters) -> dict:
        """The answer to a command of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], SECONDS)
            data = os.read(self._answers, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._read += data
        line, _, self._read = self._read.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event, parameters):
        self._events.append(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.complaints.append(json.dumps(parameters["args"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])


@contextlib.contextmanager
def opened(path: Path | str, width: int, height: int = 800) -> Iterator[Page]:
    """A page in a browser that can draw in three dimensions, for as long as the block runs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [option for option in OPTIONS if option != "--disable-gpu"] + WEBGL
        command = [_browser(), *options, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        # The browser's ends must be 3 and 4; ours must not be in their way.
        ends = [*os.pipe(), *os.pipe()]
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
        for end in ends:
            os.close(end)
        child_reads, commands, answers, child_writes = high
        process = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, child_reads, 3),
                (os.POSIX_SPAWN_DUP2, child_writes, 4),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        os.close(child_reads)
        os.close(child_writes)
        try:
            page = Page(commands, answers)
            page.load(path, width, height)
            yield page
        finally:
            # It ends with its pipes.
            os.close(commands)
            os.close(answers)
            os.waitpid(process, 0)


def _browser():
    installed = [name for name in NAMES if shutil.which(name)]
    if not installed:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return installed[0]


def _run(path, *options):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [_browser(), *OPTIONS, f"--user-data-dir={profile}", *options]
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
