"""What the measures of single faces find, and how often they err."""

import numpy as np
import pytest

from keras_sphereface.data import alignment, face_drawing, images
from keras_sphereface.data.face_measures import (
    ALIGNED_TWICE,
    BGR,
    GRAY,
    POOR_FIT,
    UPSIDE_DOWN,
    bit_of,
    kinds_of,
    measure_faces,
    thumbnail,
    thumbnail_size,
)
from keras_sphereface.data.quality_checks import bluer_share
from tests.conftest import read_lfw


@pytest.fixture(scope="module")
def generated():
    """40 images and their points."""
    return [
        face_drawing.render_face(
            face_drawing.draw_traits(np.random.default_rng([3, i])), np.random.default_rng([3, i])
        )
        for i in range(40)
    ]


def aligned(samples, size=(112, 96)):
    return [alignment.align(image, points, size) for image, points in samples]


def aligned_twice(samples):
    faces = aligned(samples)
    return [alignment.align(face, points) for face, (_, points) in zip(faces, samples, strict=True)]


def as_gray(face):
    return np.repeat(face.mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)


def shares(faces):
    """{kind: share of the faces}, of those kinds that occur."""
    findings = measure_faces(np.stack([thumbnail(face) for face in faces])).findings()
    found = [kind for bits in findings for kind in kinds_of(int(bits))]
    return {kind: found.count(kind) / len(faces) for kind in set(found)}


@pytest.mark.parametrize("size", [(112, 96), (112, 112), (160, 160)])
def test_generated_faces_give_few_findings_and_each_fault_its_own(generated, size):
    faces = aligned(generated, size)
    assert sum(shares(faces).values()) <= 0.05
    assert shares([face[::-1, ::-1] for face in faces])[UPSIDE_DOWN] >= 0.85
    assert shares([face[..., ::-1] for face in faces])[BGR] >= 0.95
    assert shares([as_gray(face) for face in faces])[GRAY] == 1


def test_generated_faces_that_are_aligned_twice_or_not_at_all_are_found(generated):
    found = shares(aligned_twice(generated))
    assert found[ALIGNED_TWICE] >= 0.5
    assert sum(found.get(kind, 0) for kind in (ALIGNED_TWICE, POOR_FIT, UPSIDE_DOWN)) >= 0.8
    cropped = [images.crop_to(image, (112, 96)) for image, _ in generated]
    found = shares(cropped)
    assert found.get(POOR_FIT, 0) + found.get(UPSIDE_DOWN, 0) >= 0.6


def test_many_faces_at_once_are_measured_as_one_by_one(generated):
    faces = np.stack([thumbnail(face) for face in aligned(generated)] * 4)
    together = measure_faces(faces)
    for index in (0, 63, 64, 159):
        alone = measure_faces(faces[index : index + 1])
        for values, value in zip(together, alone, strict=True):
            np.testing.assert_allclose(values[index], value[0], rtol=1e-4, atol=1e-5)


def test_a_turned_face_has_the_two_fits_exchanged(generated):
    faces = np.stack([thumbnail(face) for face in aligned(generated)])
    upright, turned = measure_faces(faces), measure_faces(faces[:, ::-1, ::-1])
    np.testing.assert_allclose(turned.fit, upright.turned_fit, atol=1e-4)
    np.testing.assert_allclose(turned.turned_fit, upright.fit, atol=1e-4)


def test_black_and_spread_count_what_they_say():
    faces = np.full((2, 28, 24, 3), 100, np.uint8)
    faces[0, :7] = 0
    faces[1] += np.array([0, 5, 30], np.uint8)
    measures = measure_faces(faces)
    np.testing.assert_allclose(measures.black, [0.25, 0])
    np.testing.assert_allclose(measures.spread, [0, 30])
    np.testing.assert_allclose(measures.blueness, [0, 30])
    assert list(measures.is_gray) == [True, False]
    assert bluer_share(list(faces)) == 0.5


def test_thumbnails_keep_the_shape_and_the_mean():
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    assert thumbnail(face).shape == (28, 28, 3) == (*thumbnail_size((112, 112)), 3)
    assert abs(thumbnail(face).mean() - face.mean()) < 1
    # Of a face that was reduced while it was decoded.
    assert thumbnail(face[::2, ::4], size=(112, 56)).shape == (28, 14, 3)


def test_each_kind_has_its_bit():
    assert [*kinds_of(bit_of(UPSIDE_DOWN) | bit_of(GRAY))] == [UPSIDE_DOWN, GRAY]
    assert [*kinds_of(0)] == []


@pytest.mark.slow
def test_of_real_faces_faults_are_found_and_few_others(real_faces):
    sample = read_lfw(real_faces, 1000, seed=3)
    faces = aligned(sample)
    clean = shares(faces)
    assert clean.get(UPSIDE_DOWN, 0) <= 0.005
    assert clean.get(POOR_FIT, 0) <= 0.02
    assert clean.get(BGR, 0) <= 0.002
    assert clean.get(ALIGNED_TWICE, 0) == 0
    assert shares([face[::-1, ::-1] for face in faces])[UPSIDE_DOWN] >= 0.9
    assert shares([face[..., ::-1] for face in faces])[BGR] >= 0.99
    assert shares(aligned_twice(sample))[ALIGNED_TWICE] >= 0.98
