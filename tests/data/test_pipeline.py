"""Records as batches: every image once an epoch or every identity equally often, seeded,
continued anywhere, shared by workers."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sphereface import ASoftmax, FacePreprocessing
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, pipeline, preprocessing, records
from keras_sphereface.data.augmentation import Augmentation
from keras_sphereface.data.conversion.convert import make_records
from tests.conftest import OLD_FILES, convert_training_identities

EVERYTHING = Augmentation(
    shift=4,
    zoom=0.1,
    rotation=8,
    brightness=0.2,
    contrast=0.3,
    erase=0.5,
    crop=0.2,
    saturation=0.5,
    low_resolution=0.5,
)
CACHES = ["", "memory", "file"]
UNEVEN = [1, 2, 3, 5, 12, 40, 3]  # images of each identity of `uneven_folder`


def take(folder, steps, **arguments):
    dataset = pipeline.training_batches(folder, **{"batch_size": 8, "seed": 0, **arguments})
    return list(dataset.take(steps).as_numpy_iterator())


def keys(folder, steps, **arguments):
    """Return `take` without augmentation, each image as a number of its own: (steps, B)."""
    batch_images = [images for images, _ in take(folder, steps, augment=None, **arguments)]
    return np.array([[hash(image.tobytes()) for image in batch] for batch in batch_images])


def assert_batches_equal(batches, others):
    for (pixels, labels), (other_pixels, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(pixels, other_pixels)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.fixture(scope="module")
def one_shard(faces, tmp_path_factory) -> Path:
    """The 30 images of `records_folder` in a single shard."""
    return convert_training_identities(faces, tmp_path_factory.mktemp("one") / "records", 1)


@pytest.fixture(scope="module")
def uneven_folder(tmp_path_factory) -> Path:
    """Records of identities with few and many images; red is the label, green the number."""
    folder = tmp_path_factory.mktemp("uneven")
    for identity, count in enumerate(UNEVEN):
        (folder / "images" / str(identity)).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (96, 112), (identity, number, 0))
            image.save(folder / "images" / str(identity) / f"{number}.png")
    source, out = str(folder / "images"), str(folder / "records")
    make_records(ConvertConfig(source=source, out=out, num_shards=3))
    return folder / "records"


def balanced_rows(folder, steps, **arguments):
    """Return red, green and label of each row of balanced batches: (steps, B / num_workers, 3)."""
    arguments = {"images_per_identity": 2, "augment": None, **arguments}
    return np.array(
        [
            np.column_stack([batch_images[:, 0, 0, :2], labels])
            for batch_images, labels in take(folder, steps, **arguments)
        ]
    )


@pytest.fixture(params=["records_folder", "one_shard"])
def folder(request) -> Path:
    """30 images, in three shards or in one."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def cached(tmp_path):
    """Arguments of `training_batches` for a kind of cache."""
    return lambda kind: {"cache": tmp_path / "cache" if kind == "file" else kind}


def test_batches_have_shape_range_and_labels(records_folder):
    batch_images, labels = take(records_folder, 1)[0]
    assert batch_images.shape == (8, 112, 96, 3)
    assert batch_images.dtype == np.float32
    assert -127.5 / 128 <= batch_images.min() < -0.2 < 0.2 < batch_images.max() <= 127.5 / 128
    assert labels.shape == (8,)
    assert set(labels) <= set(range(5))


@pytest.mark.parametrize("kind", CACHES)
def test_every_epoch_holds_every_image_once_in_a_new_order(folder, cached, kind):
    epochs = keys(folder, 4, batch_size=30, **cached(kind))
    assert len(set(epochs[0])) == 30
    for epoch in epochs[1:]:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(epochs[0]))
    assert len(np.unique(epochs, axis=0)) == 4


@pytest.mark.slow
def test_the_files_come_in_a_new_order_each_epoch(records_folder, monkeypatch):
    monkeypatch.setattr(pipeline, "SHUFFLE_IMAGES", 1)
    monkeypatch.setattr(pipeline, "PARALLEL_FILES", 1)
    epochs = keys(records_folder, 20, batch_size=30)
    assert len({epoch[0] for epoch in epochs}) == 3
    np.testing.assert_array_equal(np.sort(epochs[1]), np.sort(epochs[0]))


