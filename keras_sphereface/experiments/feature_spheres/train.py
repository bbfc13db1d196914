"""Small networks with 2-D or 3-D embeddings, which differ in their loss only."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.data import pipeline, records
from keras_sphereface.data.preprocessing import normalize
from keras_sphereface.heads import AngularHead, ASoftmax, PlainSoftmax
from keras_sphereface.models import sphereface4
from keras_sphereface.utils.progress import progress_bar, stage

BATCH_SIZE = 64
MIN_IMAGES = 4  # of an identity: two to train on and two to test with
TEST_SHARE = 3  # one image in so many is kept for testing
FINAL_LAMBDA = 0.2  # nearly the pure margin


@dataclasses.dataclass(frozen=True)
class SphereFaces:
    """Labeled images of C identities.

    Attributes:
        images: (N, H, W, 3), uint8.
        labels: (N,), 0 to C - 1.
        names: Names of the C identities.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> "SphereFaces":
        """Return the images of these rows: indices, or a mask (N,)."""
        return dataclasses.replace(self, images=self.images[rows], labels=self.labels[rows])


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Embeddings of some images at one step of a training.

    Attributes:
        step: Int. Optimizer steps taken.
        embeddings: (N, 2) or (N, 3).
        labels: (N,), 0 to C - 1.
        kernel: (2, C) or (3, C), the class weights.
    """

    step: int
    embeddings: np.ndarray
    labels: np.ndarray
    kernel: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sphere:
    """One trained network.

    Attributes:
        m: Int or None. The margin; None: plain softmax.
        seed: Int. Seed of the training.
        train: The training images at the end.
        accuracy: Accuracy on the test images, without the margin, in [0, 1].
        history: The test images from before the first step to the last.
    """

    m: int | None
    seed: int
    train: Cloud
    accuracy: float
    history: tuple[Cloud, ...]

    @property
    def test(self) -> Cloud:
        """The test images at the end."""
        return self.history[-1]

    @property
    def dim(self) -> int:
        """The size of an embedding, 2 or 3."""
        return len(self.test.kernel)

    @property
    def loss(self) -> str:
        """The name of the loss, of `loss_name`."""
        return loss_name(self.m)


def loss_name(m: int | None) -> str:
    """Return the name of a loss in figures and tables: "softmax" (m is None), or "m = 4"."""
    return "softmax" if m is None else f"m = {m}"


def identities_with_most_images(folder: str, num_identities: int) -> SphereFaces:
    """Read the images of the identities that have most; their labels become 0, 1, ...

    Args:
        folder: Folder of records.
        num_identities: Int >= 2. C.

    Raises:
        FileNotFoundError: If the folder holds no records.
        ValueError: If there are not so many identities with `MIN_IMAGES` images each.
    """
    info = records.read_info(folder)
    # An identity may be called "NA" or "None".
    table = pd.read_csv(Path(folder) / records.LABELS_FILE, keep_default_na=False, dtype=str)
    table = table.astype({"label": int, "count": int})
    table = table[table["count"] >= MIN_IMAGES]
    if not 2 <= num_identities <= len(table):
        raise ValueError(
            f"`num_identities` must be at least 2, and {folder} has {len(table)} with at least "
            f"{MIN_IMAGES} images. Received: num_identities={num_identities}"
        )
    table = table.sort_values(["count", "label"], ascending=[False, True]).head(num_identities)
    new_labels = {label: index for index, label in enumerate(table["label"].tolist())}
    # Filtered while encoded: the records may hold far more than memory does.
    chosen = pipeline.encoded_records(folder, info).filter(
        lambda record: tf.reduce_any(record["label"] == list(new_labels))
    )
    with stage("reading records"):
        decoded = pipeline.decoded(chosen, info.image_size)
        images, labels = zip(*decoded.as_numpy_iterator(), strict=True)
    return SphereFaces(
        np.stack(images),
        np.array([new_labels[int(label)] for label in labels]),
        tuple(table["identity"]),
    )


def split_faces(faces: SphereFaces, seed: int) -> tuple[SphereFaces, SphereFaces]:
    """Return training and test images; of each identity, one in `TEST_SHARE` is for testing."""
    order = np.random.default_rng(seed).permutation(len(faces.labels))
    order = order[np.argsort(faces.labels[order], kind="stable")]
    is_test = np.zeros(len(order), bool)
    for label in np.unique(faces.labels):
        is_test[order[faces.labels[order] == label][::TEST_SHARE]] = True
    return faces.take(~is_test), faces.take(is_test)


def train_sphere(
    train: SphereFaces,
    test: SphereFaces,
    dim: int,
    m: int | None,
    steps: int,
    seed: int,
    frames: int = 2,
    place: str = "",
) -> Sphere:
    """Train one small network, and embed the test images on the way.

    With one `seed`, start weights and batches are the same for every `m`.

    Args:
        train: Images to train on.
        test: Other images of the same identities.
        dim: Int. Size of an embedding, 2 or 3.
        m: Int >= 1 or None. The margin; None: plain softmax.
        steps: Int >= 1. Optimizer steps.
        seed: Int. Seed for start weights, batches and flips.
        frames: Int >= 2. Clouds of the test images, before the first step and after the last
            included.
        place: String. Place among other trainings, for the progress bar.
    """
    keras.utils.set_random_seed(seed)
    head, embedder = _head(len(train.names), m, steps, seed), _embedder(train, dim, seed)
    model = keras.Sequential([keras.Input(train.images.shape[1:]), *embedder.layers, head])
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), loss=head.loss)

    def cloud(faces: SphereFaces, step: int) -> Cloud:
        embeddings = embedder.predict(normalize(faces.images).numpy(), verbose=0)
        kernel = tf.convert_to_tensor(head.kernel).numpy()
        return Cloud(step, embeddings, faces.labels, kernel)

    frame_steps = {*np.linspace(0, steps, frames).round().astype(int).tolist(), steps}
    with progress_bar(total=steps, desc=f"{dim}-D, {loss_name(m)}{place}", unit="step") as bar:
        history, batches = [cloud(test, 0)], _batches(train, seed)
        for step in range(1, steps + 1):
            model.train_on_batch(*next(batches))
            if step in frame_steps:
                history.append(cloud(test, step))
            bar.update()
    logits = head(history[-1].embeddings).numpy()
    accuracy = float(np.mean(logits.argmax(1) == test.labels))
    return Sphere(m, seed, cloud(train, steps), accuracy, tuple(history))


def _head(num_classes: int, m: int | None, steps: int, seed: int) -> AngularHead:
    initializer = keras.initializers.LecunUniform(seed=seed)
    if m is None:
        return PlainSoftmax(num_classes, kernel_initializer=initializer)
    # lambda falls from 100 to FINAL_LAMBDA over the first two thirds of the steps.
    return ASoftmax(
        num_classes,
        m=m,
        base=100.0,
        gamma=(100.0 / FINAL_LAMBDA - 1.0) * 1.5 / steps,
        lambda_min=FINAL_LAMBDA,
        kernel_initializer=initializer,
    )


def _embedder(faces: SphereFaces, dim: int, seed: int) -> keras.Sequential:
    height, width, channels = faces.images.shape[1:]
    # Half the size is enough to distinguish a few identities, and four times as fast.
    shape = (height // 2, width // 2, channels)
    network = sphereface4(input_shape=shape, embedding_size=dim, width=0.25, seed=seed)
    return keras.Sequential(
        [keras.Input((height, width, channels)), keras.layers.AveragePooling2D(2), network]
    )


def _batches(faces: SphereFaces, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images, half of them flipped, and labels; every identity about equally often."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(faces.labels == label) for label in range(len(faces.names))]
    while True:
        labels = rng.integers(len(rows), size=BATCH_SIZE)
        batch = np.array([rng.choice(rows[label]) for label in labels])
        images = faces.images[batch]
        flipped = rng.random(BATCH_SIZE) < 0.5
        images[flipped] = images[flipped, :, ::-1]
        yield normalize(images).numpy(), faces.labels[batch]
