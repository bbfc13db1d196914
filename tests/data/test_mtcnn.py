"""MTCNN in NumPy: the faces of the package `mtcnn`, which runs the same weights in TensorFlow."""

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.data import face_drawing, mtcnn, mtcnn_networks
from keras_sphereface.data.mtcnn import best_boxes, mtcnn_detector, patches
from keras_sphereface.utils import startup
from tests.conftest import ROOT, read_lfw

pytest.importorskip("joblib")
pytest.importorskip("mtcnn")


@pytest.fixture(scope="module")
def package():
    from mtcnn import MTCNN

    network = MTCNN()

    def detect(image):
        rows = network.detect_faces(image, box_format="xyxy", output_type="numpy")
        rows = np.asarray(rows, np.float64).reshape(-1, 16)
        return rows[:, 1:5], rows[:, 6:16].reshape(-1, 2, 5).transpose(0, 2, 1), rows[:, 5]

    return detect


def assert_equal_faces(faces, expected):
    assert len(faces.boxes) == len(expected[0])
    for received, of_package in zip(faces, expected, strict=True):
        np.testing.assert_allclose(received, of_package, atol=5e-3)


@pytest.mark.slow
def test_generated_faces_are_those_of_the_package(package):
    detect = mtcnn_detector()
    images = []
    for identity in range(12):
        traits = face_drawing.draw_traits(np.random.default_rng([7, identity]))
        images.append(face_drawing.render_face(traits, np.random.default_rng([7, identity, 0]))[0])
    images.append(np.concatenate([np.concatenate(images[:4], axis=1), np.hstack(images[4:8])]))
    detected = [detect(image) for image in images]
    assert sum(len(faces.boxes) for faces in detected) >= 5
    for image, faces in zip(images, detected, strict=True):
        assert_equal_faces(faces, package(image))


@pytest.mark.slow
def test_real_faces_are_those_of_the_package(package, real_faces):
    detect = mtcnn_detector()
    images = [image for image, _ in read_lfw(real_faces, 20, seed=3)]
    # Cut through by the border, of another shape, and in a row.
    images += [images[0][:, 60:], images[1][40:, :150], np.concatenate(images[2:6], axis=1)]
    for image in images:
        assert_equal_faces(detect(image), package(image))


def test_tensorflow_is_not_imported():
    code = (
        "import sys, numpy as np; from keras_sphereface.data.mtcnn import mtcnn_detector;"
        "mtcnn_detector()(np.zeros((64, 64, 3), np.uint8));"
        "print({'keras', 'tensorflow', 'mtcnn'} & set(sys.modules))"
    )
    lean = {**os.environ, startup.DATA_ONLY: "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=lean, capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr("joblib.load", lambda path: [np.zeros((3, 3, 3, 11), np.float32)])
    with pytest.raises(ImportError, match=r"version 1.0: pip install 'mtcnn>=1.0,<2'. Received"):
        mtcnn_detector()


@pytest.mark.parametrize("of_smaller", [False, True])
def test_boxes_are_those_that_no_better_one_overlaps(monkeypatch, of_smaller):
    monkeypatch.setattr(mtcnn, "_BLOCK", 64)
    rng = np.random.default_rng(0)
    corners, sizes = rng.uniform(0, 90, (300, 2)), rng.uniform(5, 30, (300, 2))
    boxes, confidences = np.concatenate([corners, corners + sizes], axis=1), rng.permutation(300)

    def overlap(one, other):
        width = min(one[2], other[2]) - max(one[0], other[0])
        height = min(one[3], other[3]) - max(one[1], other[1])
        shared = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        return shared / (min(areas) if of_smaller else sum(areas) - shared)

    expected = [
        row
        for row in np.argsort(-confidences)
        if not any(
            confidences[other] > confidences[row] and overlap(boxes[row], boxes[other]) > 0.3
            for other in range(300)
        )
    ]
    assert 10 < len(expected) < 250
    assert best_boxes(boxes, confidences, 0.3, of_smaller).tolist() == expected


@pytest.mark.slow
def test_patches_and_pools_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(31, 40, 3)).astype(np.float32)
    boxes = np.array([[3.5, 2, 21, 19.5], [-6, -4, 12, 14], [25, 20, 50, 45.5]])
    fractions = boxes[:, [1, 0, 3, 2]] / [31, 40, 31, 40]
    expected = tf.image.crop_and_resize(pixels[None], fractions, np.zeros(3, int), (24, 24))
    np.testing.assert_allclose(patches(pixels, boxes, 24), expected, atol=1e-4)
    for size, pad in ((2, True), (3, True), (3, False)):
        of_numpy = mtcnn_networks.max_pool(pixels[None], size, pad)
        padding = "SAME" if pad else "VALID"
        np.testing.assert_array_equal(of_numpy, tf.nn.max_pool2d(pixels[None], size, 2, padding))
