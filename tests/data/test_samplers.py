"""P identities with K images each: how often each comes, and with which images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import records, samplers, tfrecord

COUNTS = [1, 2, 3, 5, 12, 40]  # images of six identities
FIRST = np.cumsum([0, *COUNTS])


@tf.function
def draw(identities_per_batch, images_per_identity, seed, step):
    return samplers.images_at_step(FIRST, identities_per_batch, images_per_identity, seed, step)


def drawn_images(step, identities_per_batch=3, images_per_identity=4, seed=0):
    """Return the identity and the image of each row: (P, K) both."""
    step = tf.constant(step, tf.int64)
    chosen = draw(identities_per_batch, images_per_identity, seed, step).numpy()
    identities = np.searchsorted(FIRST, chosen, side="right") - 1
    shape = identities_per_batch, images_per_identity
    return identities.reshape(shape), chosen.reshape(shape)


def copy_records(folder, out) -> tuple[Path, list[Path]]:
    """A copy of a folder of records, to be damaged, and its shards."""
    shutil.copytree(folder, out)
    return out, [out / shard.file for shard in records.read_info(out).shards]


def rewrite(folder, out, labels) -> records.DatasetInfo:
    """The records of a folder whose label is a key of `labels`, with its value as the label; all
    in the second of three shards."""
    shutil.copytree(folder, out)
    shards = []
    for number in range(3):
        with tfrecord.ShardWriter(out / f"{number}.tfrecord") as writer:
            for record in records.read_folder(folder) if number == 1 else ():
                if record.label in labels:
                    new = record._replace(label=labels[record.label])
                    writer.write(tfrecord.serialize(new))
        shards.append(writer.shard)
    values = json.loads((folder / records.INFO_FILE).read_text())
    values["shards"] = [shard.__dict__ for shard in shards]
    (out / records.INFO_FILE).write_text(json.dumps(values))
    return records.read_info(out)


@pytest.mark.parametrize("identities_per_batch", [1, 2, 4, 6])
def test_a_batch_has_different_identities_in_adjacent_rows(identities_per_batch):
    for step in range(50):
        identities, _ = drawn_images(step, identities_per_batch)
        assert (identities == identities[:, :1]).all()
        assert len(set(identities[:, 0])) == identities_per_batch


@pytest.mark.parametrize("identities_per_batch", [1, 2, 3, 6])
def test_an_epoch_of_identities_holds_each_once_in_a_new_order(identities_per_batch):
    steps = 40 * 6 // identities_per_batch
    order = np.concatenate(
        [drawn_images(step, identities_per_batch)[0][:, 0] for step in range(steps)]
    )
    epochs = order.reshape(40, 6)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(6), (40, 1)))
    assert len(np.unique(epochs, axis=0)) > 30  # of 720 orders


@pytest.mark.slow
def test_identities_come_equally_often_whatever_the_number_of_their_images():
    """Four of six at a time: two are left out of each epoch, others each time."""
    identities = np.concatenate([drawn_images(step, 4)[0][:, 0] for step in range(1200)])
    # Binomial, 1200 times 4 of 6: five standard deviations are 82.
    assert np.abs(np.bincount(identities) - 800).max() < 82


@pytest.mark.parametrize("images_per_identity", [2, 3, 5, 13])
def test_images_are_different_where_there_are_enough_and_evenly_repeated_if_not(
    images_per_identity,
):
    for step in range(30):
        identities, chosen = drawn_images(step, 6, images_per_identity)
        for identity, drawn in zip(identities[:, 0], chosen, strict=True):
            times = np.bincount(drawn - FIRST[identity], minlength=COUNTS[identity])
            assert times.min() >= images_per_identity // COUNTS[identity]
            assert times.max() <= -(-images_per_identity // COUNTS[identity])


@pytest.mark.slow
def test_all_images_of_an_identity_come_equally_often():
    drawn = np.concatenate([drawn_images(step, 6, 2)[1].ravel() for step in range(2000)])
    times = np.bincount(drawn)
    for identity in (2, 3, 4, 5):  # with more images than the two that are drawn
        expected = 4000 / COUNTS[identity]
        times_of_identity = times[FIRST[identity] : FIRST[identity + 1]]
        assert np.abs(times_of_identity - expected).max() < 5 * np.sqrt(expected)


def test_seeds_and_steps_draw_others():
    drawn = [drawn_images(step, seed=seed)[1] for seed in (0, 1, -1, 2**40) for step in range(5)]
    assert len(np.unique(drawn, axis=0)) == 20


def test_the_draw_is_the_same_on_every_version():
    golden = [[5, 4, 3], [1, 2, 1]]
    np.testing.assert_array_equal(drawn_images(7, 2, 3, seed=5)[1], golden)


def test_every_identity_has_its_images(records_folder):
    images = samplers.read_identity_images(records_folder, records.read_info(records_folder))
    assert images.num_identities == 5
    read = {}
    for identity in range(5):
        positions = images.order[images.first[identity] : images.first[identity + 1]]
        assert (images.labels.numpy()[positions] == identity).all()
        read[identity] = set(images.images.numpy()[positions])
    expected = {identity: set() for identity in range(5)}
    for record in records.read_folder(records_folder):
        expected[record.label].add(record.image)
    assert read == expected


def test_labels_without_images_and_shards_without_records_are_ignored(records_folder, tmp_path):
    info = rewrite(records_folder, tmp_path / "records", {0: 0, 2: 7, 3: 3})
    images = samplers.read_identity_images(tmp_path / "records", info)
    assert images.labels.numpy()[images.order].tolist() == [0] * 6 + [3] * 6 + [7] * 6
    np.testing.assert_array_equal(images.first, [0, 6, 12, 18])


def test_without_records_there_are_no_identities(records_folder, tmp_path):
    info = rewrite(records_folder, tmp_path / "records", {})
    assert samplers.read_identity_images(tmp_path / "records", info).num_identities == 0


@pytest.mark.parametrize("where", ["image", "end", "length"])
def test_a_damaged_shard_is_named(records_folder, tmp_path, where):
    folder, shards = copy_records(records_folder, tmp_path / "records")
    content = bytearray(shards[1].read_bytes())
    if where == "end":
        del content[-10:]
    else:
        content[1000 if where == "image" else 0] ^= 1
    shards[1].write_bytes(content)
    with pytest.raises(ValueError, match=f"{shards[1].name} is damaged. Received: .* record at"):
        samplers.read_identity_images(folder, records.read_info(folder))


def test_a_shard_that_lost_records_is_named(records_folder, tmp_path):
    folder, shards = copy_records(records_folder, tmp_path / "records")
    kept = list(tfrecord.read_records(shards[2]))[:-1]
    with tfrecord.ShardWriter(shards[2]) as writer:
        for record in kept:
            writer.write(record)
    message = f"expects {len(kept) + 1} images in .*{shards[2].name}. Received: {len(kept)} "
    with pytest.raises(ValueError, match=message):
        samplers.read_identity_images(folder, records.read_info(folder))


def test_the_requested_rows_are_read(records_folder):
    images = samplers.read_identity_images(records_folder, records.read_info(records_folder))
    read = [
        list(samplers.pk_records(images, 8, 2, 0, 3, rows).take(count).as_numpy_iterator())
        for rows, count in ((slice(0, 8), 16), (slice(3, 6), 6))
    ]
    assert read[1] == [read[0][i] for i in (3, 4, 5, 11, 12, 13)]
