import numpy as np
import pytest

from keras_sphereface import images, pipeline, records
from keras_sphereface.augmentation import Augmentation

EVERYTHING = Augmentation(shift=4, zoom=0.1, rotation=8, brightness=0.2, contrast=0.3, erase=0.5)


def take(folder, steps, **arguments):
    dataset = pipeline.training_batches(folder, **{"batch_size": 8, "seed": 0, **arguments})
    return list(dataset.take(steps).as_numpy_iterator())


def test_batches_have_shape_range_and_labels(records_folder):
    pictures, labels = take(records_folder, 1)[0]
    assert pictures.shape == (8, 112, 96, 3)
    assert pictures.dtype == np.float32
    assert -127.5 / 128 <= pictures.min() < -0.2 < 0.2 < pictures.max() <= 127.5 / 128
    assert labels.shape == (8,)
    assert set(labels) <= set(range(5))


def test_every_epoch_holds_every_picture_once_in_a_new_order(records_folder):
    batches = take(records_folder, 3, batch_size=30, augment=Augmentation(flip=False))
    epochs = [np.sort(pictures.mean(axis=(1, 2, 3))) for pictures, _ in batches]
    np.testing.assert_allclose(epochs[1], epochs[0], rtol=1e-6)
    assert any(np.any(batches[0][1] != other) for _, other in batches[1:])


@pytest.mark.parametrize("augment", [Augmentation(), EVERYTHING])
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(records_folder, augment):
    first, again, other = (take(records_folder, 5, seed=s, augment=augment) for s in (0, 0, 1))
    for (ours, labels), (theirs, their_labels) in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(labels, their_labels)
    assert np.any(first[0][0] != other[0][0])


def test_a_stream_continues_where_it_was_left(records_folder):
    whole = take(records_folder, 7, augment=EVERYTHING)
    rest = take(records_folder, 2, start_step=5, augment=EVERYTHING)
    for (ours, labels), (theirs, their_labels) in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(labels, their_labels)


def test_about_half_of_the_pictures_are_mirrored(records_folder):
    plain = take(records_folder, 40, augment=Augmentation(flip=False))
    flipped = take(records_folder, 40)
    count = 0
    for (before, _), (after, _) in zip(plain, flipped, strict=True):
        for ours, theirs in zip(before, after, strict=True):
            mirrored = np.array_equal(theirs, ours[:, ::-1])
            assert mirrored or np.array_equal(theirs, ours)
            count += mirrored
    # Of 320; five standard deviations are 45.
    assert 115 < count < 205


def test_evaluation_counts_and_orders_every_picture(records_folder):
    dataset = pipeline.evaluation_batches(records_folder, 8)
    assert int(dataset.cardinality()) == 4
    labels = np.concatenate([labels for _, labels in dataset.as_numpy_iterator()])
    np.testing.assert_array_equal(np.bincount(labels), [6] * 5)


def test_a_batch_larger_than_the_data_is_refused(records_folder):
    with pytest.raises(ValueError, match=r"from 1 to .* 30. Received: batch_size=31"):
        pipeline.training_batches(records_folder, 31, seed=0)


def batch(num=6):
    return np.random.default_rng(0).integers(0, 256, (num, 20, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", Augmentation._fields[1:])
def test_each_augmentation_changes_pictures_and_keeps_their_range(name):
    augment = Augmentation(flip=False, **{name: 0.5})
    changed = augment(batch(), seed=(0, 1)).numpy()
    assert changed.shape == (6, 20, 16, 3)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert np.all(np.any(changed != batch(), axis=(1, 2, 3)))
    assert not np.array_equal(changed, augment(batch(), seed=(0, 2)))


def test_no_augmentation_is_the_identity():
    np.testing.assert_array_equal(Augmentation(flip=False)(batch(), seed=(0, 1)), batch())


def test_a_shift_moves_the_picture_by_at_most_so_many_pixels():
    pictures = np.zeros((32, 21, 21, 3), np.uint8)
    pictures[:, 10, 10] = 255
    moved = Augmentation(flip=False, shift=3)(pictures, seed=(0, 1)).numpy()[..., 0]
    y, x = np.mgrid[:21, :21]
    centres = np.stack([(moved * axis).sum((1, 2)) / moved.sum((1, 2)) for axis in (x, y)])
    assert np.abs(centres - 10).max() <= 3.01
    assert np.abs(centres - 10).max() > 1.5
    assert np.all(centres.std(axis=1) > 1)


def test_interleaving_does_not_lose_the_count(records_folder):
    info = records.read_info(records_folder)
    assert int(pipeline.encoded_records(records_folder, info).cardinality()) == 30
    sizes = {
        image.shape
        for image, _ in pipeline.decoded(
            pipeline.encoded_records(records_folder, info), images.IMAGE_SIZE
        ).as_numpy_iterator()
    }
    assert sizes == {(112, 96, 3)}