def test_batches_run_on_over_the_end_of_an_epoch_and_never_end(folder):
    dataset = pipeline.training_batches(folder, 8, seed=0)
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    stream = keys(folder, 15).ravel()
    assert len(stream) == 120
    for epoch in stream.reshape(4, 30):
        assert len(set(epoch)) == 30


@pytest.mark.slow
def test_without_augmentation_images_are_the_plain_bytes(records_folder):
    batch_images, labels = take(records_folder, 1, batch_size=30, augment=None)[0]
    scaled, same_labels = take(records_folder, 1, batch_size=30, augment=Augmentation(flip=False))[
        0
    ]
    assert batch_images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_allclose(scaled, (batch_images.astype(np.float64) - 127.5) / 128)
    np.testing.assert_array_equal(labels, same_labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "augment", [Augmentation(), pytest.param(EVERYTHING, marks=pytest.mark.slow)]
)
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(records_folder, augment):
    first, again, other = (take(records_folder, 5, seed=s, augment=augment) for s in (0, 0, 1))
    assert_batches_equal(first, again)
    assert np.any(first[0][0] != other[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_cache_gives_the_same_batches_each_time(folder, cached, kind):
    first = keys(folder, 9, **cached(kind))
    np.testing.assert_array_equal(keys(folder, 9, **cached(kind)), first)
    assert np.any(keys(folder, 9, seed=1, **cached(kind)) != first)


def test_the_global_seed_plays_no_part(folder):
    tf.random.set_seed(0)
    first = keys(folder, 5)
    tf.random.set_seed(5)
    np.testing.assert_array_equal(keys(folder, 5), first)


@pytest.mark.slow
@pytest.mark.parametrize("augment", [pytest.param(EVERYTHING, marks=pytest.mark.slow), None])
def test_a_stream_continues_where_it_was_left(folder, augment):
    whole = take(folder, 17, augment=augment)
    for start in (0, 3, 4, 15):  # 3 ends in the second epoch, 15 begins the fifth
        rest = take(folder, 2, start_step=start, augment=augment)
        assert_batches_equal(rest, whole[start : start + 2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stream_continues_with_caches_and_workers(folder, cached, kind, num_workers):
    arguments = {"num_workers": num_workers, "worker": num_workers - 1, **cached(kind)}
    whole = keys(folder, 13, **arguments)
    np.testing.assert_array_equal(keys(folder, 2, start_step=11, **arguments), whole[11:])


def test_continuing_reads_nothing_of_the_epochs_before(records_folder):
    """A million epochs in, reading them would take hours."""
    first = keys(records_folder, 4, start_step=30_000_000)
    np.testing.assert_array_equal(keys(records_folder, 2, start_step=30_000_002), first[2:])


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2, pytest.param(3, marks=pytest.mark.full), 4])
@pytest.mark.parametrize("kind", CACHES)
def test_workers_share_the_records_and_the_batch(folder, cached, kind, num_workers):
    # Three shards: whole files for two and three workers, every fourth record for four.
    everything = set(keys(folder, 1, batch_size=30).ravel())
    shares = []
    for worker in range(num_workers):
        arguments = {"batch_size": 12, "num_workers": num_workers, "worker": worker}
        stream = keys(folder, 11, **arguments, **cached(kind))
        assert stream.shape == (11, 12 // num_workers)
        np.testing.assert_array_equal(keys(folder, 11, **arguments, **cached(kind)), stream)
        share = set(stream.ravel())
        # An epoch of a worker is its whole share.
        epochs = stream.ravel()[: 3 * len(share)].reshape(3, len(share))
        assert all(set(epoch) == share for epoch in epochs)
        shares.append(share)
    assert sum(map(len, shares)) == 30
    assert set.union(*shares) == everything


@pytest.mark.slow
def test_workers_draw_their_augmentation_apart(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 96, 3), np.uint8))
    for i in range(4):
        (tmp_path / "images" / f"person_{i}").mkdir(parents=True)
        image.save(tmp_path / "images" / f"person_{i}" / "same.png")
    make_records(ConvertConfig(source=str(tmp_path / "images"), out=str(tmp_path / "records")))
    arguments = {"batch_size": 4, "num_workers": 2, "augment": Augmentation(shift=4)}
    drawn = [
        images
        for worker in (0, 1)
        for images, _ in take(tmp_path / "records", 3, worker=worker, **arguments)
    ]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 12


@pytest.mark.slow
def test_shards_without_records_are_no_workers_share(records_folder, tmp_path):
    shutil.copytree(records_folder, tmp_path / "records")
    path = tmp_path / "records" / "dataset.json"
    info = json.loads(path.read_text())
    (tmp_path / "records" / "empty.tfrecord").write_bytes(b"")
    info["shards"].insert(
        1, {"file": "empty.tfrecord", "num_images": 0, "num_bytes": 0, "sha256": ""}
    )
    path.write_text(json.dumps(info))
    for worker in range(4):
        assert keys(tmp_path / "records", 20, num_workers=4, worker=worker).shape == (20, 2)


@pytest.mark.parametrize("kind", CACHES)
def test_a_shard_that_lost_records_is_noticed(records_folder, cached, kind, tmp_path):
    copy = tmp_path / "records"
    shutil.copytree(records_folder, copy)
    shards = [copy / shard.file for shard in records.read_info(copy).shards]
    kept = list(tf.data.TFRecordDataset(str(shards[0])).take(4).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(shards[0])) as writer:
        for record in kept:
            writer.write(record)
    with pytest.raises(tf.errors.FailedPreconditionError, match="30 elements"):
        keys(copy, 8, **cached(kind))


@pytest.mark.slow
def test_caches_of_other_records_or_workers_are_other_files(records_folder, one_shard, tmp_path):
    for folder, num_workers in ((records_folder, 1), (one_shard, 1), (one_shard, 2)):
        keys(folder, 20, cache=tmp_path, num_workers=num_workers)
    assert len(list(tmp_path.glob("*.index"))) == 3


def test_a_cache_is_read_in_place_of_the_records(records_folder, tmp_path):
    copy, cache = tmp_path / "records", tmp_path / "cache"
    shutil.copytree(records_folder, copy)
    first = keys(copy, 9, cache=cache)
    for shard in records.read_info(copy).shards:
        (copy / shard.file).write_bytes(b"")
    np.testing.assert_array_equal(keys(copy, 9, cache=cache), first)


@pytest.mark.slow
def test_about_half_of_the_images_are_mirrored(records_folder):
    plain = take(records_folder, 40, augment=Augmentation(flip=False))
    flipped = take(records_folder, 40)
    count = 0
    for (before, _), (after, _) in zip(plain, flipped, strict=True):
        for first_images, other_images in zip(before, after, strict=True):
            mirrored = np.array_equal(other_images, first_images[:, ::-1])
            assert mirrored or np.array_equal(other_images, first_images)
            count += mirrored
    # Of 320; five standard deviations are 45.
    assert 115 < count < 205


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "images_per_identity"),
    [(8, 2), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((12, 4), (21, 3)))],
)
def test_a_balanced_batch_has_different_identities_with_some_images_each(
    uneven_folder, batch_size, images_per_identity
):
    rows = balanced_rows(
        uneven_folder, 30, batch_size=batch_size, images_per_identity=images_per_identity
    )
    identities_per_batch = batch_size // images_per_identity
    assert rows.shape == (30, batch_size, 3)
    np.testing.assert_array_equal(rows[..., 0], rows[..., 2])
    for batch in rows.reshape(30, identities_per_batch, images_per_identity, 3):
        assert (batch[..., 2] == batch[:, :1, 2]).all()
        assert len(set(batch[:, 0, 2])) == identities_per_batch
        for rows_of_identity in batch:
            different = min(images_per_identity, UNEVEN[rows_of_identity[0, 2]])
            assert len(set(rows_of_identity[:, 1])) == different


