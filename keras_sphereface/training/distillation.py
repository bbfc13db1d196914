"""Distillation: a network trained to give the embeddings of other networks beside its own task.

The teachers' spaces have nothing to do with each other, so their embeddings cannot be averaged
number by number. Joined, each at unit length, they have as cosine of two images the mean of the
teachers' cosines: that is the ensemble. The joined embeddings are brought to the size of the
student by the orthogonal map that keeps their products best (the first right singular vectors of
the embeddings of a sample), and each student embedding is drawn towards this direction.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sphereface.data import images, records
from keras_sphereface.export.recognition_file import model_fingerprint
from keras_sphereface.export.saved_model import load_savedmodel, signature_tensors
from keras_sphereface.export.signature import INPUT, OUTPUT, SIGNATURE
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import progress_bar

SAMPLE = 2048  # training images
TEACHERS_FILE = "teachers.npz"  # the map, in the folder of the run
_AT_ONCE = 64
_MIN_NORM = 1e-12

Teacher = Callable[[tf.Tensor], tf.Tensor]  # uint8 (B, H, W, 3) -> (B, D_t)


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The teachers of a run.

    Attributes:
        teachers: Functions from uint8 images (B, H, W, 3) to embeddings (B, D_t).
        projection: float32 (sum of the D_t, D), from their joined embeddings to the student's size.
        weight: Float > 0. Factor of the term in the loss of the run.

    Example:
        >>> teacher = lambda pixels: tf.cast(pixels[:, 0, 0], tf.float32) + 1.0
        >>> distillation = Distillation([teacher], tf.eye(3), weight=10.0)
        >>> targets = distillation.targets(tf.zeros((2, 8, 8, 3)))
        >>> distillation.losses(targets, targets).numpy().round(6).tolist()
        [0.0, 0.0]
    """

    teachers: Sequence[Teacher]
    projection: tf.Tensor
    weight: float

    def targets(self, normalized: tf.Tensor) -> tf.Tensor:
        """Embed what the student sees, float (B, H, W, 3) in [-1, 1), as unit vectors (B, D)."""
        pixels = tf.cast(tf.round(tf.cast(normalized, tf.float32) * 128.0 + 127.5), tf.uint8)
        return _unit(tf.matmul(joined_embeddings(self.teachers, pixels), self.projection))

    def losses(self, embeddings: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Return weight (1 - cosine), (B,), of the student's embeddings (B, D) and the targets."""
        unit = _unit(embeddings)
        cosines = tf.reduce_sum(unit * tf.cast(targets, unit.dtype), axis=1)
        return tf.cast(self.weight, unit.dtype) * (1 - cosines)


def _unit(rows: tf.Tensor) -> tf.Tensor:
    # Floored: a zero vector has a finite gradient.
    return rows / tf.maximum(tf.norm(rows, axis=1, keepdims=True), _MIN_NORM)


def joined_embeddings(teachers: Sequence[Teacher], pixels: tf.Tensor) -> tf.Tensor:
    """Return the unit embeddings of all teachers side by side, float32 (B, sum of the D_t)."""
    return tf.concat([_unit(teacher(pixels)) for teacher in teachers], axis=1)


def joining_projection(joined: np.ndarray, size: int) -> np.ndarray:
    """Return the map from joined embeddings to `size` numbers that keeps their products best.

    Args:
        joined: (N, E) embeddings of a sample.
        size: Int. D. With D >= E all numbers are kept and zeros follow.

    Returns:
        (E, D) float32, whose columns, but for those of zeros, are orthonormal.
    """
    number = joined.shape[1]
    if size >= number:
        return np.eye(number, size, dtype=np.float32)
    # Of the products (E, E): it does not grow with the sample, and may have fewer rows than D.
    _, directions = np.linalg.eigh(joined.T.astype(np.float64) @ joined)
    return directions[:, ::-1][:, :size].astype(np.float32)


def read_teachers(paths: Sequence[str], image_size: tuple[int, int]) -> list[Teacher]:
    """Open exported networks as functions of a TensorFlow graph.

    Args:
        paths: SavedModel folders.
        image_size: (height, width) of the training images.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ValueError: If one takes images of another size.
    """
    return [_teacher(Path(path), image_size) for path in paths]


def _teacher(path: Path, image_size: tuple[int, int]) -> Teacher:
    model = load_savedmodel(path)
    shape = signature_tensors(model.signatures[SIGNATURE])[0][INPUT].shape
    if shape is None or tuple(shape[1:3]) != tuple(image_size):
        raise ValueError(
            f"A teacher must take images of the size of the records, {image_size}. "
            f"Received: {path}, which takes {shape}"
        )

    def embed(pixels: tf.Tensor) -> tf.Tensor:
        # Through `model`: the signature alone does not keep the variables alive.
        return model.signatures[SIGNATURE](**{INPUT: pixels})[OUTPUT]

    return embed


def make_distillation(
    paths: Sequence[str],
    weight: float,
    data: str,
    embedding_size: int,
    workdir: Path,
    is_chief: bool = True,
) -> Distillation:
    """Open the teachers of a run, and fit their map or read that of the run's beginning.

    Args:
        paths: SavedModel folders.
        weight: Float > 0. Factor of the term.
        data: Folder of the training records, of which the map is fitted on a sample.
        embedding_size: Int. D of the student.
        workdir: Folder of the run, which keeps the map, so that a continued run has the same.
        is_chief: Bool. Whether this worker writes it.

    Raises:
        FileNotFoundError, ValueError: If a teacher cannot be used, or the map is that of others.
    """
    info = records.read_info(data)
    teachers = read_teachers(paths, info.image_size)
    fingerprints = [model_fingerprint(path) for path in paths]
    path = workdir / TEACHERS_FILE
    if path.is_file():
        with np.load(path) as saved:
            projection = saved["projection"]
            is_theirs = list(saved.get("fingerprints", ())) == fingerprints
        if not is_theirs or projection.shape[1] != embedding_size:
            of = "these teachers" if is_theirs else "other teachers"
            raise ValueError(
                f"{path} must be a map of the embeddings of these teachers to {embedding_size} "
                "numbers; choose another `workdir`, or remove it with the checkpoints of that "
                f"run. Received: one of {of} to {projection.shape[1]}"
            )
    else:
        projection = joining_projection(_sample(teachers, data, info), embedding_size)
        if is_chief:
            workdir.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial, open(partial, "wb") as file:
                np.savez(file, projection=projection, fingerprints=fingerprints)
    return Distillation(teachers, tf.constant(projection), weight)


def _sample(teachers: Sequence[Teacher], data: str, info: records.DatasetInfo) -> np.ndarray:
    """Return the joined embeddings of the first images of the shuffled records."""
    rows, count = [], min(SAMPLE, info.num_images)
    remaining = itertools.islice(records.read_folder(data), count)
    with progress_bar(total=count, desc="embedding by the teachers", unit="image") as bar:
        while block := list(itertools.islice(remaining, _AT_ONCE)):
            faces = np.stack([images.decode(record.image) for record in block])
            rows.append(joined_embeddings(teachers, tf.constant(faces)).numpy())
            bar.update(len(block))
    return np.concatenate(rows)
