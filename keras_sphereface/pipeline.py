"""Records -> batches, with tf.data. A stage is a function dataset -> dataset."""

import os
from pathlib import Path

import tensorflow as tf

from keras_sphereface import augmentation, preprocessing, records

SHUFFLE_PICTURES = 10_000  # about 100 MB of encoded faces


def encoded_records(folder: str | os.PathLike, info: records.DatasetInfo) -> tf.data.Dataset:
    """The parsed records of all shards, images still encoded, in a fixed order."""
    files = [str(Path(folder) / shard.file) for shard in info.shards]
    serialized = tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(len(files), 16),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    # Interleave forgets how many there are; fit and evaluate go wrong on an unknown end.
    counted = serialized.apply(tf.data.experimental.assert_cardinality(info.num_images))
    return counted.map(preprocessing.parse_record, num_parallel_calls=tf.data.AUTOTUNE)


def decoded(dataset: tf.data.Dataset, size: tuple[int, int]) -> tf.data.Dataset:
    """Parsed records -> (uint8 image (*size, 3), int32 label)."""

    def decode(record):
        image = preprocessing.decode_record_image(record["image"], size)
        return image, tf.cast(record["label"], tf.int32)

    return dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_batches(
    folder: str | os.PathLike,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    augment: augmentation.Augmentation = augmentation.Augmentation(),
) -> tf.data.Dataset:
    """Endless shuffled, augmented, scaled batches; the same for the same seed.

    Args:
        folder: records made by `make_records`.
        batch_size: B, global.
        seed: of the order and the augmentation.
        start_step: the number of batches already used; the stream continues after them.
        augment: the random changes; by default a horizontal flip for half of the pictures.

    Returns:
        A dataset of (float32 images (B, H, W, 3) in [-1, 1), int32 labels (B,)).
    """
    info = records.read_info(folder)
    if not 1 <= batch_size <= info.num_images:
        raise ValueError(
            f"`batch_size` must be from 1 to the number of pictures, {info.num_images}. "
            f"Received: batch_size={batch_size}"
        )
    # Shuffled while encoded (small), repeated before batching (no short batch at an epoch's
    # end), skipped before decoding (resuming is fast), augmented as whole batches.
    dataset = encoded_records(folder, info)
    dataset = dataset.shuffle(min(SHUFFLE_PICTURES, info.num_images), seed=seed)
    dataset = dataset.repeat().skip(start_step * batch_size)
    dataset = decoded(dataset, info.image_size).batch(batch_size, drop_remainder=True)

    def augment_and_scale(step, batch):
        pictures, labels = batch
        return preprocessing.normalize(augment(pictures, seed=(seed, step))), labels

    dataset = dataset.enumerate(start=start_step)
    dataset = dataset.map(
        augment_and_scale, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(folder: str | os.PathLike, batch_size: int) -> tf.data.Dataset:
    """Every picture once, in a fixed order, scaled, not augmented; the last batch is short."""
    info = records.read_info(folder)
    dataset = decoded(encoded_records(folder, info), info.image_size).batch(batch_size)
    dataset = dataset.map(lambda pictures, labels: (preprocessing.normalize(pictures), labels))
    return dataset.prefetch(tf.data.AUTOTUNE)
