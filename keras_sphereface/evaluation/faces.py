"""Faces by key: from a folder of images, from records, or from encoded images."""

import collections
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.data import alignment, images, records
from keras_sphereface.data.image_folder import ImageFolder
from keras_sphereface.data.keys import canonical_key
from keras_sphereface.data.landmarks import (
    landmark_notes,
    landmark_warnings,
    landmarks_of_keys,
    last_line_of,
    read_landmarks,
)
from keras_sphereface.recognition.face_recognizer import open_detector
from keras_sphereface.recognition.faces import detect_faces
from keras_sphereface.recognition.input_images import DoubtfulImageError
from keras_sphereface.utils.progress import log, progress_bar, warn_once

NO_IMAGE, NO_LANDMARKS = "no such image", "no landmarks"
Load = Callable[[str], np.ndarray]  # key -> uint8 (H, W, 3)


class MissingFaceError(ValueError):
    """A face that cannot be loaded; the message gives the reason.

    Example:
        >>> str(MissingFaceError(NO_LANDMARKS))
        'no landmarks'
    """


class FaceSources(NamedTuple):
    """Paths of the faces: a folder of images, with or without landmarks, or records.

    `landmark_columns` names the columns of the landmarks; "": find them out. `detector` finds the
    faces of images without landmarks, as `recognition.FaceRecognizer.load` takes it, and `policy`
    chooses among several faces of an image.

    Example:
        >>> FaceSources(images="faces/images", landmarks="faces/landmarks.txt").records
        ''
    """

    images: str = ""
    landmarks: str = ""
    records: str = ""
    landmark_columns: str = ""
    detector: str = ""
    policy: str = "center"


class Faces(NamedTuple):
    """Loaders of faces by key.

    Attributes:
        load: Function from a key to the face as the network sees it, uint8 (H, W, 3).
        crop: The same without alignment, where `load` aligns by landmarks; else None.

    Example:
        >>> faces = Faces(lambda key: np.zeros((112, 96, 3), np.uint8))
        >>> faces.load("any key").shape
        (112, 96, 3)
    """

    load: Load
    crop: Load | None = None


def check_face_files(sources: FaceSources) -> None:
    """Read what shows whether faces can be opened, so that a mistake shows before long work.

    Raises:
        FileNotFoundError, ValueError: If folder, landmarks or records cannot be used.
    """
    if sources.records:
        records.read_info(sources.records)
    if sources.images and not Path(sources.images).is_dir():
        raise FileNotFoundError(f"`images` must be a folder. Received: {sources.images}")
    if sources.landmarks:
        read_landmarks(sources.landmarks, sources.landmark_columns)
    if sources.detector and (sources.landmarks or sources.records or not sources.images):
        raise ValueError(
            "`detector` looks for faces in `images` without `landmarks`. Received: "
            f"{ ({name: value for name, value in sources._asdict().items() if value}) }"
        )


def open_faces(sources: FaceSources, keys: Sequence[str], image_size: tuple[int, int]) -> Faces:
    """Open the faces of images in a folder or in records.

    Args:
        sources: Paths of the images, with their landmarks, or of the records.
        keys: Keys of the faces that are needed; of records only these are kept in memory.
        image_size: (height, width) of the faces in pixels.

    Raises:
        FileNotFoundError, ValueError: If folder, landmarks or records cannot be used.

    Example:
        >>> sources = FaceSources("faces/images", "faces/landmarks.txt")
        >>> keys = sorted(read_landmarks("faces/landmarks.txt"))
        >>> open_faces(sources, keys, (112, 96)).load(keys[0]).shape
        (112, 96, 3)
    """
    if sources.records:
        wanted = set(keys)
        total = records.read_info(sources.records).num_images
        found = records.read_folder(sources.records)
        bar = progress_bar(found, total=total, desc="reading records", unit="image", brief=True)
        kept = _images_of_records(bar, wanted)
        return encoded_faces(kept.__getitem__, image_size)
    check_face_files(sources._replace(landmarks=""))
    folder = ImageFolder(sources.images)

    def read(key: str) -> bytes:
        return (folder.path_of(key) or folder.root / key).read_bytes()

    cropped = encoded_faces(read, image_size)
    if sources.detector:
        return Faces(_detected_faces(read, sources, image_size), cropped.load)
    if not sources.landmarks:
        return cropped
    file, columns = sources.landmarks, sources.landmark_columns
    for note in landmark_notes(file, columns):
        log(note)
    warn_once(landmark_warnings(file, columns), set())
    landmarks = landmarks_of_keys(read_landmarks(file, columns), keys)

    def align(key: str) -> np.ndarray:
        if key not in landmarks:
            raise MissingFaceError(NO_LANDMARKS if folder.path_of(key) else NO_IMAGE)
        image = _decoded(read, key)
        try:
            return alignment.align_known(image, landmarks[key], image_size)
        except ValueError as error:
            line = last_line_of(file, key, columns)
            raise ValueError(f"{file}, line {line}, {key}: {error}") from None

    return Faces(align, cropped.load)


