"""Feature spheres: small networks with 2-D and 3-D embeddings, trained for several m."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from keras_sphereface import backbones, pipeline, plots, records, separability
from keras_sphereface.config import SpheresConfig
from keras_sphereface.datasets import generated_records
from keras_sphereface.layers import ASoftmax
from keras_sphereface.preprocessing import normalize
from keras_sphereface.progress import progress_bar

BATCH_SIZE = 64
IMAGES_PER_PERSON = 75  # where faces are generated
MIN_PICTURES = 4  # of a person: two to train on and two to test with
TEST_SHARE = 3  # one picture in so many is kept for testing


class Sphere(NamedTuple):
    """What one trained network makes of the test pictures."""

    m: int
    embeddings: np.ndarray  # (N, 2) or (N, 3)
    labels: np.ndarray  # (N,)
    kernel: np.ndarray  # (2 or 3, C)
    accuracy: float  # without the margin, in [0, 1]
    angles: separability.ClassAngles


class Faces(NamedTuple):
    """Pictures, uint8 (N, H, W, 3), and their labels (N,), 0..C-1."""

    images: np.ndarray
    labels: np.ndarray


def people_with_most_pictures(folder: str, people: int) -> Faces:
    """The pictures of the `people` classes that have most, labelled 0, 1, ... anew.

    Raises:
        ValueError: if `people` is below 2, or if there are not as many with 4 pictures each.
    """
    table = pd.read_csv(Path(folder) / records.LABELS_FILE)
    table = table[table["count"] >= MIN_PICTURES]
    if not 2 <= people <= len(table):
        raise ValueError(
            f"`people` must be from 2 to {len(table)}, the number of people in {folder} with at "
            f"least {MIN_PICTURES} pictures. Received: people={people}"
        )
    table = table.sort_values(["count", "label"], ascending=[False, True]).head(people)
    chosen = {label: place for place, label in enumerate(table["label"].tolist())}
    info = records.read_info(folder)
    # Filtered while encoded: the records may hold far more than memory does.
    own = pipeline.encoded_records(folder, info).filter(
        lambda record: tf.reduce_any(record["label"] == list(chosen))
    )
    pictures, labels = zip(*pipeline.decoded(own, info.image_size).as_numpy_iterator(), strict=True)
    return Faces(np.stack(pictures), np.array([chosen[int(label)] for label in labels]))


def split(faces: Faces, seed: int) -> tuple[Faces, Faces]:
    """Training and test pictures; of each person, one in `TEST_SHARE` is for testing."""
    order = np.random.default_rng(seed).permutation(len(faces.labels))
    order = order[np.argsort(faces.labels[order], kind="stable")]
    is_test = np.zeros(len(order), bool)
    for label in np.unique(faces.labels):
        is_test[order[faces.labels[order] == label][::TEST_SHARE]] = True
    return Faces(*(part[~is_test] for part in faces)), Faces(*(part[is_test] for part in faces))


def train_sphere(train: Faces, test: Faces, dim: int, m: int, steps: int, seed: int) -> Sphere:
    """Train one small network and look at the test pictures through it."""
    keras.utils.set_random_seed(seed)
    num_classes = int(train.labels.max()) + 1
    height, width, channels = train.images.shape[1:]
    head = ASoftmax(
        num_classes,
        m=m,
        # Lambda falls from 100 to 1 over the first two thirds of the steps.
        base=100.0,
        gamma=99.0 * 1.5 / steps,
        lambda_min=1.0,
        kernel_initializer=keras.initializers.LecunUniform(seed=seed),
    )
    model = keras.Sequential(
        [
            keras.Input((height, width, channels)),
            # Half the size is enough to tell a few people apart, and four times as fast.
            keras.layers.AveragePooling2D(2),
            backbones.sphereface4(
                input_shape=(height // 2, width // 2, channels),
                embedding_size=dim,
                width=0.25,
                seed=seed,
            ),
            head,
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), loss=head.loss)
    rng = np.random.default_rng(seed)
    for _ in progress_bar(range(steps), desc=f"{dim}-D, m = {m}", unit="step"):
        batch = rng.choice(len(train.labels), BATCH_SIZE)
        images = train.images[batch]
        flipped = rng.random(BATCH_SIZE) < 0.5
        images[flipped] = images[flipped, :, ::-1]
        model.train_on_batch(normalize(images).numpy(), train.labels[batch])
    embedder = keras.Sequential(model.layers[:-1])
    embeddings = embedder.predict(normalize(test.images).numpy(), verbose=0)
    logits = head(embeddings).numpy()
    return Sphere(
        m=m,
        embeddings=embeddings,
        labels=test.labels,
        kernel=tf.convert_to_tensor(head.kernel).numpy(),
        accuracy=float(np.mean(logits.argmax(1) == test.labels)),
        angles=separability.class_angles(embeddings, test.labels),
    )


def draw_spheres(spheres: list[Sphere]) -> Figure:
    """One column for each m; for 2-D the raw embeddings and below them their directions."""
    dim = spheres[0].embeddings.shape[1]
    rows = 2 if dim == 2 else 1
    figure = Figure(figsize=(3.3 * len(spheres), 3.3 * rows + 0.9), layout="constrained")
    projection = None if dim == 2 else "3d"
    axes = figure.subplots(rows, len(spheres), squeeze=False, subplot_kw={"projection": projection})
    for column, sphere in zip(axes.T, spheres, strict=True):
        data = sphere.embeddings, sphere.labels, sphere.kernel
        title = (
            f"m = {sphere.m}\nmean intra-class angle {sphere.angles.mean_intra:.1f}\N{DEGREE SIGN}"
            f"\ntest accuracy {100 * sphere.accuracy:.1f} %"
        )
        if dim == 2:
            plots.plot_circle(column[0], *data, title=title)
            plots.plot_unit_circle(column[1], *data)
        else:
            plots.plot_sphere(column[0], *data, title=title)
    return figure


def feature_spheres(config: SpheresConfig) -> pd.DataFrame:
    """Train and draw as `config` says: spheres_2d.png, spheres_3d.png and spheres.csv.

    Within one dimension all m share data, start weights and batches.

    Returns:
        What stands in spheres.csv: a row for each dimension and m.
    """
    if config.total_steps < 1:
        raise ValueError(f"`total_steps` must be >= 1. Received: {config.total_steps}")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    data = config.data
    if not data:
        print("No --data given: drawing generated faces.", flush=True)
        generated = generated_records(
            out / "generated", config.people, IMAGES_PER_PERSON, 0, config.seed
        )
        data = str(generated.records)
    train, test = split(people_with_most_pictures(data, config.people), config.seed)
    rows = []
    for dim in (config.dim,) if config.dim else (2, 3):
        spheres = [
            train_sphere(train, test, dim, m, config.total_steps, config.seed) for m in config.m
        ]
        draw_spheres(spheres).savefig(out / f"spheres_{dim}d.png", dpi=110)
        rows += [
            {"dim": dim, "m": s.m, "test_accuracy": s.accuracy, **_angle_columns(s.angles)}
            for s in spheres
        ]
    table = pd.DataFrame(rows)
    table.to_csv(out / "spheres.csv", index=False)
    return table


def _angle_columns(angles):
    names = ("mean_intra", "largest_intra", "smallest_inter")
    return {name: getattr(angles, name) for name in names}
