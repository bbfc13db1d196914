"""Load test of the service: many connections, and every answer held to that of a single one."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from keras_sphereface.config import ServingBenchmarkConfig
from keras_sphereface.data import synthetic
from keras_sphereface.export import saved_model
from keras_sphereface.models import sphereface4
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.text import counted

NUM_FORMS = 64  # different requests of each kind
NUM_ALONE = 100  # requests one after the other, for the time without others
TOLERANCE = 1e-4  # of a score: sums are rounded differently in batches of other sizes
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 120.0, 30.0, 60.0
MEMORY_SECONDS = 0.5  # between two looks
# Of the requests, after which memory is reported.
PARTS = {"at first": 0.0, "after a tenth": 0.1, "after a half": 0.5, "at the end": 1.0}


@dataclasses.dataclass(frozen=True)
class RequestCase:
    """A request, and what a single connection was answered.

    Attributes:
        kind: "compare" or "identify".
        content_type: Of the form.
        body: The form.
        score: Float. The first score of the answer; None before it is known.
    """

    kind: str
    content_type: str
    body: bytes = dataclasses.field(repr=False)
    score: float | None = None


def benchmark_serving(config: ServingBenchmarkConfig) -> str:
    """Start a service, ask it, and write serving.csv, memory.csv and serving.md.

    Returns:
        The text of serving.md.

    Raises:
        ValueError: If there are too few images.
        RuntimeError: If the service does not start or stop.
    """
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = _images_by_identity(config, folder)
    model = config.model or str(saved_model.export_savedmodel(sphereface4(), folder / "export"))
    gallery = folder / f"gallery-{uuid.uuid4().hex[:8]}.db"
    words = ["--detector", config.detector] if config.detector else ["--aligned"]
    words += ["--model", model, "--gallery", str(gallery), "--port", "0"]
    words += ["--queue-size", str(max(64, 2 * config.concurrency))]
    rng = np.random.default_rng(config.seed)
    try:
        with running_service(words, folder / "serving.log") as (process, port):
            _enroll(port, images)
            cases = [ask_alone(port, case) for case in _cases(images, rng)]
            alone = ask_all(port, _drawn(cases, min(NUM_ALONE, config.num_requests), rng), 1)
            with memory_of(process) as memory:
                began = time.perf_counter()
                drawn = _drawn(cases, config.num_requests, rng)
                answers = ask_all(port, drawn, config.concurrency)
                seconds = time.perf_counter() - began
            table = pd.concat(
                [latencies(alone, "alone"), latencies(answers, f"{config.concurrency} at once")]
            )
    finally:
        for path in folder.glob(f"{gallery.name}*"):
            path.unlink()
    table.to_csv(folder / "serving.csv", index=False, float_format="%.4g")
    held = pd.DataFrame({"seconds": MEMORY_SECONDS * np.arange(len(memory)), "bytes": memory})
    held.to_csv(folder / "memory.csv", index=False)
    text = _describe(config, table, len(answers) / seconds, memory)
    (folder / "serving.md").write_text(text, encoding="utf-8")
    return text


def _describe(
    config: ServingBenchmarkConfig, table: pd.DataFrame, rate: float, memory: Sequence[int]
) -> str:
    parts = {name: memory[round(share * (len(memory) - 1))] for name, share in PARTS.items()}
    held = ", ".join(f"{size / 2**20:.0f} MiB {name}" for name, size in parts.items())
    model = config.model or "sphereface4 with start weights"
    faces = f"detected by {Path(config.detector).name}" if config.detector else "aligned"
    cells = [
        [f"{value:.1f}" if isinstance(value, float) else value for value in row]
        for row in table.itertuples(index=False)
    ]
    lines = [
        f"Machine: {machine()}.\n",
        f"{counted(config.num_requests, 'request')} to `sphereface serve` with {model}, faces "
        f"{faces}, {counted(config.num_identities, 'identity')} enrolled; milliseconds from the "
        "request to its whole answer. Lost are requests without an answer, refused, or with "
        "another score than the same request got "
        f"alone.\n\n{markdown_table(list(table.columns), cells)}",
        f"{rate:.0f} requests a second. Memory of the service: {held}; at most "
        f"{max(memory) / 2**20:.0f} MiB.\n",
    ]
    return "\n".join(lines)


def _images_by_identity(config: ServingBenchmarkConfig, folder: Path) -> dict[str, list[bytes]]:
    """Two encoded images of each identity: one to enroll, one to ask with."""
    root = Path(config.images)
    if not config.images:
        count = config.num_identities
        generated = synthetic.generate_faces(folder / "faces", count, 2, 0, seed=config.seed)
        root = generated / synthetic.IMAGES
    classes = {
        path.name: sorted(file for file in path.iterdir() if file.is_file())
        for path in sorted(root.iterdir())
        if path.is_dir()
    }
    usable = {name: files for name, files in classes.items() if len(files) > 1}
    if len(usable) < config.num_identities:
        raise ValueError(
            f"`images` must have {config.num_identities} folders with two images each; give fewer "
            f"--num-identities. Received: {len(usable)} such folders in {root}"
        )
    chosen = list(usable.items())[: config.num_identities]
    return {name: [file.read_bytes() for file in files[:2]] for name, files in chosen}


@contextlib.contextmanager
def running_service(words: Sequence[str], log: Path) -> Iterator[tuple[int, int]]:
    """Run `sphereface serve`, and stop it by SIGTERM after the block.

    Args:
        words: Words after `serve`.
        log: File for what it writes to standard error.

    Yields:
        The process id, and the port.

    Raises:
        RuntimeError: If it does not start, or does not stop with status 0.
    """
    command = [sys.executable, "-m", "keras_sphereface", "serve", *words]
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
        timer.cancel()
        if "http://" not in line:
            raise RuntimeError(f"The service has not started; its output is in {log}.")
        yield process.pid, int(urlsplit(line.split()[2]).port or 0)
        process.terminate()
        if process.wait(STOP_SECONDS):
            raise RuntimeError(f"The service has stopped with {process.returncode}; see {log}.")
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def memory_of(process: int) -> Iterator[list[int]]:
    """Look at the resident memory of a process, in bytes, until the block ends."""
    values: list[int] = []
    stopped = threading.Event()

    def look() -> None:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        values.append(1024 * next(int(x.split()[1]) for x in lines if x.startswith("VmRSS")))

    def watch() -> None:
        while not stopped.wait(MEMORY_SECONDS):
            look()

    look()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield values
    finally:
        stopped.set()
        thread.join()
        look()


def _enroll(port: int, images: dict[str, list[bytes]]) -> None:
    rows = progress_bar(images.items(), desc="enrolling", unit="identity")
    with rows as bar, _connection(port) as connection:
        for name, (first, _) in bar:
            parts = [("name", name), ("strict", "false"), ("policy", "center"), ("images", first)]
            case = RequestCase("identities", *_form(parts))
            status, body = _ask(connection, case)
            if status != 201:
                raise RuntimeError(f"{name} cannot be enrolled: {body!r}")


def _cases(images: dict[str, list[bytes]], rng: np.random.Generator) -> list[RequestCase]:
    """Requests of both kinds, of one person and of two."""
    names = list(images)
    cases = []
    for number in range(NUM_FORMS):
        first, second = rng.choice(names, 2)
        other = first if number % 2 else second
        pair = [("first", images[first][0]), ("second", images[other][1])]
        cases.append(RequestCase("compare", *_form([("policy", "center"), *pair])))
        probe = [("policy", "center"), ("image", images[first][1])]
        cases.append(RequestCase("identify", *_form(probe)))
    return cases


def _drawn(cases: list[RequestCase], count: int, rng: np.random.Generator) -> list[RequestCase]:
    return [cases[i] for i in rng.integers(0, len(cases), count)]


def _form(parts: Sequence[tuple[str, Any]]) -> tuple[str, bytes]:
    """The content type and the body of a form of texts and files."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value in parts:
        of_file = '; filename="image"' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'
        body += head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def _connection(port: int) -> contextlib.closing[http.client.HTTPConnection]:
    """A connection that is closed after the block; each request opens it if need be."""
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS))


