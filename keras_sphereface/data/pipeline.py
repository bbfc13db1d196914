"""Batches from records, with tf.data. A stage is a function dataset -> dataset."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_sphereface.data import augmentation, preprocessing, records, samplers
from keras_sphereface.utils.validation import require
from keras_sphereface.version import __version__

SHUFFLE_IMAGES = 10_000  # about 100 MB of encoded faces
# Encoded images read ahead: decoding continues while the shuffle of the next epoch fills up.
READ_AHEAD = 2_048
PARALLEL_FILES = 16
# Images that are decoded at a time: with one a core, as AUTOTUNE chooses, cores often wait.
DECODED_PER_CORE = 4
PARSE_BLOCK = 128  # one by one, parsing costs a third of what decoding does


def encoded_records(folder: str | os.PathLike, info: records.DatasetInfo) -> tf.data.Dataset:
    """Return the parsed records of all shards, images still encoded, in a fixed order."""
    parsed = _read([str(Path(folder) / shard.file) for shard in info.shards])
    # Interleave loses the number of records, which `fit` and `evaluate` need to find the end.
    return parsed.apply(tf.data.experimental.assert_cardinality(info.num_images))


def decoded(dataset: tf.data.Dataset, size: tuple[int, int]) -> tf.data.Dataset:
    """Turn parsed records into (uint8 image (*size, 3), int32 label)."""

    def decode(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return preprocessing.decode_record_image(record["image"], size), record["label"]

    parallel_calls = DECODED_PER_CORE * (os.cpu_count() or 1)
    return dataset.map(decode, num_parallel_calls=parallel_calls, deterministic=True)


def training_batches(
    folder: str | os.PathLike,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    augment: augmentation.Augmentation | None = augmentation.Augmentation(),
    *,
    images_per_identity: int = 0,
    cache: str | os.PathLike = "",
    num_workers: int = 1,
    worker: int = 0,
    same_batches: bool = False,
) -> tf.data.Dataset:
    """Return endless shuffled batches; the same for the same arguments, whatever the global seed.

    Every epoch holds each image once, in an order that follows from `seed` and the number of the
    epoch; batches continue across its end. With several workers that holds for the share of each.

    With `images_per_identity`, K, the batches are PK-sampled: B / K different identities with K
    images of each, in adjacent rows. An epoch walks through the identities in a new order, so
    all come about equally often; of each, K different images are drawn anew (an identity with
    fewer images repeats some).

    Args:
        folder: Folder of records, made by `make_records`.
        batch_size: Int. B, global.
        seed: Int. Seed for order and augmentation.
        start_step: Int. Number of batches already used; the stream continues after them, and
            reads nothing of the epochs before.
        augment: Random changes; by default a horizontal flip of half of the images. None: plain
            uint8 images, for a model that begins with `FacePreprocessing`.
        images_per_identity: Int. K, at least 2; 0: images of any identities. With K, all encoded
            images are read into memory at the start.
        cache: "memory" caches the encoded images in memory, a path in a file in that folder;
            "": no cache. The orders of the three differ. A run that is killed while it writes the
            file leaves a `.lockfile`, to be deleted by hand. Must be "" with
            `images_per_identity`.
        num_workers: Int. Number of processes that train together. Each reads other shards, or,
            where there are fewer shards than workers, other records of all shards. With
            `images_per_identity` each has its own rows of the batches.
        worker: Int. Number of this process, from 0.
        same_batches: Bool. Make the workers' batches together the batch of a single worker, with
            the same augmentation. Every worker then reads all shards, and decodes its own rows.

    Returns:
        A dataset of (images (B / num_workers, H, W, 3), int32 labels (B / num_workers,)); the
        images are float32 in [-1, 1), or uint8 if `augment` is None.

    Raises:
        FileNotFoundError: if the folder holds no finished set of records.
        ValueError: if a number is out of range; with `images_per_identity` also if a shard is
            damaged, or holds another number of images than dataset.json states.
        tf.errors.FailedPreconditionError: by the dataset without `images_per_identity`, if shards
            hold other numbers of images than dataset.json states.

    Example:

    >>> batches = training_batches("records", batch_size=8, seed=0, images_per_identity=2)
    >>> images, labels = next(iter(batches))
    >>> images.shape, len(set(labels.numpy().tolist()))
    (TensorShape([8, 112, 96, 3]), 4)
    """
    info = records.read_info(folder)
    if images_per_identity:
        _check_pk(batch_size, images_per_identity, cache)
    else:
        records.check_batch_size(info, batch_size)
    _check_workers(batch_size, start_step, num_workers, worker)
    local_size = batch_size // num_workers
    first_row = worker * local_size
    # Shuffled while encoded (small), repeated before batching (no short batch at an epoch's
    # end), skipped before decoding (resuming is fast), augmented as whole batches.
    if images_per_identity:
        rows = slice(first_row, first_row + local_size)
        images = samplers.read_identity_images(folder, info)
        dataset = samplers.pk_records(
            images, batch_size, images_per_identity, seed, start_step, rows
        )
    elif same_batches:
        dataset = _shuffled_epochs(folder, info, seed, start_step * batch_size, cache, 1, 0)
        dataset = _rows_of_batches(dataset, batch_size, first_row, local_size)
    else:
        start = start_step * local_size
        dataset = _shuffled_epochs(folder, info, seed, start, cache, num_workers, worker)
    dataset = decoded(dataset.prefetch(READ_AHEAD), info.image_size)
    dataset = dataset.batch(local_size, drop_remainder=True)
    if augment is not None:
        batch_rows = (first_row, batch_size) if same_batches else None

        def augment_and_scale(
            step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = batch
            number = step if same_batches else step * num_workers + worker
            return preprocessing.normalize(augment(images, (seed, number), batch_rows)), labels

        dataset = dataset.enumerate(start=start_step).map(
            augment_and_scale, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    # Last: in TensorFlow 2.15 an enumerated dataset has an end.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return dataset.apply(endless).prefetch(tf.data.AUTOTUNE)


def _check_pk(batch_size: int, images_per_identity: int, cache: str | os.PathLike) -> None:
    require(
        images_per_identity >= 2,
        "`images_per_identity` must be 0 or at least 2.",
        images_per_identity=images_per_identity,
    )
    require(
        batch_size >= 1 and batch_size % images_per_identity == 0,
        "`batch_size` must be a positive multiple of `images_per_identity`.",
        batch_size=batch_size,
        images_per_identity=images_per_identity,
    )
    rule = "`cache` must be empty with `images_per_identity`, whose images are in memory anyway."
    require(not cache, rule, cache=str(cache))


def _check_workers(batch_size: int, start_step: int, num_workers: int, worker: int) -> None:
    require(
        num_workers >= 1 and batch_size % num_workers == 0,
        "`num_workers` must be at least 1 and divide `batch_size`.",
        num_workers=num_workers,
        batch_size=batch_size,
    )
    rule = f"`worker` must be from 0 to num_workers - 1, {num_workers - 1}."
    require(0 <= worker < num_workers, rule, worker=worker)
    require(start_step >= 0, "`start_step` must be at least 0.", start_step=start_step)


def _rows_of_batches(
    dataset: tf.data.Dataset, batch_size: int, first: int, count: int
) -> tf.data.Dataset:
    """Return, of each `batch_size` elements, `count` from number `first` on."""
    if count == batch_size:
        return dataset

    def rows(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: values[first : first + count] for name, values in batch.items()}

    return dataset.batch(batch_size, drop_remainder=True).map(rows).unbatch()


def evaluation_batches(folder: str | os.PathLike, batch_size: int) -> tf.data.Dataset:
    """Return every image once, in a fixed order, normalized, not augmented.

    Returns:
        A dataset of (float32 images (B, H, W, 3), int32 labels (B,)); the last batch may be
        shorter.

    Example:

    >>> batches = evaluation_batches("records", batch_size=16)
    >>> [len(labels) for _, labels in batches]
    [16, 14]
    """
    info = records.read_info(folder)
    dataset = decoded(encoded_records(folder, info), info.image_size).batch(batch_size)
    dataset = dataset.map(lambda images, labels: (preprocessing.normalize(images), labels))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _read(files: Sequence[str] | tf.Tensor) -> tf.data.Dataset:
    """Return the parsed records of some files, several files at a time, in a fixed order."""

    def read_file(file: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(file).batch(PARSE_BLOCK).map(preprocessing.parse_records)

    blocks = tf.data.Dataset.from_tensor_slices(files).interleave(
        read_file,
        cycle_length=PARALLEL_FILES,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return blocks.unbatch()


def _cache_file(folder: str | os.PathLike, info: records.DatasetInfo, share: str) -> str:
    """Return the file for the encoded images of one worker; other records have another."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    # With the version, since a cache file does not describe its contents.
    contents = "".join([__version__, *(shard.sha256 for shard in info.shards)])
    name = hashlib.sha256(contents.encode()).hexdigest()[:16]
    return str(Path(folder) / f"{name}-{share}.cache")


