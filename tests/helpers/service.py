"""A service on a port of this machine, with a network and a detector that are plain functions."""

import contextlib
import dataclasses
import http.client
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from keras_sphereface.data.detection import DetectedFaces, no_faces
from keras_sphereface.export.network import Network
from keras_sphereface.recognition import FaceRecognizer
from keras_sphereface.serving import RecognitionService, ServiceLimits, create_app
from keras_sphereface.serving.server import make_server, open_socket

SIZE = (112, 96)


@dataclasses.dataclass
class Answer:
    """An answer of the service."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests to a port, each on a connection of its own."""

    def __init__(self, port: int, key: str = "") -> None:
        self.port, self.key = port, key

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """The answer to a request; headers with underscores for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            # A refusal may come before the whole body is sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, *parts: tuple[str, Any], **headers: str) -> Answer:
        """The answer to a form of (name, text) and (name, bytes of a file)."""
        content_type, body = form(*parts)
        return self.ask("POST", path, body, **{"Content_Type": content_type, **headers})


def form(*parts: tuple[str, Any], filename: str = "image.jpg") -> tuple[str, bytes]:
    """The content type and the body of a form."""
    boundary = uuid.uuid4().hex
    lines = []
    for name, value in parts:
        of_file = f'; filename="{filename}"' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'
        content = value if isinstance(value, bytes) else value.encode()
        lines.append(head.encode() + content + b"\r\n")
    return f"multipart/form-data; boundary={boundary}", b"".join(lines) + f"--{boundary}--".encode()


def image(seed: int, kind: str = "PNG", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    """An encoded image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def corner(images: np.ndarray) -> np.ndarray:
    """A network: embeddings of 8 numbers from the left upper corner."""
    return images[:, :8, 0, 0].astype(np.float32) - 100


def no_detector(_: np.ndarray) -> DetectedFaces:
    """A detector that finds nothing."""
    return no_faces()


def recognizer(detector: Any = None, run: Any = corner, recognition: Any = None) -> FaceRecognizer:
    """A recognizer whose network is `corner`."""
    return FaceRecognizer(Network("corner", SIZE, None, 8, run), recognition, detector, "0" * 64)


@contextlib.contextmanager
def serving(
    of: FaceRecognizer,
    gallery: str = "",
    *,
    detect: bool = False,
    key: str = "",
    **limits: Any,
) -> Iterator[Client]:
    """A client of a service that runs as long as the block does."""
    bounds = ServiceLimits(**limits)
    service = RecognitionService(of, gallery, detect=detect, limits=bounds)
    server = make_server(create_app(service, key), bounds)
    listening = open_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        end = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the service has not started"
            assert time.monotonic() < end
            time.sleep(0.01)
        yield Client(port, key)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
