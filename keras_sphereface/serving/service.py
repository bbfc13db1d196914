"""`RecognitionService`: comparisons, identifications and enrollments of many callers at once."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from keras_sphereface.data.keys import canonical_name
from keras_sphereface.recognition.face_recognizer import FaceRecognizer
from keras_sphereface.recognition.gallery import Gallery
from keras_sphereface.serving import answers
from keras_sphereface.serving.inference_queue import EmbeddedFace, InferenceQueue, Upload
from keras_sphereface.serving.limits import ServiceLimits
from keras_sphereface.serving.metrics import ServiceMetrics
from keras_sphereface.serving.problems import ProblemError
from keras_sphereface.utils.text import counted
from keras_sphereface.version import __version__

MAX_NAME_LENGTH = 200
MAX_TOP = 100
MAX_PAGE = 1000  # identities

Result = TypeVar("Result")


class RecognitionService:
    """A recognizer and a gallery for many callers at once.

    Its methods are coroutines; `start` before the first of them, `stop` after the last.

    Args:
        recognizer: The recognizer; from `start` on only the service uses it.
        gallery: Path or URL of a gallery, which is created if there is none; "": there is no
            gallery.
        detect: Bool. False if images are aligned faces.
        limits: Bounds of requests.

    Example:
        >>> import asyncio, pathlib
        >>> service = RecognitionService(FaceRecognizer.load("model"), "people.db", detect=False)
        >>> image = next(pathlib.Path("faces/images").rglob("*.jpg")).read_bytes()
        >>> service.start()
        >>> added = asyncio.run(service.enroll("ada", [image], strict=False))
        >>> answer = asyncio.run(service.identify(image))
        >>> service.stop()
        >>> added.num_added, answer.candidates[0].name, answer.is_known
        (1, 'ada', None)
    """

    def __init__(
        self,
        recognizer: FaceRecognizer,
        gallery: str = "",
        *,
        detect: bool = True,
        limits: ServiceLimits = ServiceLimits(),
    ) -> None:
        self.limits, self.metrics = limits, ServiceMetrics()
        self._recognizer, self._detect = recognizer, detect
        self._path = gallery
        self._in_service, self._is_started, self._is_stopped = 0, False, False
        self._searched: Gallery | None = None  # of the thread of the queue
        self._changed: Gallery | None = None  # of the thread of changes, which may wait for others
        self._changes = concurrent.futures.ThreadPoolExecutor(1, "gallery")
        self._queue = InferenceQueue(
            recognizer, detect, limits.batch_size, self.metrics, self._open, self._close
        )

    def start(self) -> None:
        """Open the gallery and begin to answer; a second call does nothing.

        Raises:
            ValueError: If the gallery is one of another network.
        """
        if self._is_started:
            return
        self._is_started = True
        if self._path:
            self._changes.submit(self._open_changed).result()
        self._queue.start()

    def stop(self) -> None:
        """Answer what waits, and close the gallery; a second call does nothing."""
        if not self._is_started or self._is_stopped:
            return
        self._is_stopped = True
        self._queue.stop()
        if self._path:
            self._changes.submit(self._close_changed).result()
        self._changes.shutdown()

    def _open_changed(self) -> None:
        fingerprint = self._recognizer.fingerprint
        try:
            self._changed = Gallery.open(self._path, fingerprint)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another service may be starting too
                Gallery.create(self._path, fingerprint).close()
            self._changed = Gallery.open(self._path, fingerprint)
        self.metrics.identities.set(len(self._changed))

    def _close_changed(self) -> None:
        if self._changed is not None:
            self._changed.close()

    def _open(self) -> None:
        if self._path:
            self._searched = Gallery.open(self._path, self._recognizer.fingerprint)

    def _close(self) -> None:
        if self._searched is not None:
            self._searched.close()

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._queue.is_alive

    @property
    def has_gallery(self) -> bool:
        """Whether there is a gallery."""
        return bool(self._path)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place in service for a request, from its first byte to its answer.

        Raises:
            ProblemError: 503 if all are taken, with the seconds after which one is likely free.
        """
        if self._in_service >= self.limits.queue_size:
            seconds = math.ceil(self._in_service * self._queue.seconds_each)
            raise ProblemError(
                503,
                "queue-full",
                f"{counted(self._in_service, 'request is', 'requests are')} in service already; "
                "try again later.",
                {"Retry-After": str(max(1, seconds))},
            )
        self._in_service += 1
        self.metrics.in_service.set(self._in_service)
        try:
            yield
        finally:
            self._in_service -= 1
            self.metrics.in_service.set(self._in_service)

    def model(self) -> answers.ModelAnswer:
        """Return what is known of the network, and what the service allows."""
        recognition, notes = self._recognizer.calibration(self._detect)
        calibration = None
        if recognition is not None:
            thresholds = tuple(
                answers.ThresholdAnswer(fmr=one.fmr, threshold=one.threshold)
                for one in recognition.thresholds
            )
            calibration = answers.CalibrationAnswer(
                slope=recognition.slope,
                offset=recognition.offset,
                cllr=recognition.cllr,
                thresholds=thresholds,
                data=recognition.data,
                date=recognition.date,
            )
        return answers.ModelAnswer(
            name=self._recognizer.network.name,
            fingerprint=self._recognizer.fingerprint,
            version=__version__,
            image_size=self._recognizer.network.image_size,
            detects_faces=self._detect,
            has_gallery=self.has_gallery,
            calibration=calibration,
            notes=tuple(notes),
            max_body_bytes=self.limits.max_body_bytes,
            max_pixels=self.limits.max_pixels,
            max_images=self.limits.max_images,
        )

    async def compare(
        self,
        first: bytes,
        second: bytes,
        *,
        fmr: float | None = None,
        policy: str = "exactly-one",
        strict: bool = False,
        crops: bool = False,
    ) -> answers.CompareAnswer:
        """Compare the faces of two encoded images.

        Args:
            first: Bytes of a JPEG, PNG or WebP file.
            second: Bytes of another.
            fmr: Float. Wanted false match rate, one of those of the calibration; None: as
                `FaceRecognizer.compare`.
            policy: "exactly-one", "largest" or "center".
            strict: Bool. True to refuse faces of poor quality.
            crops: Bool. True to return the aligned faces too.

        Raises:
            ProblemError: For an image that is refused, an `fmr` without threshold, or in place of
                an answer that takes too long.
        """

        def finish(faces: list[EmbeddedFace]) -> answers.CompareAnswer:
            try:
                comparison = self._recognizer.compare_rows(
                    np.stack([one.row for one in faces]),
                    [one.face for one in faces],
                    fmr=fmr,
                    detect=self._detect,
                    names=("first", "second"),
                )
            except ValueError as error:
                raise ProblemError(422, "no-threshold", str(error), field="fmr") from None
            return answers.compare_answer(comparison, (faces[0], faces[1]), crops)

        fields = zip(("first", "second"), (first, second), strict=True)
        uploads = [Upload(field, content, policy, strict) for field, content in fields]
        return await self._embedded(uploads, finish)

    async def identify(
        self,
        image: bytes,
        *,
        top: int = 5,
        fpir: float | None = None,
        policy: str = "exactly-one",
        strict: bool = False,
        crops: bool = False,
    ) -> answers.IdentifyAnswer:
        """Look for the face of an encoded image in the gallery.

        Args:
            image: Bytes of a JPEG, PNG or WebP file.
            top: Int in [1, 100]. Number of candidates.
            fpir: Float in (0, 1). Wanted false positive identification rate; None: as
                `FaceRecognizer.identify`.
            policy: As in `compare`.
            strict: As in `compare`.
            crops: As in `compare`.

        Raises:
            ProblemError: As `compare`, or without a gallery.
        """
        self._check_gallery()

        def finish(faces: list[EmbeddedFace]) -> answers.IdentifyAnswer:
            assert self._searched is not None
            (one,) = faces
            try:
                (found,) = self._recognizer.identify_rows(
                    one.row[None],
                    [one.face],
                    self._searched,
                    top=top,
                    fpir=fpir,
                    detect=self._detect,
                )
            except ValueError as error:
                raise ProblemError(422, "no-threshold", str(error), field="fpir") from None
            candidates = tuple(
                answers.candidate_answer(
                    candidate.name, candidate.score, candidate.log_likelihood_ratio
                )
                for candidate in found.candidates
            )
            return answers.IdentifyAnswer(
                name=found.name,
                is_known=found.is_known,
                threshold=found.threshold,
                fpir=found.fpir,
                num_identities=found.num_identities,
                candidates=candidates,
                answer=found.describe(),
                notes=found.notes,
                face=answers.face_answer(one, crops),
            )

        return await self._embedded([Upload("image", image, policy, strict)], finish)

    async def enroll(
        self,
        name: str,
        images: Sequence[bytes],
        *,
        policy: str = "exactly-one",
        strict: bool = True,
        crops: bool = False,
    ) -> answers.EnrollAnswer:
        """Enroll the faces of encoded images under a name, all or none.

        The same image again adds nothing. Images are not kept.

        Args:
            name: Name of the identity, new or enrolled.
            images: Bytes of JPEG, PNG or WebP files.
            policy: As in `compare`.
            strict: As in `compare`: a poor template spoils every later search.
            crops: As in `compare`.

        Raises:
            ProblemError: As `compare`, for a name that cannot be used, or without a gallery.
        """
        self._check_gallery()
        check_identity_name(name)
        uploads = [Upload("images", content, policy, strict) for content in images]
        faces = await self._embedded(uploads, lambda faces: faces)

        def change(gallery: Gallery) -> int:
            return gallery.enroll(
                name,
                np.stack([one.row for one in faces]),
                sources=[f"sha256:{hashlib.sha256(content).hexdigest()}" for content in images],
            )

        return answers.EnrollAnswer(
            name=canonical_name(name),
            num_added=await self._change(change),
            faces=tuple(answers.face_answer(one, crops) for one in faces),
        )

    async def identities(self, after: str = "", limit: int = 100) -> answers.IdentitiesAnswer:
        """Return enrolled identities by name.

        Args:
            after: Name after which they begin; "": at the first.
            limit: Int in [1, 1000]. Number of identities.

        Raises:
            ProblemError: Without a gallery, or in place of an answer that takes too long.
        """
        self._check_gallery()

        def finish(_: list[EmbeddedFace]) -> answers.IdentitiesAnswer:
            assert self._searched is not None
            total = len(self._searched)
            self.metrics.identities.set(total)
            # One more tells whether another page follows; a gallery may be too large to list.
            listed = self._searched.identities(after, limit + 1)
            page = listed[:limit]
            return answers.IdentitiesAnswer(
                total=total,
                identities=tuple(
                    answers.IdentityAnswer(name=one.name, num_templates=one.num_templates)
                    for one in page
                ),
                next=page[-1].name if len(listed) > limit else None,
            )

        return await self._embedded([], finish)

    async def remove(self, name: str) -> answers.RemoveAnswer:
        """Remove an identity, so that nothing of it remains in the file of the gallery.

        Raises:
            ProblemError: 404 if it is not enrolled.
        """
        self._check_gallery()

        def change(gallery: Gallery) -> bool:
            if name not in gallery:
                raise ProblemError(404, "not-enrolled", "No identity of this name is enrolled.")
            try:
                gallery.remove(name)
            except BlockingIOError:
                if name in gallery:
                    raise
                return False
            return True

        return answers.RemoveAnswer(erased=await self._change(change))

    def _check_gallery(self) -> None:
        if not self.has_gallery:
            raise ProblemError(
                404, "no-gallery", "The service has no gallery: start it with --gallery FILE."
            )

    async def _embedded(
        self, uploads: Sequence[Upload], finish: Callable[[list[EmbeddedFace]], Result]
    ) -> Result:
        return await self._in_time(self._queue.submit(uploads, finish))

    async def _change(self, change: Callable[[Gallery], Result]) -> Result:
        """Change the gallery, in the thread for it."""

        def changed() -> Result:
            assert self._changed is not None
            try:
                result = change(self._changed)
            except BlockingIOError:
                raise ProblemError(
                    503,
                    "gallery-busy",
                    "Another process is writing to the gallery; try again later.",
                    {"Retry-After": "30"},
                ) from None
            self.metrics.identities.set(len(self._changed))
            return result

        return await self._in_time(self._changes.submit(changed))

    async def _in_time(self, future: "concurrent.futures.Future[Any]") -> Any:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.answer_seconds)
        except ConnectionError:  # of a gallery in a database; the next request connects anew
            raise ProblemError(
                503,
                "gallery-unreachable",
                "The database of the gallery cannot be reached; try again later.",
                {"Retry-After": "5"},
            ) from None
        except asyncio.TimeoutError:
            raise ProblemError(
                504,
                "too-long",
                f"There is no answer within {self.limits.answer_seconds:g} seconds. A change of "
                "the gallery may still take place.",
            ) from None


def check_identity_name(name: str) -> None:
    """Refuse a name that cannot be enrolled, without repeating it.

    Raises:
        ProblemError: 422.
    """
    is_text = name.strip() == name and name.isprintable() and 0 < len(name) <= MAX_NAME_LENGTH
    if not is_text:
        raise ProblemError(
            422,
            "bad-name",
            f"`name` must have 1 to {MAX_NAME_LENGTH} printable characters, without spaces around "
            "them.",
            field="name",
        )
