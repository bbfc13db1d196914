"""Batches of P people with K images each: who is in them, drawn from images in memory.

Who is in the batch of a step follows from the seed and the number of the step alone, so a stream
goes on at any step at once. Encoded images are small, about 5 kB of 112 x 96, and are all held:
files that are read at random would be waited for.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_sphereface.data import preprocessing, records

READ_AT_ONCE = 512  # records of a file
BATCHES_AT_ONCE = 4
_PEOPLE, _IMAGES = 0, 1  # what is drawn


class IdentityImages(NamedTuple):
    """The encoded images of C people; who has none is not among them.

    `order` puts the N records person by person, people in the order of their labels: those of
    person c are order[first[c]] to order[first[c + 1] - 1].
    """

    images: tf.Tensor  # (N,) strings, as they come in the shards
    labels: tf.Tensor  # (N,) int32
    order: np.ndarray  # (N,)
    first: np.ndarray  # (C + 1,)

    @property
    def num_identities(self) -> int:
        return len(self.first) - 1


def read_identity_images(folder: str | os.PathLike, info: records.DatasetInfo) -> IdentityImages:
    """Read all records of a folder into memory.

    Raises:
        ValueError: if a shard is damaged, or holds another number of images than `info` says.
    """
    images, labels = [tf.constant([], tf.string)], [tf.constant([], tf.int32)]
    for shard in info.shards:
        path, count = Path(folder) / shard.file, 0
        for parsed in _parsed_batches(path):
            images.append(parsed["image"])
            labels.append(parsed["label"])
            count += len(parsed["label"])
        if count != shard.num_images:
            raise ValueError(
                f"{records.INFO_FILE} expects {shard.num_images} images in {path}. "
                f"Received: {count} images"
            )
    of_all = tf.concat(labels, axis=0)
    counts = np.unique(of_all.numpy(), return_counts=True)[1]
    return IdentityImages(
        images=tf.concat(images, axis=0),
        labels=of_all,
        order=np.argsort(of_all.numpy(), kind="stable"),
        first=np.cumsum(np.append(0, counts)),
    )


def _parsed_batches(path):
    batches = tf.data.TFRecordDataset(str(path)).batch(READ_AT_ONCE)
    try:
        yield from batches.map(preprocessing.parse_records).prefetch(1)
    except tf.errors.DataLossError as error:
        raise ValueError(f"{path} is damaged. Received: {error.message}") from None


def identities_at_step(
    num_identities: int, people_per_batch: int, seed: int, step: tf.Tensor
) -> tf.Tensor:
    """The numbers, (P,), of the people in the batch of a step, all different.

    In an epoch of people the C of them are walked through in a new order, P at a time; the last
    C mod P of that order are left out.
    """
    batches = num_identities // people_per_batch  # in an epoch
    epoch, place = step // batches, tf.cast(step % batches, tf.int32)
    everyone = tf.range(num_identities)
    order = tf.random.experimental.stateless_shuffle(everyone, _seed(seed, epoch, _PEOPLE))
    return order[place * people_per_batch :][:people_per_batch]


def images_at_step(
    first: np.ndarray, people_per_batch: int, images_per_identity: int, seed: int, step: tf.Tensor
) -> tf.Tensor:
    """The places in `IdentityImages.order`, (P * K,), of the images in the batch of a step.

    They come person by person, those of a person being different. Who has n < K images shows
    each floor(K / n) times or once more.

    Args:
        first: (C + 1,) as in `IdentityImages`.
        people_per_batch: P, at most C.
        images_per_identity: K.
        seed: of people and images.
        step: int64, from 0.
    """
    chosen = identities_at_step(len(first) - 1, people_per_batch, seed, step)
    counts, most = np.diff(first), int(np.diff(first).max())
    own = tf.gather(counts, chosen)[:, None]  # (P, 1)
    keys = tf.random.stateless_uniform([people_per_batch, most], _seed(seed, step, _IMAGES))
    # The n images of a person, in random order, come before what there is not.
    keys = tf.where(tf.range(most, dtype=own.dtype) < own, keys, -1.0)
    pictures = tf.math.top_k(keys, min(most, images_per_identity)).indices
    places = tf.range(images_per_identity, dtype=own.dtype) % tf.minimum(own, images_per_identity)
    pictures = tf.gather(pictures, places, batch_dims=1)  # (P, K)
    starts = tf.gather(first, chosen)[:, None]
    return tf.reshape(starts + tf.cast(pictures, starts.dtype), [-1])


def _seed(seed, number, purpose):
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_fold_in(pair, purpose)


def identities_per_batch(batch_size: int, images_per_identity: int, num_identities: int) -> int:
    """P of a batch, of `num_identities` who have images.

    Raises:
        ValueError: if a batch has more people than there are.
    """
    people_per_batch = batch_size // images_per_identity
    if people_per_batch > num_identities:
        raise ValueError(
            "A batch must have no more people, `batch_size / images_per_identity`, than have "
            f"images, {num_identities}. "
            f"Received: batch_size={batch_size}, images_per_identity={images_per_identity}"
        )
    return people_per_batch


def pk_records(
    people: IdentityImages,
    batch_size: int,
    images_per_identity: int,
    seed: int,
    start_step: int,
    rows: slice,
) -> tf.data.Dataset:
    """The parsed records, images still encoded, in those rows of each batch from a step on.

    Args:
        people: and their images.
        batch_size: B, a multiple of `images_per_identity`.
        images_per_identity: K.
        seed: of people and images.
        start_step: the first batch; nothing is drawn for those before.
        rows: of the B of each batch, with a start and a stop.

    Raises:
        ValueError: if a batch has more people than there are.
    """
    people_per_batch = identities_per_batch(batch_size, images_per_identity, people.num_identities)

    def record_rows(step):
        places = images_at_step(people.first, people_per_batch, images_per_identity, seed, step)
        chosen = tf.gather(people.order, places[rows])
        return {
            "image": tf.gather(people.images, chosen),
            "label": tf.gather(people.labels, chosen),
        }

    steps = tf.data.Dataset.range(start_step, tf.int64.max)
    return steps.map(record_rows, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True).unbatch()
