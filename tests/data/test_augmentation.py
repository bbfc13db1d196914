"""Random changes to images: seeded, each as large as asked for, in range."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import augmentation
from keras_sphereface.data.augmentation import Augmentation

STRENGTHS = {name: 0.5 for name in augmentation.RANGES} | {"low_resolution": 1.0}
EVERYTHING = Augmentation(**STRENGTHS)


def batch(num=6):
    return np.random.default_rng(0).integers(0, 256, (num, 20, 16, 3), dtype=np.uint8)


def test_every_setting_but_the_flip_has_a_range():
    assert set(augmentation.RANGES) == set(Augmentation._fields) - {"flip"}


@pytest.mark.parametrize("name", augmentation.RANGES)
def test_each_augmentation_changes_images_and_keeps_their_range(name):
    augment = Augmentation(flip=False, **{name: STRENGTHS[name]})
    changed = augment(batch(), seed=(0, 1)).numpy()
    assert changed.shape == (6, 20, 16, 3)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert np.all(np.any(changed != batch(), axis=(1, 2, 3)))
    assert not np.array_equal(changed, augment(batch(), seed=(0, 2)))


def test_the_same_seed_gives_the_same_changes_also_inside_a_dataset():
    direct = EVERYTHING(batch(), seed=(0, 1)).numpy()
    dataset = tf.data.Dataset.from_tensors(batch()).map(lambda x: EVERYTHING(x, seed=(0, 1)))
    np.testing.assert_allclose(next(dataset.as_numpy_iterator()), direct, atol=1e-3)
    for other in ((1, 1), (0, 2)):
        assert np.abs(EVERYTHING(batch(), seed=other) - direct).max() > 1


def test_each_image_is_changed_differently():
    same = np.repeat(batch(1), 6, axis=0)
    for name, strength in STRENGTHS.items():
        changed = Augmentation(flip=False, **{name: strength})(same, seed=(0, 1)).numpy()
        # Two may shrink to the same whole number of pixels.
        assert len(np.unique(changed, axis=0)) >= (5 if name == "low_resolution" else 6), name


def test_no_augmentation_is_the_identity():
    np.testing.assert_array_equal(Augmentation(flip=False)(batch(), seed=(0, 1)), batch())


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_flip_mirrors_half_of_the_images_and_no_other_pixel(dtype):
    images = np.random.default_rng(0).integers(0, 256, (200, 5, 4, 3)).astype(dtype)
    # Of any size: the graph knows no side.
    flip = tf.function(
        lambda images: Augmentation()(images, seed=(0, 1)),
        input_signature=[tf.TensorSpec((None, None, None, 3), dtype)],
    )
    flipped = flip(images).numpy()
    are_same = np.all(flipped == images, axis=(1, 2, 3))
    are_mirrored = np.all(flipped == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(are_same ^ are_mirrored)
    assert 70 < are_mirrored.sum() < 130
    assert flipped.dtype == np.float32


def test_a_shift_moves_the_image_by_at_most_so_many_pixels():
    images = np.zeros((32, 21, 21, 3), np.uint8)
    images[:, 10, 10] = 255
    moved = Augmentation(flip=False, shift=3)(images, seed=(0, 1)).numpy()[..., 0]
    y, x = np.mgrid[:21, :21]
    centers = np.stack([(moved * axis).sum((1, 2)) / moved.sum((1, 2)) for axis in (x, y)])
    assert np.abs(centers - 10).max() <= 3.01
    assert np.abs(centers - 10).max() > 1.5
    assert np.all(centers.std(axis=1) > 1)


def ramps(num, height=40, width=30):
    """Images whose pixels hold their place: channel 0 the row, channel 1 the column."""
    y, x = np.mgrid[:height, :width]
    return np.repeat(np.stack([y, x, 0 * x], axis=-1)[None], num, axis=0).astype(np.float32)


def test_a_crop_enlarges_a_box_inside_the_image_that_holds_the_requested_share():
    cropped = Augmentation(flip=False, crop=0.4)(ramps(200), seed=(0, 1)).numpy()
    for channel, length in ((0, 40), (1, 30)):
        # Inner pixels only: beyond the center of an edge pixel there is no ramp.
        inner = cropped[:, 5:-5, 15, 0] if channel == 0 else cropped[:, 20, 5:-5, 1]
        steps = np.diff(inner, axis=1)
        share = steps.mean(axis=1)
        np.testing.assert_allclose(steps, share[:, None] * np.ones_like(steps), atol=1e-3)
        start = inner[:, 0] + 0.5 - 5.5 * share
        assert share.min() >= 0.6 - 1e-4
        assert share.max() <= 1.0 + 1e-4
        assert start.min() >= -1e-3
        assert (start + share * length).max() <= length + 1e-3
        # Of 200 draws the ends of the range are not far.
        assert share.min() < 0.62
        assert share.max() > 0.98
    assert np.abs(np.diff(cropped[:, 5, 15, 0] - cropped[:, 20, 5, 1])).max() > 1


def test_crop_and_zoom_together_are_one_after_the_other():
    both = Augmentation(flip=False, crop=0.3, zoom=1e-6)(ramps(8), seed=(0, 1)).numpy()
    crop = Augmentation(flip=False, crop=0.3)(ramps(8), seed=(0, 1)).numpy()
    np.testing.assert_allclose(both, crop, atol=1e-3)


def test_saturation_keeps_the_gray_and_scales_the_distance_from_it():
    images = 100 + batch() % 50  # far from the ends of the range
    changed = Augmentation(flip=False, saturation=0.5)(images, seed=(0, 1)).numpy()
    weights = np.array([0.2989, 0.587, 0.114])
    gray, new_gray = images @ weights, changed @ weights
    np.testing.assert_allclose(new_gray, gray, atol=0.05)
    factors = (changed - gray[..., None]) / (images - gray[..., None] + 1e-12)
    factors = np.median(factors, axis=(1, 2, 3))
    assert np.all((factors > 0.5) & (factors < 1.5))
    assert factors.std() > 0.1
    only_gray = np.repeat(images[..., :1], 3, axis=-1)
    same = Augmentation(flip=False, saturation=0.5)(only_gray, seed=(0, 1))
    np.testing.assert_allclose(same, only_gray, atol=0.05)


@pytest.mark.parametrize("size", [(40, 30), (23, 30), (10, 8)])
def test_coarsening_equals_tensorflows_resize_down_and_up(size):
    image = np.random.default_rng(0).uniform(0, 255, (40, 30, 3)).astype(np.float32)
    small = tf.image.resize(image, size, antialias=True)
    expected = tf.image.resize(small, (40, 30))
    rows, columns = (
        augmentation._coarsening_matrix(length, tf.constant([new / length]))[0].numpy()
        for length, new in zip((40, 30), size, strict=True)
    )
    ours = np.einsum("ij,kl,jlc->ikc", rows, columns, image)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_low_resolution_leaves_the_others_as_they_are():
    images = batch(400)
    changed = Augmentation(flip=False, low_resolution=0.25)(images, seed=(0, 1)).numpy()
    untouched = np.all(changed == images, axis=(1, 2, 3))
    # Of 400; five standard deviations are 43. Some scales round to the full size.
    assert 257 < untouched.sum() < 360
    assert np.all(changed[~untouched].std(axis=(1, 2)) < images[~untouched].std(axis=(1, 2)))


def test_an_erased_box_is_mid_gray_and_of_at_most_the_requested_share():
    white = np.full((50, 20, 16, 3), 255, np.uint8)
    erased = Augmentation(flip=False, erase=0.5)(white, seed=(0, 1)).numpy()
    assert set(np.unique(erased)) == {127.5, 255.0}
    box = erased[..., 0] == 127.5
    assert 7 <= box.any(axis=2).sum(axis=1).max() <= 11
    assert 5 <= box.any(axis=1).sum(axis=1).max() <= 9