def _detected_faces(
    read: Callable[[str], bytes], sources: FaceSources, image_size: tuple[int, int]
) -> Load:
    """A loader that detects and aligns; an image without a face is missing, with the reason."""
    template = alignment.landmark_template(image_size)
    of_thread = threading.local()  # a detector serves one thread, and `load_faces` has several

    def load(key: str) -> np.ndarray:
        if not hasattr(of_thread, "detector"):
            of_thread.detector = open_detector(sources.detector)
        image = _decoded(read, key)
        try:
            (face,) = detect_faces(
                image, key, of_thread.detector, sources.policy, image_size, template
            )
        except DoubtfulImageError as error:
            raise MissingFaceError(error.reason) from None
        return face.crop

    return load


def _images_of_records(found: Iterable[records.Record], keys: set[str]) -> dict[str, bytes]:
    """Return the images of these keys; the suffix of a key may be another than in the records."""
    by_stem = {canonical_key(key): key for key in sorted(keys)}
    images: dict[str, bytes] = {}
    taken: dict[str, str] = {}
    for record in found:
        key = record.key if record.key in keys else by_stem.get(canonical_key(record.key))
        if key is None:
            continue
        before = taken.get(key)
        if before is None or record.key == key:
            images[key], taken[key] = record.image, record.key
        if before is not None and key not in (before, record.key):
            log(f"{key} may be {before} or {record.key} of the records; {taken[key]} is taken.")
    return images


def encoded_faces(read: Callable[[str], bytes], image_size: tuple[int, int]) -> Faces:
    """Return loaders that decode images and crop them to `image_size`, (height, width).

    Args:
        read: Function from a key to the bytes of a JPEG, PNG or other image. It raises KeyError
            or OSError for an image that cannot be read.
        image_size: (height, width) of the faces in pixels.
    """

    def load(key: str) -> np.ndarray:
        image = _decoded(read, key)
        return image if image.shape[:2] == image_size else images.crop_to(image, image_size)

    return Faces(load)


def _decoded(read: Callable[[str], bytes], key: str) -> np.ndarray:
    try:
        return images.decode(read(key))
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise MissingFaceError(NO_IMAGE) from None
    except OSError as error:
        raise MissingFaceError(f"cannot be read: {error.strerror}") from None
    except images.UnreadableImageError as error:
        raise MissingFaceError(f"cannot be read: {error}") from None


def load_faces(
    keys: Iterable[str], load: Load, missing: dict[str, str], ahead: int = 64
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield keys and their faces in order, loaded ahead by as many threads as there are cores.

    Args:
        keys: Keys of the faces.
        load: Function from a key to a face.
        missing: Receives {key: reason} of the faces that cannot be loaded.
        ahead: Int. Number of faces that are loaded before they are asked for.
    """
    remaining = iter(keys)
    waiting: collections.deque[tuple[str, Future[np.ndarray]]] = collections.deque()
    with ThreadPoolExecutor(os.cpu_count()) as threads:

        def submit(count: int) -> None:
            for key in itertools.islice(remaining, count):
                waiting.append((key, threads.submit(load, key)))

        submit(ahead)
        try:
            while waiting:
                key, future = waiting.popleft()
                try:
                    face = future.result()
                except MissingFaceError as error:
                    missing[key] = str(error)
                    continue
                finally:
                    submit(1)
                yield key, face
        finally:
            for _, future in waiting:
                future.cancel()