@pytest.mark.slow
def test_all_identities_come_equally_often_in_balanced_batches(uneven_folder):
    labels = balanced_rows(uneven_folder, 400, batch_size=6)[..., 2]
    # 200 epochs of two batches, each without one of the seven: 171 times two of the images.
    # Binomial: five standard deviations are 25.
    assert np.abs(np.bincount(labels.ravel()) / 2 - 200 * 6 / 7).max() < 25


def test_balanced_batches_never_end_and_have_static_shapes(uneven_folder):
    dataset = pipeline.training_batches(uneven_folder, 8, seed=0, images_per_identity=2)
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    batch_images, labels = dataset.element_spec
    assert (batch_images.shape, batch_images.dtype) == ((8, 112, 96, 3), tf.float32)
    assert (labels.shape, labels.dtype) == ((8,), tf.int32)


@pytest.mark.slow
def test_balanced_batches_follow_their_seed_and_no_global_one(uneven_folder):
    tf.random.set_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = balanced_rows(uneven_folder, 9)
    tf.random.set_seed(5)
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(balanced_rows(uneven_folder, 9), first)
    assert np.any(balanced_rows(uneven_folder, 9, seed=1) != first)


@pytest.mark.slow
@pytest.mark.parametrize("augment", [EVERYTHING, None])
def test_a_balanced_stream_continues_where_it_was_left(uneven_folder, augment):
    arguments = {"augment": augment, "images_per_identity": 2}
    whole = take(uneven_folder, 9, **arguments)
    for start in (0, 1, 7):
        rest = take(uneven_folder, 2, start_step=start, **arguments)
        assert_batches_equal(rest, whole[start : start + 2])


