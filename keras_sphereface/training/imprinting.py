"""Class weights of new identities from their faces: the mean of the embeddings, not random ones.

A random weight is at a right angle to the faces of its identity. Its gradients then pull the
network away from what it has learned, before the weight itself has turned (Qi, Brown and Lowe,
"Low-shot learning with imprinted weights", CVPR 2018).
"""

import collections
import itertools
import os
from collections.abc import Collection, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.data import images, records
from keras_sphereface.functional.norms import NORM_FLOOR
from keras_sphereface.models.embedding_network import embed_pixels
from keras_sphereface.training.class_weights import class_variables
from keras_sphereface.training.trainer import Trainer
from keras_sphereface.utils.progress import progress_bar

IMAGES_OF_AN_IDENTITY = 8  # at most, that a mean is of
BATCH_SIZE = 64


def imprint_class_weights(
    trainer: Trainer, data: str | os.PathLike, labels: Collection[int], quiet: bool = False
) -> int:
    """Set class weights to the mean of the unit embeddings of an identity's faces, at unit length.

    Of several weights for each class (sub-centers) the first is set: the others stay free for
    faces that lie elsewhere.

    Args:
        trainer: Before its first step; its class weights are changed in place.
        data: Folder of records; of each identity the first `IMAGES_OF_AN_IDENTITY` count.
        labels: Classes whose weights are set.
        quiet: Bool. Whether there is no progress bar.

    Returns:
        The number of classes that were set: those of `labels` that have an image.
    """
    means = mean_embeddings(trainer.backbone, data, labels, quiet)
    for start, stop, variables in class_variables(trainer):
        inside = [label for label in means if start <= label < stop]
        if inside:
            kernel = variables["kernel"].numpy()
            columns = (np.array(inside) - start) * trainer.head.num_centers
            kernel[:, columns] = np.stack([means[i] for i in inside], axis=-1)
            variables["kernel"].assign(kernel)
    return len(means)


def mean_embeddings(
    network: keras.Model, data: str | os.PathLike, labels: Collection[int], quiet: bool = False
) -> dict[int, np.ndarray]:
    """Return {label: mean of unit embeddings, of unit length (D,)} of the identities in records."""
    embed = tf.function(lambda pixels: embed_pixels(network, pixels))
    sums: dict[int, np.ndarray] = {}
    faces = _first_faces(data, set(labels))
    with progress_bar(
        total=len(labels), unit="label", desc="class weights of new identities", disable=quiet
    ) as bar:
        while batch := list(itertools.islice(faces, BATCH_SIZE)):
            of_batch, pixels = zip(*batch, strict=True)
            embeddings = embed(tf.constant(np.stack(pixels))).numpy()
            norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
            units = embeddings / np.maximum(norms, NORM_FLOOR)
            for label, unit in zip(of_batch, units, strict=True):
                sums[label] = sums.get(label, 0.0) + unit
            bar.update(len(sums) - bar.n)
    lengths = {label: float(np.linalg.norm(total)) for label, total in sums.items()}
    return {label: total / max(lengths[label], NORM_FLOOR) for label, total in sums.items()}


def _first_faces(
    data: str | os.PathLike, labels: Collection[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The first images of each identity with its label, uint8 (H, W, 3)."""
    counts: collections.Counter[int] = collections.Counter()
    for record in records.read_folder(data):
        if record.label in labels and counts[record.label] < IMAGES_OF_AN_IDENTITY:
            counts[record.label] += 1
            yield record.label, images.decode(record.image)
