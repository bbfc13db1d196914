"""Which face of an image is meant: detected, at known points, or the image itself."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from keras_sphereface.data.filenames import is_hidden, is_image_name
from keras_sphereface.data.landmarks import (
    landmark_notes,
    landmark_warnings,
    landmarks_of_keys,
    read_landmarks,
)
from keras_sphereface.recognition.face_recognizer import FaceRecognizer
from keras_sphereface.recognition.faces import Face
from keras_sphereface.recognition.input_images import DoubtfulImageError, InputImage
from keras_sphereface.utils.progress import log, warn_once

NO_LANDMARKS_OF_IMAGE = "no landmarks"


@dataclasses.dataclass(frozen=True)
class FaceFinder:
    """A recognizer with the choice of the face of each image.

    Attributes:
        recognizer: The recognizer.
        detect: Bool. False if the images are aligned faces.
        policy: As in `FaceRecognizer.find_faces`.
        strict: Bool. True to refuse faces of poor quality.
        landmarks: {name of an image: (5, 2) points}, in place of detection; None: no points are
            known.
    """

    recognizer: FaceRecognizer
    detect: bool = True
    policy: str = "exactly-one"
    strict: bool = False
    landmarks: Mapping[str, np.ndarray] | None = None

    def face(self, image: InputImage, name: str) -> Face:
        """Return the face of an image with this name.

        Raises:
            DoubtfulImageError, FileNotFoundError, ValueError: As `FaceRecognizer.one_face`, or if
                there are no landmarks for the name.
        """
        return self.recognizer.one_face(
            image,
            detect=self.detect,
            policy=self.policy,
            strict=self.strict,
            name=name,
            points=self._points(name),
        )

    def faces(self, image: InputImage, name: str) -> list[Face]:
        """Return the face of `face`, or by the policy "all" every face that is not refused."""
        if self.policy != "all":
            return [self.face(image, name)]
        points = self._points(name)
        faces = self.recognizer.find_faces(image, detect=self.detect, name=name, points=points)
        kept = [face for face in faces if not (self.strict and face.quality.warnings)]
        if not kept:
            raise DoubtfulImageError(name, "; ".join(faces[0].quality.warnings))
        return kept

    def views_of(self, faces: Mapping[str, Face]) -> tuple[np.ndarray, dict[str, str]]:
        """Embed N >= 1 faces of these names.

        Returns:
            float32 (N, V, D) as `FaceRecognizer.views_of`, and {name: reason} of those that are
            to be refused with `strict` by the length of their embedding.
        """
        views = self.recognizer.views_of(list(faces.values()))
        judged = self.recognizer.judged_faces(list(faces.values()), views)
        warnings = [face.quality.warnings for face in judged] if self.strict else []
        return views, {name: "; ".join(of) for name, of in zip(faces, warnings, strict=False) if of}

    def _points(self, name: str) -> np.ndarray | None:
        if self.landmarks is None:
            return None
        if name not in self.landmarks:
            raise DoubtfulImageError(name, NO_LANDMARKS_OF_IMAGE)
        return self.landmarks[name]


def landmarks_of_images(
    path: str | os.PathLike, names: Iterable[str], columns: str = ""
) -> dict[str, np.ndarray]:
    """Return {name: (5, 2) points} of images from a landmark file, as far as it has them.

    Names may differ from those in the file as `data.keys.matched_keys` allows.

    Raises:
        ValueError: As `data.landmarks.read_landmarks`.
    """
    for note in landmark_notes(path, columns):
        log(note)
    warn_once(landmark_warnings(path, columns), set())
    return landmarks_of_keys(read_landmarks(path, columns), names)


def images_below(folder: str | os.PathLike) -> list[str]:
    """Return the paths of all images below a folder, relative to it, with slashes, sorted.

    Raises:
        ValueError: If there is none.
    """
    root = Path(folder)
    keys = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if is_image_name(path.name) and not is_hidden(path.name) and path.is_file()
    )
    if not keys:
        raise ValueError(f"The folder must hold images. Received: {folder}, without any")
    return keys


def image_paths(paths: Iterable[str]) -> list[str]:
    """Return the paths of images: files as they are, and of folders all images below.

    Raises:
        ValueError: If a folder has none.
    """
    return [
        image
        for path in paths
        for image in (
            [f"{path.rstrip('/')}/{key}" for key in images_below(path)]
            if os.path.isdir(path)
            else [path]
        )
    ]