@pytest.mark.slow
def test_a_balanced_stream_continues_at_any_step_at_once(uneven_folder):
    first = balanced_rows(uneven_folder, 4, start_step=10**15)
    np.testing.assert_array_equal(balanced_rows(uneven_folder, 2, start_step=10**15 + 2), first[2:])


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2, 3, 4])
@pytest.mark.parametrize("same_batches", [False, True])
def test_workers_have_their_rows_of_balanced_batches(uneven_folder, num_workers, same_batches):
    whole = balanced_rows(uneven_folder, 5, batch_size=12, images_per_identity=4)
    arguments = {"num_workers": num_workers, "same_batches": same_batches}
    shares = [
        balanced_rows(
            uneven_folder, 5, batch_size=12, images_per_identity=4, worker=worker, **arguments
        )
        for worker in range(num_workers)
    ]
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)


@pytest.mark.slow
def test_workers_change_their_rows_as_one_worker_does(records_folder):
    arguments = {"batch_size": 10, "images_per_identity": 5, "augment": EVERYTHING}
    whole = take(records_folder, 3, **arguments)
    shares = [
        take(records_folder, 3, num_workers=2, worker=worker, same_batches=True, **arguments)
        for worker in (0, 1)
    ]
    for (batch_images, _), (upper, _), (lower, _) in zip(whole, *shares, strict=True):
        np.testing.assert_allclose(np.concatenate([upper, lower]), batch_images, atol=1e-5)


@pytest.mark.slow
def test_workers_draw_the_augmentation_of_balanced_batches_apart(records_folder):
    arguments = {"batch_size": 8, "images_per_identity": 2, "num_workers": 2, "worker": 1}
    augment = Augmentation(shift=4)
    plain = take(records_folder, 3, augment=None, **arguments)
    for step, (batch_images, _) in enumerate(take(records_folder, 3, augment=augment, **arguments)):
        expected = augment(tf.constant(plain[step][0]), (0, 2 * step + 1))
        np.testing.assert_allclose(batch_images, (expected - 127.5) / 128, atol=1e-6)


@pytest.mark.slow
def test_balanced_batches_of_real_faces(real_faces, tmp_path):
    make_records(
        ConvertConfig(
            source=str(real_faces / "lfw_dev" / "images"),
            landmarks=str(real_faces / "lfw_dev" / "landmarks.txt"),
            out=str(tmp_path / "records"),
            min_images=20,
            num_shards=4,
        )
    )
    images_of = {}
    for record in records.read_folder(tmp_path / "records"):
        image = preprocessing.decode_record_image(record.image, images.IMAGE_SIZE)
        images_of.setdefault(record.label, set()).add(image.numpy().tobytes())
    assert len(images_of) > 30
    arguments = {"batch_size": 64, "images_per_identity": 4, "augment": None}
    for batch_images, labels in take(tmp_path / "records", 4, **arguments):
        assert len(set(labels)) == 16
        batch = [image.tobytes() for image in batch_images]
        assert len(set(batch)) == 64
        assert all(image in images_of[label] for image, label in zip(batch, labels, strict=True))


