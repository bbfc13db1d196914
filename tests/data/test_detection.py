import sys

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.data import face_drawing
from keras_sphereface.data.detection import nearest_face_detector
from keras_sphereface.data.mtcnn import mtcnn_detector
from tests.conftest import read_lfw


@pytest.mark.parametrize("package", ["mtcnn", "threadpoolctl"])
def test_missing_package_is_named(monkeypatch, package):
    pytest.importorskip("mtcnn")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf"`{package}`: pip install 'keras-sphereface\[detect\]'"
    ):
        mtcnn_detector()


@pytest.fixture(scope="module")
def detect():
    pytest.importorskip("mtcnn")
    return nearest_face_detector(mtcnn_detector())


@pytest.mark.parametrize(
    "shape", [(1, 1), (20, 20), (1, 500), (500, 1), (24, 700), (3000, 2), (96, 96)]
)
@pytest.mark.parametrize("seed", [None, 0], ids=["black", "noise"])
def test_no_face_is_none(detect, shape, seed):
    image = np.zeros((*shape, 3), np.uint8)
    if seed is not None:
        image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detect(image) is None


@pytest.mark.slow
def test_some_generated_faces_are_found_where_they_are(detect):
    distances = []
    for identity in range(20):
        traits = face_drawing.draw_traits(np.random.default_rng([7, identity]))
        image, points = face_drawing.render_face(traits, np.random.default_rng([7, identity, 0]))
        detected = detect(image)
        if detected is not None:
            assert detected.points.shape == (5, 2)
            assert detected.points.dtype == np.float64
            assert detected.num_faces >= 1
            distances.append(np.linalg.norm(detected.points - points, axis=1).mean())
    assert len(distances) >= 3
    assert max(distances) < 8


@pytest.fixture(scope="module")
def lfw_images(real_faces):
    """40 real images of 176 x 176 and their points."""
    return read_lfw(real_faces, 40, seed=1)


@pytest.mark.slow
def test_real_faces_are_found_where_mtcnn_found_them(detect, lfw_images):
    offsets = np.array([detect(image).points - points for image, points in lfw_images])
    distances = np.linalg.norm(offsets, axis=2).mean(axis=1)
    assert np.mean(distances < 2) > 0.8
    # Neither half a pixel off, nor left and right confused.
    np.testing.assert_allclose(offsets.mean(axis=(0, 1)), 0, atol=0.4)


@pytest.mark.slow
def test_of_several_faces_the_one_nearest_to_the_center_is_taken(detect, lfw_images):
    (left, _), (middle, points), (right, _) = lfw_images[:3]
    row = np.concatenate([left, middle, right], axis=1)
    detected = detect(row)
    np.testing.assert_allclose(detected.points, points + (176, 0), atol=8)
    assert detected.num_faces == 3
    assert detect(lfw_images[0][0]).num_faces == 1


@pytest.mark.slow
def test_points_of_large_images_are_in_pixels_of_the_whole_image(detect, lfw_images):
    image, points = lfw_images[0]
    factor = 13
    large = Image.fromarray(image).resize((176 * factor, 176 * factor), Image.Resampling.BICUBIC)
    expected = factor * points + (factor - 1) / 2
    np.testing.assert_allclose(detect(np.asarray(large)).points, expected, atol=5 * factor)
