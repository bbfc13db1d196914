"""One thread that answers all requests: what waits is decoded, detected and embedded together.

A network, a detector and a search serve one thread at a time. While the thread works on a batch,
further requests wait; the next batch takes all of them, up to a number of faces. A service that is
not busy therefore answers at once, and a busy one embeds many faces at once.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_sphereface.data import images
from keras_sphereface.recognition.face_recognizer import FaceRecognizer, refuse_doubtful
from keras_sphereface.recognition.faces import Face
from keras_sphereface.recognition.input_images import DoubtfulImageError
from keras_sphereface.serving.metrics import ServiceMetrics
from keras_sphereface.serving.problems import ProblemError
from keras_sphereface.serving.uploads import unreadable

DECODERS = 2  # threads; Pillow and OpenCV leave the lock of Python
FINDING_SECONDS = 0.25  # of detection, after which what is found is answered
SMOOTHING = 0.2  # weight of the newest batch in the mean time of a request


@dataclasses.dataclass(frozen=True)
class EmbeddedFace:
    """A face of an upload.

    Attributes:
        face: The face, with |x| in its quality.
        image_size: (height, width) of its image.
        row: float32 (D,) of unit length.
    """

    face: Face
    image_size: tuple[int, int]
    row: np.ndarray = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Upload:
    """An encoded image.

    Attributes:
        field: Its field in the form, for messages.
        content: The bytes.
        policy: Choice of its face: "exactly-one", "largest" or "center".
        strict: Bool. Whether a face of poor quality is refused.
    """

    field: str
    content: bytes = dataclasses.field(repr=False)
    policy: str = "exactly-one"
    strict: bool = False


@dataclasses.dataclass
class _Job:
    uploads: Sequence[Upload]
    finish: Callable[[list[EmbeddedFace]], Any]
    future: concurrent.futures.Future = dataclasses.field(default_factory=concurrent.futures.Future)
    found: list[tuple[Face, tuple[int, int]]] = dataclasses.field(default_factory=list)


class InferenceQueue:
    """The queue and its thread.

    Args:
        recognizer: The recognizer, which only this thread uses from now on.
        detect: Bool. False if uploads are aligned faces.
        batch_size: Int >= 1. Faces embedded at once.
        metrics: Counts faces and batches.
        begin: Function that the thread calls first; what it raises `start` raises.
        end: Function that the thread calls last.
    """

    def __init__(
        self,
        recognizer: FaceRecognizer,
        detect: bool,
        batch_size: int,
        metrics: ServiceMetrics,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self._recognizer, self._detect, self._batch_size = recognizer, detect, batch_size
        self._metrics, self._begin, self._end = metrics, begin, end
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._held: _Job | None = None  # taken, and too much for the batch before
        self._started: concurrent.futures.Future = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="inference")
        self.seconds_each = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Answer what waits, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def submit(
        self, uploads: Sequence[Upload], finish: Callable[[list[EmbeddedFace]], Any]
    ) -> concurrent.futures.Future:
        """Let the faces of uploads be embedded, and `finish` be called with them, in the thread.

        Returns:
            A future of what `finish` returns; `ProblemError` and others are its exceptions. It may
            be cancelled while it waits.
        """
        job = _Job(uploads, finish)
        self._waiting.put(job)
        return job.future

    def _run(self) -> None:
        try:
            self._begin()
            self._warm_up()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        with concurrent.futures.ThreadPoolExecutor(DECODERS, "decoding") as decoders:
            while batch := self._next_batch():
                began = time.monotonic()
                self._answer(batch, decoders)
                each = (time.monotonic() - began) / len(batch)
                self.seconds_each += SMOOTHING * (each - self.seconds_each)
        self._end()

    def _warm_up(self) -> None:
        """Prepare once what the first request, and the first full batch, would wait for.

        A runtime keeps the memory of the largest batch: it is taken now, and does not grow later.
        """
        size = (*self._recognizer.network.image_size, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        face = self._recognizer.one_face(noise, detect=False)
        self._recognizer.embed_faces([face] * self._batch_size)
        if self._detect and self._recognizer.detector is not None:
            self._recognizer.detector(noise)

    def _next_batch(self) -> list[_Job]:
        """What waits, at least one job, of at most a batch of faces; empty at the end."""
        job = self._held or self._waiting.get()
        self._held = None
        batch: list[_Job] = []
        count = 0
        while job is not None:
            count += len(job.uploads)
            if batch and count > self._batch_size:
                self._held = job
                break
            batch.append(job)
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                break
        else:
            if batch:  # the end comes after what was before it
                self._waiting.put(None)
        return batch

    def _answer(self, batch: list[_Job], decoders: concurrent.futures.Executor) -> None:
        jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
        decoded = _decoded(decoders, (one.content for job in jobs for one in job.uploads))
        ready: list[_Job] = []
        began = time.monotonic()
        for job in jobs:
            self._find_faces(job, decoded)
            if not job.future.done():
                ready.append(job)
            # Where detection takes long, the first of a batch do not wait for the last.
            if time.monotonic() - began >= FINDING_SECONDS:
                self._finish_all(ready)
                ready, began = [], time.monotonic()
        self._finish_all(ready)

    def _finish_all(self, jobs: list[_Job]) -> None:
        try:
            self._finish(jobs)
        except Exception:
            # One face may be to blame, such as one without an embedding: each job by itself.
            for job in jobs:
                if not job.future.done():
                    try:
                        self._finish([job])
                    except Exception as error:
                        job.future.set_exception(error)

    def _find_faces(self, job: _Job, decoded: Iterator[concurrent.futures.Future]) -> None:
        for upload, pixels in zip(job.uploads, decoded, strict=False):  # `decoded` goes on
            if job.future.done():
                continue
            try:
                job.found.append(self._find_face(upload, pixels.result()))
            except Exception as error:
                job.future.set_exception(error)

    def _find_face(self, upload: Upload, pixels: np.ndarray | None) -> tuple[Face, tuple[int, int]]:
        if pixels is None:
            raise unreadable(upload.field)
        try:
            face = self._recognizer.one_face(
                pixels,
                detect=self._detect,
                policy=upload.policy,
                strict=upload.strict,
                name=upload.field,
            )
        except DoubtfulImageError as error:
            raise _doubtful(error) from None
        return face, (pixels.shape[0], pixels.shape[1])

    def _finish(self, jobs: list[_Job]) -> None:
        found = [one for job in jobs for one in job.found]
        embedded: list[EmbeddedFace] = []
        for start in range(0, len(found), self._batch_size):
            part = found[start : start + self._batch_size]
            rows, faces = self._recognizer.embed_faces([face for face, _ in part])
            sizes = (size for _, size in part)
            embedded += map(EmbeddedFace, faces, sizes, rows)
            self._metrics.batch.observe(len(part))
            self._metrics.faces.inc(len(part))
        rest = iter(embedded)
        for job in jobs:
            of_job = list(itertools.islice(rest, len(job.found)))
            try:
                _refuse_poor(job.uploads, of_job)
                job.future.set_result(job.finish(of_job))
            except Exception as error:
                job.future.set_exception(error)


def _refuse_poor(uploads: Sequence[Upload], embedded: Sequence[EmbeddedFace]) -> None:
    """Refuse faces of poor quality, where that is asked: |x| is known only now."""
    for upload, one in zip(uploads, embedded, strict=True):
        if upload.strict:
            try:
                refuse_doubtful([one.face], [upload.field])
            except DoubtfulImageError as error:
                raise _doubtful(error) from None


def _doubtful(error: DoubtfulImageError) -> ProblemError:
    """The problem of an image under the name of its field."""
    detail = f"`{error.image}`: {error.reason}."
    return ProblemError(422, "doubtful-image", detail, field=error.image)


def _decode(content: bytes) -> np.ndarray | None:
    """The pixels, or None: the reason of Pillow may quote the file."""
    try:
        return images.decode(content)
    except (images.UnreadableImageError, MemoryError):
        return None


def _decoded(
    decoders: concurrent.futures.Executor, contents: Iterable[bytes]
) -> Iterator[concurrent.futures.Future]:
    """Yield futures of pixels in order, of which few are ever ahead: decoded images are large."""
    running: collections.deque[concurrent.futures.Future] = collections.deque()
    for content in contents:
        running.append(decoders.submit(_decode, content))
        if len(running) > DECODERS:
            yield running.popleft()
    yield from running
