"""Small networks with 2-D or 3-D embeddings, trained alike but for their loss."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.data import pipeline, records
from keras_sphereface.data.preprocessing import normalize
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.family import PlainSoftmax
from keras_sphereface.models.sphereface import sphereface4
from keras_sphereface.utils.progress import progress_bar

BATCH_SIZE = 64
MIN_IMAGES = 4  # of a person: two to train on and two to test with
TEST_SHARE = 3  # one image in so many is kept for testing
LAMBDA = 0.2  # at the end: nearly the pure margin


class Faces(NamedTuple):
    """Images, uint8 (N, H, W, 3), their labels (N,), 0..C-1, and the C people's names."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def at(self, rows: np.ndarray) -> "Faces":
        return Faces(self.images[rows], self.labels[rows], self.names)


class Cloud(NamedTuple):
    """What a network makes of some images at one time of its training."""

    step: int
    embeddings: np.ndarray  # (N, 2) or (N, 3)
    labels: np.ndarray  # (N,)
    kernel: np.ndarray  # (2 or 3, C), the class weights


class Sphere(NamedTuple):
    """One trained network."""

    m: int | None  # None: plain softmax
    seed: int
    train: Cloud
    accuracy: float  # on the test images, without the margin, in [0, 1]
    history: tuple[Cloud, ...]  # of the test images, from before the first step to the last

    @property
    def test(self) -> Cloud:
        """The test images in the end."""
        return self.history[-1]

    @property
    def dim(self) -> int:
        return self.test.kernel.shape[0]


def loss_name(m: int | None) -> str:
    """How a loss is called in images and tables."""
    return "softmax" if m is None else f"m = {m}"


def people_with_most_images(folder: str, people: int) -> Faces:
    """The images of the `people` classes that have most, labelled 0, 1, ... anew.

    Raises:
        FileNotFoundError: if the folder holds no records.
        ValueError: if `people` is below 2, or if there are not as many with 4 images each.
    """
    info = records.read_info(folder)
    # People may be called "NA" or "None".
    table = pd.read_csv(Path(folder) / records.LABELS_FILE, keep_default_na=False, dtype=str)
    table = table.astype({"label": int, "count": int})
    table = table[table["count"] >= MIN_IMAGES]
    if not 2 <= people <= len(table):
        raise ValueError(
            f"`people` must be at least 2, and {folder} has {len(table)} with at least "
            f"{MIN_IMAGES} images. Received: people={people}"
        )
    table = table.sort_values(["count", "label"], ascending=[False, True]).head(people)
    chosen = {label: place for place, label in enumerate(table["label"].tolist())}
    # Filtered while encoded: the records may hold far more than memory does.
    own = pipeline.encoded_records(folder, info).filter(
        lambda record: tf.reduce_any(record["label"] == list(chosen))
    )
    pictures, labels = zip(*pipeline.decoded(own, info.image_size).as_numpy_iterator(), strict=True)
    places = np.array([chosen[int(label)] for label in labels])
    return Faces(np.stack(pictures), places, tuple(table["identity"]))


def split(faces: Faces, seed: int) -> tuple[Faces, Faces]:
    """Training and test images; of each person, one in `TEST_SHARE` is for testing."""
    order = np.random.default_rng(seed).permutation(len(faces.labels))
    order = order[np.argsort(faces.labels[order], kind="stable")]
    is_test = np.zeros(len(order), bool)
    for label in np.unique(faces.labels):
        is_test[order[faces.labels[order] == label][::TEST_SHARE]] = True
    return faces.at(~is_test), faces.at(is_test)


def train_sphere(
    train: Faces, test: Faces, dim: int, m: int | None, steps: int, seed: int, frames: int = 2
) -> Sphere:
    """Train one small network and look at the images through it.

    With one `seed`, start weights and batches are the same for every `m`.

    Args:
        train, test: of the same people.
        dim: numbers of an embedding, 2 or 3.
        m: the margin; None: plain softmax.
        steps: of the optimizer, >= 1.
        seed: of start weights, batches and flips.
        frames: how many times the test images are looked at, the start and the end included.
    """
    keras.utils.set_random_seed(seed)
    head = _head(len(train.names), m, steps, seed)
    embedder = _embedder(train.images.shape[1:], dim, seed)
    model = keras.Sequential([keras.Input(train.images.shape[1:]), *embedder.layers, head])
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), loss=head.loss)

    def look(faces, step):
        embeddings = embedder.predict(normalize(faces.images).numpy(), verbose=0)
        kernel = tf.convert_to_tensor(head.kernel).numpy()
        return Cloud(step, embeddings, faces.labels, kernel)

    looks = set(np.linspace(0, steps, frames).round().astype(int).tolist()) | {0, steps}
    history = [look(test, 0)]
    batches = _batches(train, seed)
    for step in progress_bar(range(1, steps + 1), desc=f"{dim}-D, {loss_name(m)}", unit="step"):
        model.train_on_batch(*next(batches))
        if step in looks:
            history.append(look(test, step))
    logits = head(history[-1].embeddings).numpy()
    return Sphere(
        m=m,
        seed=seed,
        train=look(train, steps),
        accuracy=float(np.mean(logits.argmax(1) == test.labels)),
        history=tuple(history),
    )


def _head(num_classes, m, steps, seed):
    initializer = keras.initializers.LecunUniform(seed=seed)
    if m is None:
        return PlainSoftmax(num_classes, kernel_initializer=initializer)
    # Lambda falls from 100 to LAMBDA over the first two thirds of the steps.
    return ASoftmax(
        num_classes,
        m=m,
        base=100.0,
        gamma=(100.0 / LAMBDA - 1.0) * 1.5 / steps,
        lambda_min=LAMBDA,
        kernel_initializer=initializer,
    )


def _embedder(shape, dim, seed):
    height, width, channels = shape
    return keras.Sequential(
        [
            keras.Input(shape),
            # Half the size is enough to tell a few people apart, and four times as fast.
            keras.layers.AveragePooling2D(2),
            sphereface4(
                input_shape=(height // 2, width // 2, channels),
                embedding_size=dim,
                width=0.25,
                seed=seed,
            ),
        ]
    )


def _batches(faces: Faces, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images, some of them mirrored, and labels; every person as often as any other."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(faces.labels == label) for label in range(len(faces.names))]
    while True:
        people = rng.integers(len(rows), size=BATCH_SIZE)
        batch = np.array([rng.choice(rows[person]) for person in people])
        images = faces.images[batch]
        flipped = rng.random(BATCH_SIZE) < 0.5
        images[flipped] = images[flipped, :, ::-1]
        yield normalize(images).numpy(), faces.labels[batch]
