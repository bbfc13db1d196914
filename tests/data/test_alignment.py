import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data import alignment, images


@given(st.floats(0.1, 5.0), st.floats(-np.pi, np.pi), st.floats(-200, 200), st.floats(-200, 200))
def test_similarity_recovers_the_transform(scale, angle, dx, dy):
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = np.array([(3.0, 4.0), (60, 8), (30, 40), (12, 70), (50, 66)])
    matrix = alignment.similarity_transform(source, source @ rotation.T + (dx, dy))
    np.testing.assert_allclose(matrix, np.column_stack([rotation, (dx, dy)]), atol=1e-9)


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    source, target = rng.uniform(0, 100, (5, 2)), rng.uniform(0, 100, (5, 2))

    def error(matrix):
        moved = source @ matrix[:, :2].T + matrix[:, 2]
        return np.sum((moved - target) ** 2)

    # x' = a x - b y + c, y' = b x + a y + d, solved by a general least squares.
    x, y = source.T
    zeros, ones = np.zeros(5), np.ones(5)
    rows = np.vstack([np.column_stack([x, -y, ones, zeros]), np.column_stack([y, x, zeros, ones])])
    (a, b, c, d), *_ = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)
    matrix = alignment.similarity_transform(source, target)
    np.testing.assert_allclose(matrix, [[a, -b, c], [b, a, d]], atol=1e-9)
    assert error(matrix) <= error(np.array([[a * 1.01, -b, c], [b, a * 1.01, d]]))


def test_similarity_of_many_faces_is_that_of_each():
    rng = np.random.default_rng(1)
    faces = rng.uniform(0, 100, (3, 7, 5, 2))
    matrices = alignment.similarity_transform(faces, alignment.landmark_template())
    assert matrices.shape == (3, 7, 2, 3)
    for i, j in np.ndindex(3, 7):
        one = alignment.similarity_transform(faces[i, j], alignment.landmark_template())
        np.testing.assert_allclose(matrices[i, j], one, rtol=1e-9, atol=1e-9)
    target = rng.uniform(0, 100, (3, 7, 5, 2))
    of_each = alignment.similarity_transform(faces, target)
    np.testing.assert_allclose(
        of_each[2, 3], alignment.similarity_transform(faces[2, 3], target[2, 3])
    )


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_similarity_refuses_points_without_extent(points):
    with pytest.raises(ValueError, match="must not all coincide"):
        alignment.similarity_transform(points, alignment.landmark_template())


def test_template_for_112_x_112_is_8_further_right():
    moved = alignment.landmark_template((112, 112)) - alignment.landmark_template((112, 96))
    np.testing.assert_allclose(moved, np.tile((8.0, 0.0), (5, 1)))


def test_points_of_another_image_are_refused():
    image = np.zeros((100, 80, 3), np.uint8)
    with pytest.raises(ValueError, match="near the image of 80 x 100 pixels"):
        alignment.align(image, alignment.landmark_template() + 300)


def dots(points, size):
    """A black image with a soft white dot on each point."""
    y, x = np.mgrid[: size[0], : size[1]]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in points)
    return np.repeat((255 * np.clip(light, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def brightest_near(image, point, reach=6):
    """The center of mass of the light around a point."""
    px, py = (int(value) for value in np.rint(point))
    rows, columns = slice(py - reach, py + reach + 1), slice(px - reach, px + reach + 1)
    window = image[rows, columns, 0].astype(float)
    y, x = np.mgrid[rows, columns]
    return np.array([np.sum(window * x), np.sum(window * y)]) / window.sum()


@pytest.mark.parametrize("scale", [0.8, 1.7, 5.3])
def test_aligned_points_lie_on_the_template(scale):
    angle = 0.3
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = alignment.landmark_template() @ rotation.T
    points += 40 - points.min(0)
    image = dots(points, tuple((points.max(0)[::-1] + 40).astype(int)))
    if scale > 2:
        # Dots that would vanish between the pixels when the image shrinks.
        image = np.maximum.reduce(
            [np.roll(image, (i, j), (0, 1)) for i in range(-4, 5) for j in range(-4, 5)]
        )
    aligned = alignment.align(image, points)
    assert aligned.shape == (112, 96, 3)
    for target in alignment.landmark_template():
        np.testing.assert_allclose(brightest_near(aligned, target), target, atol=0.15)


def test_identity_leaves_the_image_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    same = alignment.warp(image, np.array([[1.0, 0, 0], [0, 1, 0]]), (112, 96))
    np.testing.assert_array_equal(same, image)


@pytest.mark.parametrize("scale", [0.07, 0.3, 0.9, 2.5])
def test_a_fourth_channel_changes_nothing(scale):
    rng = np.random.default_rng(0)
    encoded = images.encode(rng.integers(0, 256, (301, 277, 3), dtype=np.uint8))
    rotation = scale * np.array([(np.cos(0.3), -np.sin(0.3)), (np.sin(0.3), np.cos(0.3))])
    matrix = np.column_stack([rotation, (-20.3, 10.7)])
    faces = [
        alignment.warp(decode(encoded), matrix, (112, 96))
        for decode in (images.decode, images.decode_rgbx)
    ]
    assert faces[1].shape == (112, 96, 4)
    np.testing.assert_array_equal(faces[1][..., :3], faces[0])
    assert images.encode(faces[1]) == images.encode(faces[0])