def _ask(connection: http.client.HTTPConnection, case: RequestCase) -> tuple[int, bytes]:
    headers = {"Content-Type": case.content_type}
    connection.request("POST", f"/v1/{case.kind}", case.body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def ask_alone(port: int, case: RequestCase) -> RequestCase:
    """Return a request with the score that it is answered.

    Raises:
        RuntimeError: If it is refused.
    """
    with _connection(port) as connection:
        status, body = _ask(connection, case)
    if status != 200:
        raise RuntimeError(f"A request was refused: {body!r}")
    return dataclasses.replace(case, score=_score(body))


def _score(body: bytes) -> float:
    values = json.loads(body)
    return values["score"] if "score" in values else values["candidates"][0]["score"]


def ask_all(port: int, cases: Sequence[RequestCase], concurrency: int) -> pd.DataFrame:
    """Ask from several connections, each of which sends the next request after an answer.

    Returns:
        A row for each request: kind, seconds, and whether it is lost.
    """
    rest = iter(cases)
    lock = threading.Lock()

    def work(bar: Any) -> list[tuple[str, float, bool]]:
        rows: list[tuple[str, float, bool]] = []
        with _connection(port) as connection:
            while True:
                with lock:
                    case = next(rest, None)
                if case is None:
                    return rows
                began = time.perf_counter()
                try:
                    status, body = _ask(connection, case)
                    lost = status != 200 or abs(_score(body) - (case.score or 0.0)) > TOLERANCE
                except (OSError, http.client.HTTPException):
                    lost = True
                    connection.close()  # the next request opens another
                rows.append((case.kind, time.perf_counter() - began, lost))
                with lock:
                    bar.update()

    with (
        progress_bar(total=len(cases), desc="asking", unit="request") as bar,
        concurrent.futures.ThreadPoolExecutor(concurrency) as pool,
    ):
        jobs = [pool.submit(work, bar) for _ in range(concurrency)]
        rows = [row for job in jobs for row in job.result()]
    return pd.DataFrame(rows, columns=["kind", "seconds", "lost"])


def latencies(answers: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the times of `ask_all` in milliseconds, a row for each kind.

    Example:
        >>> answers = pd.DataFrame({"kind": ["compare"], "seconds": [0.02], "lost": [False]})
        >>> latencies(answers, "alone").to_dict("records")[0]["p50"]
        20.0
    """
    rows = []
    for kind, of_kind in answers.groupby("kind"):
        milliseconds = 1000 * of_kind["seconds"]
        rows.append(
            {
                "connections": name,
                "request": kind,
                "number": len(of_kind),
                "lost": int(of_kind["lost"].sum()),
                "p50": milliseconds.quantile(0.5),
                "p99": milliseconds.quantile(0.99),
                "longest": milliseconds.max(),
            }
        )
    return pd.DataFrame(rows)
