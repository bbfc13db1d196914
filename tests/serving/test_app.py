"""The interface over HTTP: what it answers is what `FaceRecognizer` and `Gallery` say."""

import concurrent.futures
import dataclasses
import io
import logging
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")

from PIL import Image

from keras_sphereface.data.detection import DetectedFaces
from keras_sphereface.export.recognition_file import OrdinaryNorms
from keras_sphereface.recognition import Gallery
from keras_sphereface.serving import inference_queue
from tests.helpers.service import corner, image, no_detector, recognizer, serving
from tests.recognition.test_face_recognizer import RECOGNITION, faces_at

SECRET = "read from the image"
KEY = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    gallery = tmp_path_factory.mktemp("gallery") / "people.db"
    with serving(recognizer(recognition=RECOGNITION), str(gallery)) as client:
        yield client


def problem(answer, status, code):
    """Check an error's form, which is the same for all, and return its detail."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    values = answer.json
    assert (values["status"], values["code"]) == (status, code)
    assert values["title"]
    return values["detail"]


def test_two_images_are_compared_as_by_the_recognizer(client):
    first, second = image(1), image(2)
    answer = client.post("/v1/compare", ("first", first), ("second", second), ("crops", "true"))
    assert answer.status == 200
    expected = recognizer(recognition=RECOGNITION).compare(first, second, detect=False)
    values = answer.json
    assert values["score"] == pytest.approx(expected.score, abs=1e-6)
    assert values["answer"] == expected.describe()
    assert (values["is_match"], values["threshold"]) == (expected.is_match, 0.5)
    assert values["faces"][0]["image_size"] == [112, 96]
    assert values["faces"][1]["crop"].startswith("data:image/png;base64,")
    assert (
        client.post("/v1/compare", ("first", first), ("second", second)).json["faces"][0]["crop"]
        is None
    )
    looser = client.post("/v1/compare", ("first", first), ("second", second), ("fmr", "0.01"))
    assert looser.json["threshold"] == 0.3
    missing = client.post("/v1/compare", ("first", first), ("second", second), ("fmr", "0.5"))
    assert "Available: 0.01, 0.001" in problem(missing, 422, "no-threshold")


def test_identities_are_enrolled_found_listed_and_removed(client):
    for name, seeds in {"ada": (1, 2), "bob/ü": (3,)}.items():
        parts = [("images", image(seed)) for seed in seeds]
        answer = client.post("/v1/identities", ("name", name), *parts)
        assert answer.status == 201, answer.body
        assert (answer.json["name"], answer.json["num_added"]) == (name, len(seeds))
    again = client.post("/v1/identities", ("name", "ada"), ("images", image(1)))
    assert again.json["num_added"] == 0
    found = client.post("/v1/identify", ("image", image(3)), ("top", "1")).json
    assert [one["name"] for one in found["candidates"]] == ["bob/ü"]
    assert found["candidates"][0]["score"] == pytest.approx(1)
    assert found["num_identities"] == 2
    listed = client.ask("GET", "/v1/identities").json
    assert listed["identities"] == [
        {"name": "ada", "num_templates": 2},
        {"name": "bob/ü", "num_templates": 1},
    ]
    page = client.ask("GET", "/v1/identities?limit=1").json
    assert (page["total"], len(page["identities"]), page["next"]) == (2, 1, "ada")
    rest = client.ask("GET", "/v1/identities?limit=1&after=ada").json
    assert ([one["name"] for one in rest["identities"]], rest["next"]) == (["bob/ü"], None)
    assert client.ask("DELETE", "/v1/identities/bob/%C3%BC").json == {"erased": True}
    problem(client.ask("DELETE", "/v1/identities/bob/%C3%BC"), 404, "not-enrolled")
    assert client.ask("DELETE", "/v1/identities/ada").status == 200
    empty = client.post("/v1/identify", ("image", image(3))).json
    assert (empty["candidates"], empty["name"], empty["is_known"]) == ([], None, False)


def test_an_enrollment_is_in_the_file_and_only_of_this_network(tmp_path):
    path = tmp_path / "people.db"
    with serving(recognizer(), str(path)) as client:
        client.post("/v1/identities", ("name", "ada"), ("images", image(1)))
        with Gallery.open(path) as gallery:  # beside the service
            assert [one.name for one in gallery.identities()] == ["ada"]
            rows = recognizer().embed([image(1), image(2)], detect=False)
            gallery.enroll("bob", rows[1:])
        found = client.post("/v1/identify", ("image", image(2)), ("top", "1")).json
        assert found["candidates"][0]["name"] == "bob"
    assert path.stat().st_mode & 0o077 == 0


def test_a_database_that_is_away_is_said(tmp_path, monkeypatch):
    with serving(recognizer(), str(tmp_path / "people.db")) as client:

        def away(*_, **__):
            raise ConnectionError("password=secret")

        monkeypatch.setattr(Gallery, "identities", away)
        monkeypatch.setattr(Gallery, "enroll", away)
        detail = problem(client.ask("GET", "/v1/identities"), 503, "gallery-unreachable")
        assert "secret" not in detail
        enrolled = client.post("/v1/identities", ("name", "ada"), ("images", image(1)))
        problem(enrolled, 503, "gallery-unreachable")
        monkeypatch.undo()
        assert client.ask("GET", "/v1/identities").json["total"] == 0


def test_an_enrollment_is_all_or_nothing(tmp_path):
    def finds_none_in_the_dark(pixels):
        return no_detector(pixels) if pixels.mean() < 10 else faces_at((0, 0, 1))(pixels)

    dark = io.BytesIO()
    Image.new("RGB", (96, 112)).save(dark, "PNG")
    of = recognizer(finds_none_in_the_dark)
    with serving(of, str(tmp_path / "people.db"), detect=True) as client:
        parts = [("images", image(1)), ("images", dark.getvalue())]
        answer = client.post("/v1/identities", ("name", "ada"), *parts)
        assert "no face is detected" in problem(answer, 422, "doubtful-image")
        assert client.ask("GET", "/v1/identities").json["total"] == 0


def test_the_policy_and_strictness_are_those_of_the_recognizer():
    with serving(recognizer(faces_at((0, 0, 0.6), (40, 45, 0.2))), detect=True) as client:
        pair = ("first", image(1)), ("second", image(2))
        detail = problem(client.post("/v1/compare", *pair), 422, "doubtful-image")
        assert detail.startswith("`first`: 2 faces are detected")
        largest = client.post("/v1/compare", *pair, ("policy", "largest")).json
        assert largest["faces"][0]["box"][:2] == [0, 0]
        strict = client.post("/v1/compare", *pair, ("policy", "center"), ("strict", "true"))
        assert "the face is tiny" in problem(strict, 422, "doubtful-image")


def test_a_face_whose_embedding_is_short_is_refused_where_that_is_asked():
    norms = OrdinaryNorms(low=1e6, median=2e6, high=3e6, num_images=9)
    recognition = dataclasses.replace(RECOGNITION, norms=norms)
    pair = ("first", image(1)), ("second", image(2))
    with serving(recognizer(recognition=recognition)) as client:
        assert "the embedding is short" in " ".join(client.post("/v1/compare", *pair).json["notes"])
        strict = client.post("/v1/compare", *pair, ("strict", "true"))
        assert problem(strict, 422, "doubtful-image").startswith("`first`: ")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("first", image(1))], "second"),
        ([("first", image(1)), ("first", image(1)), ("second", image(2))], "first"),
        ([("first", image(1)), ("second", "text")], "second"),
        ([("first", image(1)), ("second", image(2)), ("fmr", "nan")], "fmr"),
        ([("first", image(1)), ("second", image(2)), ("crops", "maybe")], "crops"),
        ([("first", image(1)), ("second", image(2)), ("policy", "all")], "policy"),
    ],
)
def test_fields_that_do_not_fit_are_named(client, parts, field):
    answer = client.post("/v1/compare", *parts)
    problem(answer, 422, "bad-field")
    assert answer.json["field"] == field


def test_methods_that_callers_make_up_are_not_counted_apart(client):
    for method in ("ANY", "WORD"):
        problem(client.ask(method, "/healthz"), 405, "no-such-method")
    counted = client.ask("GET", "/metrics").body.decode()
    assert 'method="",route="/healthz",status="405"} 2.0' in counted
    assert "WORD" not in counted


def test_errors_of_addresses_have_the_same_form(client):
    problem(client.ask("GET", "/v2/compare"), 404, "no-such-page")
    problem(client.ask("GET", "/v1/compare"), 405, "no-such-method")
    assert "limit" in problem(client.ask("GET", "/v1/identities?limit=0"), 422, "bad-parameter")
    problem(client.ask("POST", "/v1/compare", b"{}", Content_Type="text/json"), 415, "not-a-form")


def test_without_a_gallery_only_comparisons_are_answered():
    with serving(recognizer()) as client:
        problem(client.post("/v1/identify", ("image", image(1))), 404, "no-gallery")
        problem(client.ask("GET", "/v1/identities"), 404, "no-gallery")
        assert client.ask("GET", "/v1/model").json["has_gallery"] is False
        score = client.post("/v1/compare", ("first", image(1)), ("second", image(1))).json
        assert (score["answer"], score["threshold"]) == ("The score is 1.000.", None)


def test_a_key_is_asked_for_everything_that_tells_something():
    with serving(recognizer(), key=KEY) as client:
        assert client.ask("GET", "/v1/model").status == 200
        client.key = ""
        for path in ("/v1/model", "/v1/identities", "/metrics"):
            answer = client.ask("GET", path)
            problem(answer, 401, "no-key")
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(client.post("/v1/compare", ("first", image(1))), 401, "no-key")
        for wrong in ("", KEY[:-1], KEY + "x", f"ü{KEY}"):
            with_wrong = client.ask("GET", "/v1/model", Authorization=f"Bearer {wrong}")
            problem(with_wrong, 401, "no-key")
        problem(client.ask("GET", "/v1/model", Authorization=f"Basic {KEY}"), 401, "no-key")
        for path in ("/", "/healthz", "/docs", "/openapi.json", "/service.js", "/service.css"):
            assert client.ask("GET", path).status == 200
        # The key does what without one the names of hosts and origins do.
        far = {"Host": "faces.example", "Origin": "https://faces.example"}
        assert client.ask("GET", "/v1/model", Authorization=f"bearer {KEY}", **far).status == 200


def test_without_a_key_pages_of_other_sites_are_not_answered(client):
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "localhost@evil.example", "["):
        problem(client.ask("GET", "/v1/model", Host=host), 403, "other-host")
    for host in ("localhost", "LOCALHOST:8000", "[::1]:8000", "127.0.0.1"):
        assert client.ask("GET", "/v1/model", Host=host).status == 200
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://["):
        answer = client.post("/v1/compare", ("first", image(1)), Origin=origin)
        problem(answer, 403, "other-origin")
    own = client.ask("GET", "/v1/model", Host="localhost:8000", Origin="http://localhost:8000")
    assert own.status == 200


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_what_comes_together_is_embedded_together_and_answered_apart(monkeypatch, seconds):
    monkeypatch.setattr(inference_queue, "FINDING_SECONDS", seconds)
    batches, go = [], threading.Event()

    def run(images):
        batches.append(len(images))
        if len(batches) > 2:  # after the two views of the warm-up
            go.wait(20)
        return corner(images)

    def compare(seed):
        return client.post("/v1/compare", ("first", image(seed)), ("second", image(seed + 50)))

    with serving(recognizer(run=run)) as client, concurrent.futures.ThreadPoolExecutor(9) as pool:
        jobs = [pool.submit(compare, seed) for seed in range(9)]
        wait_for_requests(client, 9)
        go.set()
        answers = [job.result() for job in jobs]
        expected = [
            recognizer().compare(image(seed), image(seed + 50), detect=False) for seed in range(9)
        ]
        scores = [answer.json["score"] for answer in answers]
        np.testing.assert_allclose(scores, [one.score for one in expected], atol=1e-6)
        assert batches[:2] == [32, 32]  # the warm-up, of a full batch
        # A request alone has two faces; where detection takes long, none waits for others.
        assert (max(batches[2:]) > 2) == (seconds > 0)
        assert metric(client, "sphereface_faces_total") == 18


def metric(client, name):
    lines = client.ask("GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def wait_for_requests(client, count):
    end = time.monotonic() + 20
    while metric(client, "sphereface_requests_in_service") < count:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_full_queue_is_said_at_once_and_a_slow_answer_in_time():
    go = threading.Event()
    calls = []

    def run(images):
        calls.append(1)
        if len(calls) > 2:
            go.wait(20)
        return corner(images)

    pair = ("first", image(1)), ("second", image(2))
    with (
        serving(recognizer(run=run), queue_size=2, answer_seconds=1.0) as client,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        slow = [pool.submit(client.post, "/v1/compare", *pair) for _ in range(2)]
        wait_for_requests(client, 2)
        full = client.post("/v1/compare", *pair)
        problem(full, 503, "queue-full")
        assert int(full.headers["retry-after"]) >= 1
        for job in slow:
            problem(job.result(), 504, "too-long")
        go.set()
        assert client.post("/v1/compare", *pair).status == 200


def test_one_face_without_an_embedding_spoils_no_other_request():
    go, calls = threading.Event(), []

    def run(images):
        calls.append(1)
        if len(calls) > 2:
            go.wait(20)
        rows = corner(images)
        rows[images.reshape(len(images), -1).max(axis=1) == 0] = 0
        return rows

    black = io.BytesIO()
    Image.new("RGB", (96, 112)).save(black, "PNG")
    with serving(recognizer(run=run)) as client, concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(client.post, "/v1/compare", ("first", content), ("second", content))
            for content in (image(1), black.getvalue(), image(2))
        ]
        wait_for_requests(client, 3)
        go.set()
        assert [job.result().status for job in jobs] == [200, 500, 200]


def test_the_log_tells_neither_names_nor_contents(tmp_path, caplog):
    def fails(images):
        if images.reshape(len(images), -1).mean(axis=1).min() < 20:
            raise OverflowError(SECRET)
        return corner(images)

    dark = io.BytesIO()
    Image.new("RGB", (96, 112)).save(dark, "PNG")
    caplog.set_level(logging.DEBUG)
    with serving(recognizer(run=fails), str(tmp_path / "people.db")) as client:
        client.post("/v1/identities", ("name", "zoe"), ("images", image(1)))
        client.ask("DELETE", "/v1/identities/zoe")
        client.ask("GET", "/v1/identities?after=zoe")
        client.ask("GET", "/zoe")
        client.ask("DELETE", "/v1/identities/zoe")
        client.post("/v1/identities", ("name", "zoe\n"), ("images", image(1)))
        fault = client.post("/v1/compare", ("first", dark.getvalue()), ("second", image(1)))
        assert "OverflowError" not in problem(fault, 500, "fault")
        assert fault.headers["x-request-id"] == fault.json["id"]
        text = client.ask("GET", "/metrics").body.decode()
    assert "zoe" not in caplog.text + text
    assert SECRET not in caplog.text
    assert "has failed: OverflowError" in caplog.text
    assert "POST /v1/identities 201" in caplog.text
    assert "- none 404 no-such-page" in caplog.text


def test_pages_load_nothing_from_elsewhere(client):
    page = client.ask("GET", "/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    for path in ("/", "/docs", "/service.js", "/service.css"):
        answer = client.ask("GET", path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        text = answer.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path
    docs = client.ask("GET", "/docs").body.decode()
    for path in client.ask("GET", "/openapi.json").json["paths"]:
        assert path in docs
    assert "script-src" not in client.ask("GET", "/docs").headers["content-security-policy"]


def test_detection_gets_upright_pixels():
    seen = []

    def detect(pixels):
        seen.append(pixels.shape)
        return DetectedFaces(*faces_at((0, 0, 1))(pixels))

    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    Image.new("RGB", (200, 120), "gray").save(buffer, "JPEG", exif=exif)
    with serving(recognizer(detect), detect=True) as client:
        parts = ("first", buffer.getvalue()), ("second", buffer.getvalue())
        answer = client.post("/v1/compare", *parts)
    assert seen[1:] == [(200, 120, 3)] * 2  # the first is the warm-up
    assert answer.json["faces"][0]["image_size"] == [200, 120]