def _shuffled_epochs(
    folder: str | os.PathLike,
    info: records.DatasetInfo,
    seed: int,
    start: int,
    cache: str | os.PathLike,
    num_workers: int,
    worker: int,
) -> tf.data.Dataset:
    """Return the parsed records of one worker, epoch after epoch, from record `start` on."""
    shards = [shard for shard in info.shards if shard.num_images]
    whole_files = len(shards) >= num_workers
    if whole_files:
        shards = shards[worker::num_workers]
    files = [str(Path(folder) / shard.file) for shard in shards]
    num_records = sum(shard.num_images for shard in shards)
    stored = _read(files)
    if not whole_files:
        stored = stored.shard(num_workers, worker)
        num_records = len(range(worker, num_records, num_workers))
    buffer = min(SHUFFLE_IMAGES, num_records)
    if cache == "memory":
        # Records in memory can be shuffled as a whole: the buffer holds no copies.
        stored, buffer = stored.cache(), num_records
    elif cache:
        stored = stored.cache(_cache_file(cache, info, f"{worker}-of-{num_workers}"))

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        # The seed of this function's graph alone, which the shuffle mixes with its own.
        tf.random.set_seed(1)
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        dataset = stored
        # A cache has one order, and with another order of files every n-th record is another.
        if whole_files and not cache:
            dataset = _read(tf.random.experimental.stateless_shuffle(files, epoch_seed))
        number = tf.random.stateless_uniform([], epoch_seed, None, None, tf.int64)
        # With fewer records than dataset.json states, the stream would continue elsewhere.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_records))
        return dataset.shuffle(buffer, number, reshuffle_each_iteration=False)

    epochs = tf.data.Dataset.range(start // num_records, tf.int64.max)
    return epochs.flat_map(epoch_records).skip(start % num_records)
