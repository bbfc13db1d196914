"""`sphereface compare`: whether two images show one person."""

import json
from collections.abc import Sequence

from keras_sphereface.config.compare import CompareFacesConfig, EmbedConfig, IdentifyFacesConfig
from keras_sphereface.config.gallery import GalleryEnrollConfig
from keras_sphereface.recognition import FaceRecognizer
from keras_sphereface.recognition.face_finder import FaceFinder, landmarks_of_images
from keras_sphereface.recognition.face_recognizer import refuse_doubtful
from keras_sphereface.reporting.metrics_file import as_json
from keras_sphereface.utils import startup
from keras_sphereface.utils.progress import log

# What runs without TensorFlow, or imports it by itself where nothing else is installed.
LEAN_SUFFIXES = (".onnx", ".tflite")


def run_compare(config: CompareFacesConfig) -> None:
    """Compare and print the answer; what is missing or doubtful goes to standard error."""
    paths = (config.first, config.second)
    finder = open_finder(config, paths)
    faces = [finder.face(path, path) for path in paths]
    rows, faces = finder.recognizer.embed_faces(faces)
    if config.strict:
        refuse_doubtful(faces, paths)
    comparison = finder.recognizer.compare_rows(
        rows, faces, fmr=config.fmr, detect=finder.detect, names=paths
    )
    if config.json:
        print(json.dumps(as_json(comparison), indent=2, allow_nan=False))
        return
    for note in comparison.notes:
        log(note)
    print(comparison.describe())


def open_recognizer(model: str, detector: str) -> FaceRecognizer:
    """Open a network and a detector; import Keras and TensorFlow first if the network needs it."""
    if not model.lower().endswith(LEAN_SUFFIXES):
        startup.check_backend()
        startup.import_whole_package()
    return FaceRecognizer.load(model, detector or None)


def open_finder(
    config: CompareFacesConfig | EmbedConfig | IdentifyFacesConfig | GalleryEnrollConfig,
    names: Sequence[str],
) -> FaceFinder:
    """Open a network with what finds the faces of images with these names."""
    landmarks = None
    if config.landmarks:
        landmarks = landmarks_of_images(config.landmarks, names, config.landmark_columns)
    return FaceFinder(
        open_recognizer(config.model, config.detector),
        detect=not config.aligned,
        policy=config.policy,
        strict=config.strict,
        landmarks=landmarks,
    )
