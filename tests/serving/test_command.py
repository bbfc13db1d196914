"""`sphereface serve` as a process: its start, its mistakes, and its end."""

import contextlib
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest.importorskip("fastapi")

from keras_sphereface.commands.main import main
from keras_sphereface.recognition import Gallery
from keras_sphereface.serving.access import check_binding, is_loopback, read_api_key
from keras_sphereface.serving.server import open_socket
from tests.conftest import ROOT
from tests.export.test_runtime import foreign_onnx, needs_onnx
from tests.helpers.service import Client, form, image

CODE = (
    "import sys; sys.argv[0] = 'sphereface'; from keras_sphereface.commands.main import main;"
    "status = main(sys.argv[1:]); print(status, *{name.partition('.')[0] for name in sys.modules})"
)
# What the image of docker/Dockerfile installs.
IMAGE_REQUIREMENTS = [
    Requirement(line)
    for line in (ROOT / "docker" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    foreign_onnx(path)
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Received: neither"),
        ("--aligned --host 0.0.0.0", "needs an API key"),
        ("--aligned --port 70000", "`port` must be at most 65535"),
        ("--aligned --queue-size 0", "`queue_size` must be at least 1"),
        ("--aligned --answer-seconds 0", "`answer_seconds` must be a finite number >= 0.1"),
        ("--aligned --api-key-file short.txt", "at least 16 printable"),
    ],
)
def test_mistakes_are_answered(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPHEREFACE_API_KEY", raising=False)
    (tmp_path / "net.onnx").write_bytes(b"")
    (tmp_path / "short.txt").write_text("secret")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--model", "net.onnx", *words.split()])
    assert ended.value.code == 1
    written = capsys.readouterr().err
    assert message in written
    assert "secret" not in written


def test_the_key_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SPHEREFACE_API_KEY", "from-the-environment")
    assert read_api_key() == "from-the-environment"
    path = tmp_path / "key"
    path.write_text("from-the-file-0123\nand more\n")
    assert read_api_key(str(path)) == "from-the-file-0123"
    for bad in ("", "with a space in it", "ümlaut-ümlaut-ümlaut"):
        monkeypatch.setenv("SPHEREFACE_API_KEY", bad)
        with pytest.raises(ValueError, match="API key must"):
            read_api_key()
    monkeypatch.delenv("SPHEREFACE_API_KEY")
    assert read_api_key() == ""


def test_only_this_machine_needs_no_key():
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        check_binding(host, "")
    for host in ("", "0.0.0.0", "::", "192.168.0.4", "localhost.example", "127.0.0.1.example"):
        assert not is_loopback(host)
        with pytest.raises(ValueError, match="needs an API key"):
            check_binding(host, "")
        check_binding(host, "0123456789abcdef")


def test_answers_are_sent_at_once():
    with open_socket("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # see there


def test_a_port_that_is_taken_is_said():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"choose another --port.*port {port}"):
            open_socket("127.0.0.1", port)


@needs_onnx
@pytest.mark.slow
def test_a_gallery_of_another_network_is_refused(model, tmp_path, capsys):
    path = tmp_path / "people.db"
    Gallery.create(path, "another").close()
    words = f"serve --model {model} --aligned --port 0 --gallery {path}"
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 1
    written = capsys.readouterr()
    assert "come from another model" in written.err
    assert "serving at" not in written.out


def test_the_image_has_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = sum((extras[name] for name in ("onnx", "detect", "serve")), project["dependencies"])
    asked = {one.name: one.specifier for one in map(Requirement, lines)}
    for requirement in IMAGE_REQUIREMENTS:
        assert asked[requirement.name] == requirement.specifier, requirement


def installed_with(requirements):
    """The names of distributions that come with requirements."""
    names, rest = set(), [canonicalize_name(one.name) for one in requirements]
    while rest:
        name = rest.pop()
        if name in names:
            continue
        names.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            further = map(Requirement, importlib.metadata.requires(name) or [])
            rest += [
                canonicalize_name(one.name)
                for one in further
                if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return names


def started(*words):
    """The process of a service, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "serve", "--aligned", "--port", "0", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, int(process.stdout.readline().split(":")[2].split("/")[0])


@needs_onnx
@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_caller(model):
    process, port = started("--model", str(model))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = b"POST /v1/compare HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head)  # and no body
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "is answered" not in errors


@needs_onnx
@pytest.mark.slow
def test_what_is_in_service_is_answered_before_the_end(model, tmp_path):
    process, port = started("--model", str(model), "--gallery", str(tmp_path / "people.db"))
    try:
        client = Client(port)
        assert client.ask("GET", "/healthz").json == {"status": "ok"}
        content_type, body = form(("first", image(1)), ("second", image(1)))
        head = (
            f"POST /v1/compare HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.encode() + body[:1000])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(ConnectionRefusedError):
                client.ask("GET", "/healthz")
            connection.sendall(body[1000:])
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        written, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    status, *modules = written.split()
    assert status == "0", errors
    assert "fastapi" in modules
    by_module = importlib.metadata.packages_distributions()
    imported = {
        canonicalize_name(name) for module in modules for name in by_module.get(module, [])[:1]
    }
    # Python's start brings setuptools where it is, and Pillow takes defusedxml where it is.
    elsewhere = {"keras-sphereface", "setuptools", "defusedxml"}
    assert imported - installed_with(IMAGE_REQUIREMENTS) <= elsewhere
    assert process.returncode == 0
    assert "stopped: what was in service is answered." in errors
    assert "POST /v1/compare 200" in errors
