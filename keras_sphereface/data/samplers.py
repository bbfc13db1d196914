"""PK sampling: batches of P identities with K images each, drawn from images in memory.

The batch of a step follows from the seed and the number of the step alone, so a stream continues
at any step at once. All encoded images are held in memory, about 5 kB each at 112 x 96: random
reads from files would be too slow.

Reference: Hermans et al., "In defense of the triplet loss for person re-identification", 2017.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_sphereface.data import preprocessing, records
from keras_sphereface.utils.text import counted
from keras_sphereface.utils.validation import require

READ_BLOCK = 512  # records of a file that are parsed in one call
PARALLEL_BATCHES = 4
_IDENTITIES, _IMAGES = 0, 1  # draws with different seeds


class IdentityImages(NamedTuple):
    """The encoded images of C identities; identities without images are not counted.

    Attributes:
        images: (N,) strings, in the order of the shards.
        labels: (N,) int32.
        order: (N,) positions of the images, sorted by label: those of identity c are
            order[first[c]] to order[first[c + 1] - 1].
        first: (C + 1,) positions in `order`.
    """

    images: tf.Tensor
    labels: tf.Tensor
    order: np.ndarray
    first: np.ndarray

    @property
    def num_identities(self) -> int:
        return len(self.first) - 1


def read_identity_images(folder: str | os.PathLike, info: records.DatasetInfo) -> IdentityImages:
    """Read all records of a folder into memory.

    Raises:
        ValueError: if a shard is damaged, or holds another number of images than `info` states.
    """
    images, labels = [tf.constant([], tf.string)], [tf.constant([], tf.int32)]
    for shard in info.shards:
        path, count = Path(folder) / shard.file, 0
        for parsed in _parsed_blocks(path):
            images.append(parsed["image"])
            labels.append(parsed["label"])
            count += len(parsed["label"])
        if count != shard.num_images:
            raise ValueError(
                f"{records.INFO_FILE} expects {counted(shard.num_images, 'image')} in {path}. "
                f"Received: {counted(count, 'image')}"
            )
    all_labels = tf.concat(labels, axis=0)
    counts = np.unique(all_labels.numpy(), return_counts=True)[1]
    return IdentityImages(
        images=tf.concat(images, axis=0),
        labels=all_labels,
        order=np.argsort(all_labels.numpy(), kind="stable"),
        first=np.cumsum(np.append(0, counts)),
    )


def _parsed_blocks(path: Path) -> Iterator[dict[str, tf.Tensor]]:
    blocks = tf.data.TFRecordDataset(str(path)).batch(READ_BLOCK)
    try:
        yield from blocks.map(preprocessing.parse_records).prefetch(1)
    except tf.errors.DataLossError as error:
        raise ValueError(f"{path} is damaged. Received: {error.message}") from None


def identities_at_step(
    num_identities: int, identities_per_batch: int, seed: int, step: tf.Tensor
) -> tf.Tensor:
    """Draw the identities of the batch of a step.

    An epoch of identities walks through all C of them in a new order, P at a time; the last
    C mod P of that order are left out.

    Args:
        num_identities: Int. C.
        identities_per_batch: Int. P, at most C.
        seed: Int. Seed for the orders.
        step: int64 scalar, from 0.

    Returns:
        (P,) int32, all different.
    """
    batches_per_epoch = num_identities // identities_per_batch
    epoch, batch = step // batches_per_epoch, tf.cast(step % batches_per_epoch, tf.int32)
    identities = tf.range(num_identities)
    order = tf.random.experimental.stateless_shuffle(identities, _seed(seed, epoch, _IDENTITIES))
    return order[batch * identities_per_batch :][:identities_per_batch]


def images_at_step(
    first: np.ndarray,
    identities_per_batch: int,
    images_per_identity: int,
    seed: int,
    step: tf.Tensor,
) -> tf.Tensor:
    """Draw the images of the batch of a step.

    They come identity by identity; those of an identity are different. The images of an identity
    that has n < K of them come floor(K / n) times or once more.

    Args:
        first: (C + 1,) as in `IdentityImages`.
        identities_per_batch: Int. P, at most C.
        images_per_identity: Int. K.
        seed: Int. Seed for identities and images.
        step: int64 scalar, from 0.

    Returns:
        (P * K,) positions in `IdentityImages.order`.
    """
    identities = identities_at_step(len(first) - 1, identities_per_batch, seed, step)
    counts, max_count = np.diff(first), int(np.diff(first).max())
    num_images = tf.gather(counts, identities)[:, None]  # (P, 1)
    shape = [identities_per_batch, max_count]
    keys = tf.random.stateless_uniform(shape, _seed(seed, step, _IMAGES))
    # The n images of an identity, in random order, come before the columns without an image.
    keys = tf.where(tf.range(max_count, dtype=num_images.dtype) < num_images, keys, -1.0)
    shuffled = tf.math.top_k(keys, min(max_count, images_per_identity)).indices
    columns = tf.range(images_per_identity, dtype=num_images.dtype)
    columns %= tf.minimum(num_images, images_per_identity)
    images = tf.gather(shuffled, columns, batch_dims=1)  # (P, K)
    starts = tf.gather(first, identities)[:, None]
    return tf.reshape(starts + tf.cast(images, starts.dtype), [-1])


def _seed(seed: int, number: tf.Tensor, draw: int) -> tf.Tensor:
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_fold_in(pair, draw)


def check_identities_per_batch(
    batch_size: int, images_per_identity: int, num_identities: int
) -> int:
    """Return P of a batch.

    Args:
        batch_size: Int. B, a multiple of `images_per_identity`.
        images_per_identity: Int. K.
        num_identities: Int. Number of identities that have images.

    Raises:
        ValueError: if a batch needs more identities than there are.
    """
    count = batch_size // images_per_identity
    require(
        count <= num_identities,
        "A batch must not have more identities, `batch_size / images_per_identity`, than the "
        f"{num_identities} with images: lower --batch-size or raise --images-per-identity.",
        batch_size=batch_size,
        images_per_identity=images_per_identity,
    )
    return count


def pk_records(
    identity_images: IdentityImages,
    batch_size: int,
    images_per_identity: int,
    seed: int,
    start_step: int,
    rows: slice,
) -> tf.data.Dataset:
    """Return the parsed records, images still encoded, in some rows of each batch.

    Args:
        identity_images: Images to draw from.
        batch_size: Int. B, a multiple of `images_per_identity`.
        images_per_identity: Int. K.
        seed: Int. Seed for identities and images.
        start_step: Int. First batch; nothing is drawn for those before.
        rows: Slice with start and stop, of the B rows of each batch.

    Raises:
        ValueError: if a batch needs more identities than there are.
    """
    count = check_identities_per_batch(
        batch_size, images_per_identity, identity_images.num_identities
    )

    def record_rows(step: tf.Tensor) -> dict[str, tf.Tensor]:
        images = images_at_step(identity_images.first, count, images_per_identity, seed, step)
        positions = tf.gather(identity_images.order, images[rows])
        return {
            "image": tf.gather(identity_images.images, positions),
            "label": tf.gather(identity_images.labels, positions),
        }

    steps = tf.data.Dataset.range(start_step, tf.int64.max)
    return steps.map(record_rows, num_parallel_calls=PARALLEL_BATCHES, deterministic=True).unbatch()
