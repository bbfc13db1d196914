"""Verification of pairs while a network is trained: `PairVerification`."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.distribute.strategy import assert_equal_across_workers, is_chief
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.faces import load_faces
from keras_sphereface.evaluation.verification import complete_pairs, verify_pairs
from keras_sphereface.evaluation.verification_metrics import VerificationMetrics
from keras_sphereface.export import saved_model
from keras_sphereface.export.backbone import without_head
from keras_sphereface.metrics import protocols
from keras_sphereface.models.embedding_network import are_equal, embedding_network
from keras_sphereface.utils import compat
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.tables import StepTable
from keras_sphereface.utils.text import counted
from keras_sphereface.utils.validation import check_integer

# The columns between "step" and "seconds" are fields of `VerificationMetrics`.
METRIC_FIELDS = ("accuracy_mean", "accuracy_std", "auc", "eer", "num_pairs")
ROW_FIELDS = ("step", *METRIC_FIELDS, "seconds")


class PairVerification(keras.callbacks.Callback):
    """Verify pairs of faces every `every_steps` steps and at the end of the training.

    The numbers are those of `sphereface evaluate` for the network as it is at that step. All
    replicas of the strategy that `backbone` was made under embed the faces together; with
    several workers each needs this callback, and one of them `out` and `on_result`.

    The faces are read and aligned once, when the training begins, and stay in memory as
    pixels: about 250 MB for the 7,701 images in LFW's pairs at 112 x 96. Pairs with a missing
    face are left out, with a warning.

    In `fit`, steps are those of the optimizer, and the `logs` of an epoch with a verification
    get `verification_accuracy`, for callbacks later in the list, such as
    `ModelCheckpoint(path, "verification_accuracy", mode="max")`.

    A training loop without `fit` calls `on_train_begin()`, after each step
    `on_train_batch_end(step - 1)`, where a continued run goes on counting steps, and
    `on_train_end()`.

    Args:
        dataset: Pairs of images with loaders of their faces; see `load_pair_dataset`.
        backbone: Any Keras model from images to embeddings (N, D); a head at its end is left out.
            It may take floats in [-1, 1), or pixels 0..255, as `export_savedmodel` allows.
        every_steps: Int >= 1. Steps from one verification to the next.
        batch_size: Int >= 1. Faces in one forward pass, over all replicas.
        out: Path of a CSV file that gets a row of `ROW_FIELDS` each time; none if empty. A
            continued run drops the rows after its first step.
        on_result: Function called with the step, the `VerificationMetrics` and the seconds that
            the verification took.
        input_range: "raw" if `backbone` takes pixels 0..255, "unit" if it takes values in
            [-1, 1); None: found out, see `models.input_contract`.

    Raises:
        TypeError, ValueError: If `every_steps` or `batch_size` is not an int >= 1, or `dataset`
            has pairs of templates or no faces; when the training begins, if the faces do not fit
            the network or the protocol, or the network gives no embeddings.

    Example:
        >>> from keras_sphereface import sphereface4
        >>> from keras_sphereface.evaluation import PairSources, load_pair_dataset
        >>> sources = PairSources("faces/pairs.txt", "faces/images", "faces/landmarks.txt")
        >>> dataset = load_pair_dataset(sources, (112, 96), folds=(1, 2))
        >>> backbone = sphereface4(embedding_size=8, width=0.05)
        >>> callback = PairVerification(dataset, backbone, every_steps=1000, out="pairs.csv")
        >>> callback.on_train_begin()  # `model.fit(..., callbacks=[callback])` calls it
        >>> len(callback.pixels)
        18
    """

    def __init__(
        self,
        dataset: PairDataset,
        backbone: keras.Model,
        every_steps: int,
        batch_size: int = 64,
        out: str | os.PathLike = "",
        on_result: Callable[[int, VerificationMetrics, float], None] | None = None,
        input_range: str | None = None,
    ) -> None:
        super().__init__()
        if dataset.faces is None or dataset.templates:
            raise ValueError(
                "`dataset` must hold pairs of images, with a folder, records or a .bin of their "
                f"faces. Received: pairs of {dataset.file}"
            )
        self.pairs, self.load_face = dataset.pairs, dataset.faces.load
        self.backbone = backbone
        self.input_range = input_range
        self.every_steps = check_integer(every_steps, "every_steps", 1)
        self.batch_size = check_integer(batch_size, "batch_size", 1)
        self.out = out
        self.on_result = on_result
        self.pixels: dict[str, np.ndarray] = {}  # of the faces that are not missing
        self.missing: dict[str, str] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self.pixels:
            self._load_faces()
        self.step = self._optimizer_steps()  # None in a loop without an optimizer, at first
        self.started = False
        self.verified_step: int | None = None
        self.epoch_accuracy: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.epoch_accuracy = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        steps = self._optimizer_steps()
        before = batch if self.step is None else self.step
        step = self.step = batch + 1 if steps is None else steps
        if not self.started:
            self.started = True
            if self.out:
                self.table = StepTable(self.out, ROW_FIELDS, before)
        # One call may stand for several steps (`steps_per_execution`).
        if step // self.every_steps > before // self.every_steps:
            self._verify(step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None and self.epoch_accuracy is not None:
            logs["verification_accuracy"] = self.epoch_accuracy

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.step is not None and self.started and self.verified_step != self.step:
            self._verify(self.step)

    def _optimizer_steps(self) -> int | None:
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(optimizer.iterations.numpy())

    @property
    def _is_chief(self) -> bool:
        """Whether this is the one of several workers that reports what all of them do."""
        return is_chief(self.backbone.distribute_strategy)

    def _load_faces(self) -> None:
        keys = progress_bar(
            self.pairs.keys(), unit="image", desc="reading faces", disable=not self._is_chief
        )
        # Copies: a crop would keep the whole image in memory.
        pixels = {
            key: np.array(face, np.uint8)
            for key, face in load_faces(keys, self.load_face, self.missing)
        }
        complete = complete_pairs(self.pairs, self.missing)
        protocols.check_folds(self.pairs.is_same[complete], self.pairs.folds[complete])
        sizes = {face.shape for face in pixels.values()}
        if len(sizes) != 1:
            raise ValueError(f"Faces must be of one size. Received: faces of {sorted(sizes)}")
        (height, width, _) = sizes.pop()
        with self.backbone.distribute_strategy.scope():
            self.network = embedding_network(
                without_head(self.backbone), (height, width), self.input_range, must_differ=False
            )
        self.embed = embedding_function(self.network)
        # Each worker embeds rows of its own list.
        assert_equal_across_workers(
            self.backbone.distribute_strategy,
            "\n".join(pixels),
            f"The checksum of the keys of the loaded faces, here {len(pixels)},",
        )
        self.pixels = pixels
        if not complete.all() and self._is_chief:
            warnings.warn(
                f"The verification leaves out {np.sum(~complete)} of {len(complete):,} pairs, "
                f"because {counted(len(self.missing), 'image is', 'images are')} missing "
                f"({'; '.join(sorted(set(self.missing.values())))}).",
                stacklevel=2,
            )

    def embeddings(self) -> Embeddings:
        """Embed the loaded faces by the network as it is; all workers take part.

        Raises:
            ValueError: If an embedding is zero or not finite.
        """
        views = self._embeddings().reshape(len(self.pixels), 2, -1)
        protocols.check_embeddings(views, list(self.pixels))
        return Embeddings(list(self.pixels), views, dict(self.missing))

    def _verify(self, step: int) -> None:
        began = time.monotonic()
        self.verified_step = step
        views = self._embeddings().reshape(len(self.pixels), 2, -1)
        try:
            protocols.check_embeddings(views, list(self.pixels))
        except ValueError as error:
            if self._is_chief:
                warnings.warn(f"Step {step}: no verification. {error}", stacklevel=2)
            return
        if are_equal(views[:, 0]) and self._is_chief:
            warnings.warn(
                f"Step {step}: the embeddings of all {len(views)} faces are equal: has the "
                "training collapsed, or does the network take other pixels?",
                stacklevel=2,
            )
        embeddings = Embeddings(list(self.pixels), views, self.missing)
        metrics = verify_pairs(self.pairs, embeddings).metrics
        seconds = time.monotonic() - began
        self.epoch_accuracy = metrics.accuracy_mean
        if self.out:
            numbers = {name: getattr(metrics, name) for name in METRIC_FIELDS}
            self.table.add({"step": step, **numbers, "seconds": seconds})
        if self.on_result:
            self.on_result(step, metrics, seconds)

    def _embeddings(self) -> np.ndarray:
        """Return the joined embeddings of image and mirror image, (N, 2 D), face by face."""
        strategy = self.backbone.distribute_strategy
        faces = list(self.pixels.values())
        num_replicas = strategy.num_replicas_in_sync
        replica_size = -(-self.batch_size // num_replicas)  # rounded up
        starts = progress_bar(
            range(0, len(faces), replica_size * num_replicas),
            desc="verifying",
            unit="batch",
            disable=not self._is_chief,
            brief=True,
        )
        results = []
        with exported_statistics(self.network):
            for start in starts:

                def faces_of_replica(context: Any, start: int = start) -> tf.Tensor:
                    first = start + context.replica_id_in_sync_group * replica_size
                    # The last face fills up: one shape is compiled for all replicas and batches.
                    rows = np.minimum(np.arange(first, first + replica_size), len(faces) - 1)
                    return tf.constant(np.stack([faces[row] for row in rows]))

                batch = strategy.experimental_distribute_values_from_function(faces_of_replica)
                results.append(self.embed(batch))
            return np.concatenate([result.numpy() for result in results])[: len(faces)]


def embedding_function(backbone: keras.Model) -> Callable[[Any], tf.Tensor]:
    """Compile a function in which each replica embeds its faces.

    It takes uint8 (n, H, W, 3) for each of R replicas, and returns the embeddings of all,
    (R n, 2 D).
    """
    strategy = backbone.distribute_strategy

    @tf.function
    def embed(faces: Any) -> tf.Tensor:
        embeddings = strategy.run(
            lambda batch: saved_model.embed_both_views(backbone, batch), (faces,)
        )
        return strategy.gather(embeddings, axis=0)

    return embed


@contextlib.contextmanager
def exported_statistics(backbone: keras.Model) -> Iterator[None]:
    """Give all replicas the statistics of batch normalization that an export would have.

    Each replica gathers its own: an export holds their mean with Keras 2.15 and the first
    replica's with Keras 3. Afterwards each has its own again.
    """
    strategy = backbone.distribute_strategy
    variables = [compat.tf_variable(weight) for weight in backbone.non_trainable_weights]
    if strategy.num_replicas_in_sync == 1:
        variables = []
    variables = [variable for variable in variables if variable.dtype.is_floating]
    copies = [strategy.experimental_local_results(variable) for variable in variables]
    kept = [[copy.numpy() for copy in of_variable] for of_variable in copies]
    try:
        for variable, of_variable in zip(variables, copies, strict=True):
            value = _exported_value(variable, strategy)
            for copy in of_variable:
                copy.assign(value)
        yield
    finally:
        for of_variable, values in zip(copies, kept, strict=True):
            for copy, value in zip(of_variable, values, strict=True):
                copy.assign(value)


def _exported_value(variable: tf.Variable, strategy: tf.distribute.Strategy) -> tf.Tensor:
    if variable.synchronization == tf.VariableSynchronization.ON_READ:
        return tf.convert_to_tensor(variable)
    # Gathered, so that every one of several workers has the value of the first one.
    return strategy.gather(strategy.run(lambda: tf.convert_to_tensor(variable)[None]), axis=0)[0]
