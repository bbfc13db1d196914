import numpy as np
import pytest
from PIL import Image

from keras_sphereface.data import alignment, face_drawing, images
from keras_sphereface.data.quality_checks import (
    MIN_SAMPLE,
    black_share,
    bluer_share,
    check_images,
    template_fit,
)
from tests.conftest import read_lfw

SIZE = (112, 96)


@pytest.fixture(scope="module")
def generated():
    """48 images of 24 identities, and their points."""
    samples = []
    for identity in range(24):
        traits = face_drawing.draw_traits(np.random.default_rng([3, identity]))
        samples += [
            face_drawing.render_face(traits, np.random.default_rng([3, identity, n]))
            for n in (0, 1)
        ]
    return samples


def aligned(samples, size=SIZE):
    return [alignment.align(image, points, size) for image, points in samples]


def cropped(samples, size=SIZE):
    return [images.crop_to(image, size) for image, _ in samples]


def aligned_twice(samples):
    """By the landmarks of the first time."""
    faces = aligned(samples)
    return [alignment.align(face, points) for face, (_, points) in zip(faces, samples, strict=True)]


def shifted(faces, x, y):
    matrix = np.array([[1.0, 0, x], [0, 1, y]])
    return [alignment.warp(face, matrix, face.shape[:2]) for face in faces]


def enlarged(faces, share):
    """The middle of each face, as large as the whole was."""
    height, width = faces[0].shape[:2]
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return [
        images.crop_to(face[top : height - top, left : width - left], (height, width))
        for face in faces
    ]


def as_gray(face):
    return np.asarray(Image.fromarray(face).convert("L").convert("RGB"))


def test_aligned_faces_give_no_warning(generated):
    assert check_images(aligned(generated), cropped(generated)) == []


@pytest.mark.parametrize("size", [(112, 96), (112, 112), (64, 64), (160, 160), (224, 192)])
def test_fit_recognizes_aligned_faces_at_any_size(generated, size):
    assert template_fit(aligned(generated, size)).is_aligned()
    assert not template_fit(cropped(generated, size)).is_aligned()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda faces: shifted(faces, 10, 0),
        lambda faces: shifted(faces, -10, 0),
        lambda faces: shifted(faces, 0, 8),
        lambda faces: shifted(faces, 0, -8),
        lambda faces: enlarged(faces, 0.7),
        lambda faces: [face[::-1, ::-1] for face in faces],
    ],
    ids=["right", "left", "down", "up", "enlarged", "upside down"],
)
def test_fit_falls_where_faces_lie_elsewhere(generated, spoil):
    faces = aligned(generated)
    assert template_fit(faces).is_aligned()
    assert not template_fit(spoil(faces)).is_aligned()


def test_fit_is_the_same_for_mirrored_faces(generated):
    faces = aligned(generated)
    mirrored = [face[:, ::-1] for face in faces]
    np.testing.assert_allclose(template_fit(mirrored), template_fit(faces), atol=0.02)


def test_fit_of_images_without_edges_is_zero():
    assert template_fit([np.full((*SIZE, 3), 90, np.uint8)] * 20) == (0.0, 0.0)


def test_unaligned_faces_are_detected(generated):
    (warning,) = check_images(cropped(generated))
    assert "unaligned" in warning


def test_faces_aligned_by_landmarks_of_other_images_are_detected(generated):
    shuffled = [
        (image, points + (25, -20))
        for (image, _), (_, points) in zip(generated, generated[1:] + generated[:1], strict=True)
    ]
    (warning,) = check_images(aligned(shuffled), cropped(shuffled))
    assert "in spite of their landmarks" in warning


def test_faces_aligned_twice_are_detected(generated):
    (warning,) = check_images(aligned_twice(generated))
    assert "aligned twice" in warning
    assert "black" in warning


def test_aligning_aligned_images_by_the_first_landmarks_ruins_them(generated):
    (warning,) = check_images(aligned_twice(generated), cropped=aligned(generated))
    assert "aligning twice ruins them" in warning


def test_aligning_aligned_images_by_their_landmarks_is_needless(generated):
    square = [
        (face, alignment.landmark_template((112, 112))) for face in aligned(generated, (112, 112))
    ]
    (warning,) = check_images(aligned(square), cropped(square))
    assert "only blurs them" in warning


def test_aligning_faces_that_are_only_nearly_aligned_gives_no_warning(generated):
    faces = aligned(generated)
    nearly = enlarged(faces, 0.9)
    assert template_fit(nearly).is_aligned()
    assert check_images(faces, cropped=nearly) == []


def test_bgr_is_detected(generated):
    faces = aligned(generated)
    swapped = [face[..., ::-1] for face in faces]
    assert bluer_share(faces) < 0.1
    assert bluer_share(swapped) > 0.9
    (warning,) = check_images(swapped)
    assert "BGR" in warning


def test_gray_is_reported_as_a_share_and_is_not_bgr(generated):
    faces = aligned(generated)
    some = [as_gray(face) for face in faces[:12]] + faces[12:]
    (warning,) = check_images(some)
    assert warning.startswith("25% of these images are gray")
    (warning,) = check_images([as_gray(face) for face in faces])
    assert warning.startswith("100% of these images are gray")


def test_black_share_counts_black_pixels():
    faces = np.full((2, 10, 10, 3), 7, np.uint8)
    faces[0, :5] = 0
    faces[1, :, :, :2] = 0  # blue is not black
    assert black_share(faces) == pytest.approx(0.25)


def test_a_few_images_are_not_judged():
    noise = np.random.default_rng(0).integers(0, 256, (MIN_SAMPLE, *SIZE, 3), dtype=np.uint8)
    assert check_images(noise[:-1]) == []
    assert check_images(noise) != []


@pytest.fixture(scope="module")
def lfw_images(real_faces):
    """192 real images and their points."""
    return read_lfw(real_faces, 192, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 64, 128])
def test_real_faces_are_judged_rightly(lfw_images, start):
    sample = lfw_images[start : start + 64]
    faces = aligned(sample)
    assert check_images(faces, cropped(sample)) == []
    assert [w for w in check_images([as_gray(face) for face in faces]) if "gray" not in w] == []
    (warning,) = check_images(cropped(sample))
    assert "unaligned" in warning
    (warning,) = check_images([face[..., ::-1] for face in faces])
    assert "BGR" in warning
    (warning,) = check_images(aligned_twice(sample), cropped=faces)
    assert "aligning twice ruins them" in warning


def test_roughly_centered_real_faces_are_unaligned(real_faces):
    files = sorted((real_faces / "orl_faces").rglob("*.pgm"))[::6]
    for size in ((112, 96), (112, 112)):
        faces = [images.crop_to(images.decode(file.read_bytes()), size) for file in files]
        warnings = check_images(faces)
        assert len(warnings) == 2
        assert "unaligned" in warnings[0]
        assert "100% of these images are gray" in warnings[1]
