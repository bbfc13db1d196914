"""`FaceRecognizer`: from images to embeddings and to the answer whether two are one person."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_sphereface.data.alignment import landmark_template
from keras_sphereface.data.detection import Detector
from keras_sphereface.export.network import Network
from keras_sphereface.export.recognition_file import (
    OrdinaryNorms,
    Recognition,
    model_fingerprint,
    read_recognition,
    recognition_path,
)
from keras_sphereface.export.runtime import open_network
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition.comparison import (
    GENERATED_FACES,
    NO_CALIBRATION,
    Comparison,
    chosen_threshold,
)
from keras_sphereface.recognition.face_quality import with_norm
from keras_sphereface.recognition.faces import (
    POLICIES,
    Face,
    detect_faces,
    known_face,
    whole_image_as_face,
)
from keras_sphereface.recognition.gallery import Gallery, other_model_error
from keras_sphereface.recognition.identification import (
    EMPTY_GALLERY,
    GallerySize,
    Identification,
    identification_of,
    open_set_threshold,
)
from keras_sphereface.recognition.input_images import (
    DoubtfulImageError,
    InputImage,
    as_images,
    names_of,
    read_image,
)
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_choice, check_integer

BATCH_SIZE = 64
FIVE_POINTS = "five points"
USELESS_CLLR = 1.0  # bits: the cost of saying of every pair that both are as likely


class FaceRecognizer:
    """A network with its detector, its threshold and its calibration, from images to answers.

    Detection and alignment are inside: images are photographs with a face. Where they are aligned
    faces already, `detect=False` takes them as they are. An object serves one thread.

    Make one by `FaceRecognizer.load`.

    Args:
        network: The network.
        recognition: What its recognition.json says; None: it has none.
        detector: Function from an image, uint8 (H, W, 3) RGB, to its
            `data.detection.DetectedFaces`; None: only aligned faces can be given.
        fingerprint: Fingerprint of the network, for galleries; "": not known.

    Example:
        >>> recognizer = FaceRecognizer.load("model")
        >>> crops = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), np.uint8)
        >>> recognizer.embed(crops, detect=False).shape
        (2, 16)
        >>> comparison = recognizer.compare(*crops, detect=False)
        >>> comparison.threshold, comparison.notes[0]
        (None, 'The network has no recognition.json, ...')
        >>> gallery = Gallery.create("people.db", recognizer.fingerprint)
        >>> for name, row in zip(["ada", "bob"], recognizer.embed(crops, detect=False)):
        ...     added = gallery.enroll(name, [row])
        >>> answer = recognizer.identify(crops[1], gallery, top=1, detect=False)
        >>> answer.candidates[0].name, answer.is_known
        ('bob', None)
    """

    def __init__(
        self,
        network: Network,
        recognition: Recognition | None = None,
        detector: Detector | None = None,
        fingerprint: str = "",
    ) -> None:
        self.network = network
        self.recognition = recognition
        self.detector = detector
        self.fingerprint = fingerprint
        template = None if recognition is None else recognition.template
        self._template = (
            landmark_template(network.image_size) if template is None else np.array(template)
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike, detector: str | os.PathLike | Detector | None = None
    ) -> "FaceRecognizer":
        """Open a network and its recognition.json, if there is one.

        ONNX and, with `ai-edge-litert`, TensorFlow Lite run without TensorFlow.

        Args:
            path: An export of this package or another SavedModel folder, a .keras, .onnx or
                .tflite file.
            detector: "mtcnn" (`pip install 'keras-sphereface[detect]'`) or an .onnx file of YuNet,
                both without TensorFlow, or any function as in the class; None: only aligned faces
                can be given, with `detect=False`.

        Raises:
            FileNotFoundError, ValueError: If there is no such network, or its recognition.json is
                damaged or belongs to another network.
            ImportError: If what runs the network or the detector is not installed.
        """
        recognition = None
        network = open_network(path)
        fingerprint = model_fingerprint(path)
        if recognition_path(path).is_file():
            recognition = read_recognition(path)
            _check_recognition(recognition, network, fingerprint, path)
        return cls(network, recognition, open_detector(detector), fingerprint)

    @property
    def fusion(self) -> str:
        """ "concatenate": the embedding is joined with that of the mirror image; or "none"."""
        return "concatenate" if self.recognition is None else self.recognition.fusion

    def find_faces(
        self,
        image: InputImage,
        *,
        detect: bool = True,
        policy: str = "all",
        name: str = "",
        points: np.ndarray | None = None,
    ) -> list[Face]:
        """Return the faces of an image, aligned, from left to right.

        Args:
            image: A path, the bytes of an image file, pixels uint8 (H, W, 3) RGB (OpenCV reads
                BGR: give `image[:, :, ::-1]`), or an image of Pillow.
            detect: Bool. False if the image is an aligned face.
            policy: "exactly-one" (several are refused), "largest", "center" or "all".
            name: Name of the image for messages; "": its path.
            points: (5, 2) eyes, nose and mouth corners in pixels of the image, if they are known:
                the one face is aligned by them, without detection.

        Raises:
            DoubtfulImageError: If it cannot be read or has no face, or by "exactly-one" several.
            ValueError: If there is no detector, or an argument does not fit.
        """
        check_choice(policy, "policy", POLICIES)
        detector = self._checked_detector(detect and points is None)
        name = name or names_of([image])[0]
        pixels = read_image(image, name)
        size = self.network.image_size
        if points is not None:
            return [known_face(pixels, name, points, size, self._template)]
        if detector is None:
            return [whole_image_as_face(pixels, size)]
        return detect_faces(pixels, name, detector, policy, size, self._template)

    def embed(
        self,
        images: InputImage | Sequence[InputImage],
        *,
        detect: bool = True,
        policy: str = "exactly-one",
        strict: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> np.ndarray:
        """Embed images, one face of each.

        Args:
            images: N images as in `find_faces`, of one kind or mixed, or a single one.
            detect: Bool. False if the images are aligned faces.
            policy: "exactly-one", "largest" or "center".
            strict: Bool. True to refuse faces of poor quality.
            batch_size: Int >= 1. Faces embedded at once.

        Returns:
            float32 (N, D) of unit length: the product of two rows is their score.

        Raises:
            DoubtfulImageError: If an image cannot be read or has no face, or several.
            ValueError: As `find_faces`.
        """
        given = as_images(images)
        names = names_of(given)
        batch_size = check_integer(batch_size, "batch_size", 1)

        def faces() -> Iterator[Face]:
            for image, name in zip(given, names, strict=True):
                yield self.one_face(image, detect=detect, policy=policy, strict=strict, name=name)

        rows = [np.empty((0, self._row_size()), np.float32)]
        with progress_bar(total=len(given), desc="embedding", unit="image", brief=True) as bar:
            batch: list[Face] = []
            for face in faces():
                batch.append(face)
                if len(batch) == batch_size or bar.n + len(batch) == len(given):
                    batch_rows, batch = self.embed_faces(batch)
                    rows.append(batch_rows)
                    if strict:
                        refuse_doubtful(batch, names[bar.n :])
                    bar.update(len(batch))
                    batch = []
        return np.concatenate(rows[1:] or rows)

    def one_face(
        self,
        image: InputImage,
        *,
        detect: bool = True,
        policy: str = "exactly-one",
        strict: bool = False,
        name: str = "",
        points: np.ndarray | None = None,
    ) -> Face:
        """Return the face of an image that the policy chooses.

        Arguments as in `embed` and `find_faces`.

        Raises:
            DoubtfulImageError: If there is none, or, with `strict`, its quality is poor.
            ValueError: As `find_faces`.
        """
        if policy == "all":
            raise ValueError(
                "`policy` must choose one face of each image: exactly-one, largest or center. "
                "`find_faces` returns all of them. Received: policy='all'"
            )
        name = name or names_of([image])[0]
        (face,) = self.find_faces(image, detect=detect, policy=policy, name=name, points=points)
        if strict:
            refuse_doubtful([face], [name])
        return face

    def views_of(self, faces: Sequence[Face]) -> np.ndarray:
        """Embed N >= 1 faces of `find_faces` as the network gives it.

        Returns:
            float32 (N, V, D), of the face and, V = 2 if `fusion` is "concatenate", of its mirror
            image, of any length.
        """
        crops = np.stack([face.crop for face in faces])
        joined = self.network.both_views if self.fusion == "concatenate" else self.network
        views = 2 if self.fusion == "concatenate" else 1
        return joined(crops).reshape(len(faces), views, -1)

    def embed_faces(self, faces: Sequence[Face]) -> tuple[np.ndarray, list[Face]]:
        """Embed N >= 1 faces of `find_faces`.

        Returns:
            float32 (N, D) of unit length, and the faces with the length |x| in their quality.
        """
        views = self.views_of(faces)
        rows = unit_rows(views.reshape(len(faces), -1), "embeddings")
        return rows, self.judged_faces(faces, views)

    def judged_faces(self, faces: Sequence[Face], views: np.ndarray) -> list[Face]:
        """Return the faces with the length |x| of their embeddings of `views_of` in the quality.

        A length that is short beside those in recognition.json is a warning.
        """
        norms = np.linalg.norm(views[:, 0].astype(np.float64), axis=1)
        return [
            dataclasses.replace(
                face, quality=with_norm(face.quality, float(norm), self._ordinary_norms(face))
            )
            for face, norm in zip(faces, norms, strict=True)
        ]

    def _ordinary_norms(self, face: Face) -> OrdinaryNorms | None:
        # Only a face that was aligned here has a distance of the eyes.
        recognition, _ = self.calibration(detect=face.quality.eye_distance is not None)
        return None if recognition is None else recognition.norms

    def compare(
        self,
        first: InputImage,
        second: InputImage,
        *,
        fmr: float | None = None,
        detect: bool = True,
        policy: str = "exactly-one",
        strict: bool = False,
    ) -> Comparison:
        """Compare the faces of two images.

        Without a recognition.json there is a score only: a threshold is never made up.

        Args:
            first: An image as in `find_faces`.
            second: Another.
            fmr: Float. Wanted false match rate, one of those in recognition.json; None: 0.001 or
                the next lower one that it has.
            detect: Bool. False if the images are aligned faces.
            policy: "exactly-one", "largest" or "center".
            strict: Bool. True to refuse faces of poor quality.

        Raises:
            DoubtfulImageError: As `embed`.
            ValueError: As `embed`, or if there is no threshold for `fmr`.
        """
        self.threshold(fmr, detect)  # what is wrong with `fmr`, before any work
        images = (first, second)
        names = names_of(images)
        faces = [
            self.one_face(image, detect=detect, policy=policy, strict=strict, name=name)
            for image, name in zip(images, names, strict=True)
        ]
        rows, faces = self.embed_faces(faces)
        if strict:
            refuse_doubtful(faces, names)
        return self.compare_rows(rows, faces, fmr=fmr, detect=detect, names=names)

    def compare_rows(
        self,
        rows: np.ndarray,
        faces: Sequence[Face],
        *,
        fmr: float | None = None,
        detect: bool = True,
        names: Sequence[str] = ("image 1", "image 2"),
    ) -> Comparison:
        """Compare two faces that `embed_faces` has embedded.

        Args:
            rows: float32 (2, D) of unit length.
            faces: The two faces.
            fmr: As in `compare`.
            detect: As in `compare`.
            names: Names of the two images in notes.

        Raises:
            ValueError: If there is no threshold for `fmr`.
        """
        threshold, notes = self.threshold(fmr, detect)
        notes = [*notes, *self._calibration_notes(detect)]
        score = float(np.clip(rows[0] @ rows[1], -1.0, 1.0))
        for face, name in zip(faces, names, strict=True):
            notes += [f"{name}: {warning}" for warning in face.quality.warnings]
        return Comparison(
            score=score,
            log_likelihood_ratio=self.log_likelihood_ratio(score, detect),
            is_match=None if threshold is None else score >= threshold.threshold,
            threshold=None if threshold is None else threshold.threshold,
            fmr=None if threshold is None else threshold.fmr,
            quality=(faces[0].quality, faces[1].quality),
            boxes=(faces[0].box, faces[1].box),
            notes=tuple(notes),
        )

    def identify(
        self,
        image: InputImage,
        gallery: Gallery,
        *,
        top: int = 5,
        fpir: float | None = None,
        fusion: str = "best",
        detect: bool = True,
        policy: str = "exactly-one",
        strict: bool = False,
    ) -> Identification:
        """Look for the face of an image in a gallery.

        A face whose most similar identity stays below the threshold is unknown. The threshold is
        that of recognition.json for the size of the gallery; without the file there are names and
        scores only.

        Args:
            image: An image as in `find_faces`.
            gallery: A gallery of this network's embeddings.
            top: Int >= 1. Number of candidates.
            fpir: Float in (0, 1). Wanted false positive identification rate: the share of unknown
                faces that are taken for someone of the gallery; None: 0.01, or the lowest that
                recognition.json allows for the size of the gallery.
            fusion: "best" or "mean", of the templates of an identity, as in `Gallery.search`.
            detect: Bool. False if the image is an aligned face.
            policy: "exactly-one", "largest" or "center".
            strict: Bool. True to refuse a face of poor quality.

        Raises:
            DoubtfulImageError: As `embed`.
            ValueError: As `embed`, if the gallery is of another network, or if recognition.json
                has no threshold for `fpir` and this gallery.
        """
        face = self.one_face(image, detect=detect, policy=policy, strict=strict)
        (answer,) = self.identify_faces(
            [face], gallery, top=top, fpir=fpir, fusion=fusion, detect=detect
        )
        if strict and answer.quality.warnings:
            raise DoubtfulImageError(names_of([image])[0], "; ".join(answer.quality.warnings))
        return answer

    def identify_faces(
        self,
        faces: Sequence[Face],
        gallery: Gallery,
        *,
        top: int = 5,
        fpir: float | None = None,
        fusion: str = "best",
        detect: bool = True,
    ) -> list[Identification]:
        """Look for N faces of `find_faces` in a gallery at once; arguments as in `identify`.

        Raises:
            ValueError: As `identify`.
        """
        self._check_gallery(gallery)  # before any work
        if not faces:
            return []
        return self.identify_rows(
            *self.embed_faces(faces), gallery, top=top, fpir=fpir, fusion=fusion, detect=detect
        )

    def identify_rows(
        self,
        rows: np.ndarray,
        faces: Sequence[Face],
        gallery: Gallery,
        *,
        top: int = 5,
        fpir: float | None = None,
        fusion: str = "best",
        detect: bool = True,
    ) -> list[Identification]:
        """Look for N faces that `embed_faces` has embedded; other arguments as in `identify`.

        Args:
            rows: float32 (N, D) of unit length.
            faces: The faces.
            gallery: As in `identify`.
            top: As in `identify`.
            fpir: As in `identify`.
            fusion: As in `identify`.
            detect: As in `identify`.

        Raises:
            ValueError: As `identify`.
        """
        self._check_gallery(gallery)
        matches = gallery.search(rows, top, fusion=fusion)
        size = GallerySize(len(gallery), gallery.num_templates, fusion)
        recognition, notes = self.calibration(detect)
        threshold = None
        if not size.num_comparisons:
            notes = [EMPTY_GALLERY]
        elif recognition is not None:
            threshold, missing = open_set_threshold(recognition, size.num_comparisons, fpir)
            notes = [*missing, *size.notes, *self._calibration_notes(detect)]
        return [
            identification_of(face, of_face, recognition, threshold, size, notes)
            for face, of_face in zip(faces, matches, strict=True)
        ]

    def calibration(self, detect: bool = True) -> tuple[Recognition | None, list[str]]:
        """Return what holds for scores of such images, and sentences on what is missing.

        A calibration on faces that were not aligned says nothing of aligned ones.
        """
        recognition = self.recognition
        if recognition is None:
            return None, [NO_CALIBRATION]
        if detect and recognition.alignment != FIVE_POINTS:
            return None, [
                "recognition.json was made from faces of another alignment "
                f"({recognition.alignment}) than detection gives ({FIVE_POINTS}), so its threshold "
                "and its ratios do not hold here. Calibrate with landmarks, or give such faces "
                "without detection."
            ]
        return recognition, []

    def threshold(self, fmr: float | None = None, detect: bool = True) -> tuple[Any, list[str]]:
        """Return the `RecognitionThreshold` of `compare`, or None, and sentences on the reason.

        Raises:
            ValueError: If recognition.json has no threshold for `fmr`.
        """
        recognition, notes = self.calibration(detect)
        if recognition is None:
            return None, notes
        threshold = chosen_threshold(recognition, fmr)
        if threshold is None:
            notes = [
                f"recognition.json has no threshold: the pairs of {recognition.data} were too few."
            ]
        return threshold, notes

    def log_likelihood_ratio(self, score: float, detect: bool = True) -> float | None:
        """Return the nats that a score is worth, or None without a calibration."""
        recognition, _ = self.calibration(detect)
        return None if recognition is None else recognition.log_likelihood_ratio(score)

    def _check_gallery(self, gallery: Gallery) -> None:
        if self.fingerprint not in ("", gallery.fingerprint):
            raise other_model_error("the gallery", self.fingerprint, gallery.fingerprint)

    def _calibration_notes(self, detect: bool) -> list[str]:
        recognition, _ = self.calibration(detect)
        if recognition is None:
            return []
        notes = [GENERATED_FACES] if recognition.generated_faces else []
        if recognition.cllr >= USELESS_CLLR:
            notes.append(
                f"The likelihood ratios cost {recognition.cllr:.2f} bits on identities other than "
                "those of their calibration; 1 bit is what no ratio at all costs. Do not rely on "
                "them."
            )
        return notes

    def _checked_detector(self, detect: bool) -> Detector | None:
        if not detect:
            return None
        if self.detector is None:
            raise ValueError(
                'Faces must be detected first: load with detector="mtcnn" (pip install '
                "'keras-sphereface[detect]') or an .onnx file of YuNet; or give aligned faces with "
                "detect=False. Received: detect=True without a detector"
            )
        return self.detector

    def _row_size(self) -> int:
        return (self.network.embedding_size or 0) * (2 if self.fusion == "concatenate" else 1)


def refuse_doubtful(faces: Sequence[Face], names: Sequence[str]) -> None:
    """Raise a DoubtfulImageError for the first face whose quality is poor."""
    for face, name in zip(faces, names, strict=False):
        if face.quality.warnings:
            raise DoubtfulImageError(name, "; ".join(face.quality.warnings))


def open_detector(detector: str | os.PathLike | Detector | None) -> Detector | None:
    """Return the detector of "mtcnn", of a file of YuNet, or that which is given.

    Raises:
        FileNotFoundError, ValueError, ImportError: As `mtcnn_detector` and `yunet_detector`.
    """
    # Only now: aligned faces need no detector.
    if detector == "mtcnn":
        from keras_sphereface.data.mtcnn import mtcnn_detector

        return mtcnn_detector()
    if isinstance(detector, str | os.PathLike):
        from keras_sphereface.data.yunet import yunet_detector

        return yunet_detector(detector)
    return detector


def _check_recognition(
    recognition: Recognition, network: Network, fingerprint: str, path: str | os.PathLike
) -> None:
    file = recognition_path(path)
    if recognition.fingerprint != fingerprint:
        raise ValueError(
            f"{file} belongs to another network than {path}: their fingerprints differ. Write it "
            "anew by `sphereface evaluate --calibrate`, or remove it. "
            f"Received: {recognition.fingerprint}; the network has {fingerprint}"
        )
    size = network.embedding_size
    views = 2 if recognition.fusion == "concatenate" else 1
    if recognition.image_size not in (None, network.image_size) or (
        size is not None and recognition.embedding_size != views * size
    ):
        raise ValueError(
            f"{file} must be of faces of {network.image_size} and embeddings of "
            f"{views * (size or 0)} numbers, as its network. Received: faces of "
            f"{recognition.image_size} and {recognition.embedding_size} numbers"
        )
