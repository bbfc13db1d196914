"""The load test of the service: it counts what is lost, and finds answers that are another's."""

import contextlib
import http.server
import json
import threading

import pandas as pd
import pytest

pytest.importorskip("fastapi")

from keras_sphereface.benchmarks import serving
from keras_sphereface.benchmarks.serving import RequestCase
from keras_sphereface.config import ServingBenchmarkConfig
from tests.export.test_runtime import foreign_onnx, needs_onnx


@contextlib.contextmanager
def answering(status_and_score):
    """The port of a server that answers the n-th request so."""
    numbers = iter(range(1000))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, score = status_and_score(next(numbers))
            body = json.dumps({"score": score}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_refused_and_mistaken_answers_are_lost():
    case = RequestCase("compare", "text/plain", b"x", score=0.5)
    answers = {3: (503, 0.5), 5: (200, 0.4)}
    with answering(lambda number: answers.get(number, (200, 0.5))) as port:
        table = serving.ask_all(port, [case] * 20, 4)
    assert (len(table), table["lost"].sum()) == (20, 2)


def test_a_server_that_is_gone_loses_all():
    with answering(lambda _: (200, 0.5)) as port:
        pass
    case = RequestCase("compare", "text/plain", b"x", score=0.5)
    assert serving.ask_all(port, [case] * 3, 2)["lost"].all()


def test_percentiles_are_of_each_kind():
    kinds = ["compare"] * 100 + ["identify"]
    seconds = [i / 1000 for i in range(100)] + [1.0]
    table = serving.latencies(
        pd.DataFrame({"kind": kinds, "seconds": seconds, "lost": False}), "2 at once"
    ).set_index("request")
    assert table.loc["compare", "p50"] == pytest.approx(49.5)
    assert table.loc["compare", "longest"] == pytest.approx(99)
    assert table.loc["identify", "p99"] == pytest.approx(1000)


@needs_onnx
@pytest.mark.slow
def test_a_whole_run(faces, tmp_path):
    config = ServingBenchmarkConfig(
        out=str(tmp_path / "out"),
        model=str(foreign_onnx(tmp_path / "net.onnx")),
        images=str(faces / "images"),
        num_requests=40,
        concurrency=4,
        num_identities=3,
    )
    text = serving.benchmark_serving(config)
    table = pd.read_csv(tmp_path / "out" / "serving.csv")
    assert table["lost"].sum() == 0
    assert table.groupby("connections")["number"].sum().to_dict() == {"4 at once": 40, "alone": 40}
    assert "requests a second" in text
    assert not list((tmp_path / "out").glob("gallery-*"))