def test_evaluation_counts_and_orders_every_image(records_folder):
    dataset = pipeline.evaluation_batches(records_folder, 8)
    assert int(dataset.cardinality()) == 4
    labels = np.concatenate([labels for _, labels in dataset.as_numpy_iterator()])
    np.testing.assert_array_equal(np.bincount(labels), [6] * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "from 1 to .* 30. Received: batch_size=0"),
        ({"num_workers": 3}, "divide `batch_size`. Received: num_workers=3, batch_size=8"),
        ({"num_workers": 0}, "Received: num_workers=0"),
        ({"worker": 1}, "from 0 to num_workers - 1, 0. Received: worker=1"),
        ({"num_workers": 2, "worker": -1}, "Received: worker=-1"),
        ({"start_step": -1}, "Received: start_step=-1"),
        ({"images_per_identity": 1}, "0 or at least 2. Received: images_per_identity=1"),
        ({"images_per_identity": -2}, "0 or at least 2. Received: images_per_identity=-2"),
        ({"images_per_identity": 3}, "Received: batch_size=8, images_per_identity=3"),
        ({"images_per_identity": 2, "batch_size": 0}, "positive multiple .* batch_size=0"),
        (
            {"images_per_identity": 2, "batch_size": 12},
            "not have more identities, .* 5 with images: .* Received: batch_size=12, images_per_id",
        ),
        ({"images_per_identity": 2, "cache": "memory"}, "Received: cache='memory'"),
        ({"images_per_identity": 2, "num_workers": 3}, "Received: num_workers=3, batch_size=8"),
        ({"images_per_identity": 2, "start_step": -1}, "Received: start_step=-1"),
    ],
)
def test_bad_arguments_are_refused(records_folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        take(records_folder, 1, **arguments)


def test_a_batch_larger_than_the_data_is_refused(records_folder):
    with pytest.raises(ValueError, match=r"from 1 to .* 30. Received: batch_size=31"):
        pipeline.training_batches(records_folder, 31, seed=0)


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


@pytest.mark.parametrize("format_", sorted(images.RECORD_FORMATS))
def test_records_of_every_format_are_read(tmp_path, format_):
    rng = np.random.default_rng(0)
    expected = set()
    for i in range(4):
        image = Image.fromarray(rng.integers(0, 256, (112, 96, 3), dtype=np.uint8))
        path = tmp_path / "images" / f"person_{i % 2}" / f"{i}.{format_.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        expected.add(images.decode(path.read_bytes()).tobytes())
    make_records(ConvertConfig(source=str(tmp_path / "images"), out=str(tmp_path / "records")))
    batch_images, _ = take(tmp_path / "records", 1, batch_size=4, augment=None)[0]
    read = {image.tobytes() for image in batch_images}
    if format_ == "JPEG":  # another decoder, a few gray levels apart
        assert len(read) == 4
    else:
        assert read == expected


@pytest.mark.slow
def test_a_model_with_the_layer_learns_from_plain_bytes(records_folder):
    keras.utils.set_random_seed(0)
    head = ASoftmax(5, m=1)
    model = keras.Sequential(
        [
            keras.Input((*images.IMAGE_SIZE, 3), dtype="uint8"),
            FacePreprocessing(brightness=0.1),
            keras.layers.AveragePooling2D(8),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
            head,
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss=head.loss, metrics=["accuracy"])
    batches = pipeline.training_batches(records_folder, 10, seed=0, augment=None, cache="memory")
    fit_arguments = {"steps_per_epoch": 15, "epochs": 4, "shuffle": False, "verbose": 0}
    history = model.fit(batches, **fit_arguments).history
    assert history["accuracy"][-1] > 0.8 > history["accuracy"][0]
    assert int(model.layers[0].step.numpy()) == 60


@pytest.mark.parametrize(
    ("images_per_identity", "labels", "means"),
    [
        (0, [[2, 0, 1, 2], [2, 1, 0, 0], [1, 1, 2, 1]], [131.7186, 129.8831, 157.7354]),
        (2, [[2, 2, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2]], [114.9980, 145.7842, 113.5791]),
    ],
)
def test_records_of_an_earlier_version_give_the_batches_they_gave(
    images_per_identity, labels, means
):
    """The numbers are those of the version that wrote the records."""
    arguments = {"batch_size": 4, "seed": 3, "images_per_identity": images_per_identity}
    batches = take(OLD_FILES / "records", 3, augment=None, **arguments)
    assert [batch_labels.tolist() for _, batch_labels in batches] == labels
    # Other versions of the JPEG decoder differ by a gray level here and there.
    np.testing.assert_allclose([images.mean() for images, _ in batches], means, atol=0.05)
