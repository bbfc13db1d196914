"""Verification of pairs while a network is trained: `PairVerification`."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.distribute.strategy import assert_equal_across_workers
from keras_sphereface.evaluation import embeddings, verification
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.export import saved_model
from keras_sphereface.metrics import protocols
from keras_sphereface.utils import compat
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.tables import StepTable
from keras_sphereface.utils.validation import check_integer

ROW_FIELDS = ("step", "accuracy_mean", "accuracy_std", "auc", "eer", "num_pairs", "seconds")


class PairVerification(keras.callbacks.Callback):
    """Verifies pairs of faces every `every_steps` steps and at the end of the training.

    The numbers are those of `tools/evaluate.py` for the network as it is at that step. All
    replicas of the strategy that `backbone` was made under embed the faces together; of
    several workers each needs this callback, and one of them `out` and `on_result`.

    The faces are read and aligned once, when the training begins, and stay in memory as
    pixels: about 250 MB for the 7,701 images in LFW's pairs at 112 x 96. Pairs with a face
    that is not to be had are left out, with a warning.

    In `fit`, steps are those of the optimizer, and the `logs` of an epoch in which there was a
    verification get `verification_accuracy`, for callbacks later in the list, such as
    `ModelCheckpoint(path, "verification_accuracy", mode="max")`.

    A training loop without `fit` calls `on_train_begin()`, after each step
    `on_train_batch_end(step - 1)`, with steps counted on when a run continues, and
    `on_train_end()`.

    Args:
        faces: pairs, and how to get a face; see `face_sets.face_set`.
        backbone: float images (N, H, W, 3) in [-1, 1) in, embeddings (N, D) out.
        every_steps: an int >= 1.
        batch_size: faces in one forward pass, over all replicas; an int >= 1.
        out: a CSV file that gets a row of `ROW_FIELDS` each time; none if empty. When a run
            continues, the rows after the step where it does are dropped.
        on_result: called with the step and the metrics, which are those of metrics.json and
            `seconds`, what the verification took.

    Raises:
        TypeError, ValueError: if `every_steps` or `batch_size` is not an int >= 1, or `faces`
            has pairs of templates or no faces; when the training begins, if the faces do not fit
            the network or the protocol.
    """

    def __init__(
        self,
        faces: PairDataset,
        backbone: keras.Model,
        every_steps: int,
        batch_size: int = 64,
        out: str | os.PathLike = "",
        on_result: Callable[[int, dict], None] | None = None,
    ):
        super().__init__()
        if faces.faces is None or faces.templates:
            raise ValueError(
                "`faces` must be pairs of images, with a folder, records or a .bin that has "
                f"them. Received: pairs of {faces.file}"
            )
        self.faces = faces
        self.backbone = backbone
        self.every_steps = check_integer(every_steps, "every_steps", 1)
        self.batch_size = check_integer(batch_size, "batch_size", 1)
        self.out = out
        self.on_result = on_result
        self.embed = embedding_function(backbone)
        self.pixels: dict[str, np.ndarray] = {}  # of the faces that are there
        self.missing: dict[str, str] = {}

    def on_train_begin(self, logs=None):
        if not self.pixels:
            self._load_faces()
        self.step = self._optimizer_steps()
        self.started = False
        self.verified_step = None
        self.epoch_accuracy = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_accuracy = None

    def on_train_batch_end(self, batch, logs=None):
        steps = self._optimizer_steps()
        before = batch if self.step is None else self.step
        self.step = batch + 1 if steps is None else steps
        if not self.started:
            self.started = True
            if self.out:
                self.table = StepTable(self.out, ROW_FIELDS, before)
        # One call may stand for several steps (`steps_per_execution`).
        if self.step // self.every_steps > before // self.every_steps:
            self._verify()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None and self.epoch_accuracy is not None:
            logs["verification_accuracy"] = self.epoch_accuracy

    def on_train_end(self, logs=None):
        if self.started and self.verified_step != self.step:
            self._verify()

    def _optimizer_steps(self):
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(optimizer.iterations.numpy())

    def _load_faces(self):
        pairs, load = self.faces.pairs, self.faces.faces.load
        keys = progress_bar(pairs.keys(), unit="image", desc="reading faces")
        # Copies: a crop would keep the whole image in memory.
        found = embeddings.load_faces(keys, load, self.missing)
        pixels = {key: np.array(face, np.uint8) for key, face in found}
        complete = verification.complete_pairs(pairs, self.missing)
        protocols.check_folds(pairs.is_same[complete], pairs.folds[complete])
        sizes = {face.shape for face in pixels.values()}
        if sizes != {tuple(self.backbone.input_shape[1:])}:
            raise ValueError(
                f"Faces must have the size of the backbone's input, "
                f"{self.backbone.input_shape[1:]}. Received: faces of {sorted(sizes)}"
            )
        # Each worker embeds rows of its own list.
        assert_equal_across_workers(
            self.backbone.distribute_strategy,
            "\n".join(pixels),
            f"The checksum of the names of the faces that are there, here {len(pixels)},",
        )
        self.pixels = pixels
        if not complete.all():
            warnings.warn(
                f"{np.sum(~complete)} of {len(complete)} pairs are left out of the verification, "
                f"because {len(self.missing)} images are missing "
                f"({'; '.join(sorted(set(self.missing.values())))}).",
                stacklevel=2,
            )

    def _verify(self):
        began = time.monotonic()
        self.verified_step = self.step
        views = self._embeddings().reshape(len(self.pixels), 2, -1)
        try:
            protocols.check_embeddings(views, list(self.pixels))
        except ValueError as error:
            warnings.warn(f"Step {self.step}: no verification. {error}", stacklevel=2)
            return
        known = Embeddings(list(self.pixels), views, self.missing)
        metrics = verification.verify(self.faces.pairs, known).metrics
        metrics = {**metrics, "seconds": time.monotonic() - began}
        self.epoch_accuracy = metrics["accuracy_mean"]
        if self.out:
            self.table.add({"step": self.step, **metrics})
        if self.on_result:
            self.on_result(self.step, metrics)

    def _embeddings(self):
        """(N, 2 D), in the order of the faces."""
        strategy = self.backbone.distribute_strategy
        faces = list(self.pixels.values())
        part = -(-self.batch_size // strategy.num_replicas_in_sync)  # of one replica, rounded up
        results = []
        with exported_statistics(self.backbone):
            for start in range(0, len(faces), part * strategy.num_replicas_in_sync):

                def part_of(context, start=start):
                    first = start + context.replica_id_in_sync_group * part
                    # The last face fills up: all parts are alike, and one shape is compiled.
                    rows = np.minimum(np.arange(first, first + part), len(faces) - 1)
                    return tf.constant(np.stack([faces[row] for row in rows]))

                parts = strategy.experimental_distribute_values_from_function(part_of)
                results.append(self.embed(parts))
            return np.concatenate([result.numpy() for result in results])[: len(faces)]


def embedding_function(backbone: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiled: each replica embeds its part, uint8 (n, H, W, 3); all come back, (R n, 2 D)."""
    strategy = backbone.distribute_strategy

    @tf.function
    def embed(parts):
        embeddings = strategy.run(
            lambda part: saved_model.embed_both_views(backbone, part), (parts,)
        )
        return strategy.gather(embeddings, axis=0)

    return embed


@contextlib.contextmanager
def exported_statistics(backbone: keras.Model):
    """Inside, all replicas hold the statistics of batch normalization that an export would.

    Each replica gathers its own: an export holds their mean with Keras 2.15 and the first
    replica's with Keras 3. Afterwards each has its own again.
    """
    strategy = backbone.distribute_strategy
    variables = [compat.tf_variable(weight) for weight in backbone.non_trainable_weights]
    if strategy.num_replicas_in_sync == 1:
        variables = []
    variables = [variable for variable in variables if variable.dtype.is_floating]
    copies = [strategy.experimental_local_results(variable) for variable in variables]
    own = [[copy.numpy() for copy in of_variable] for of_variable in copies]
    try:
        for variable, of_variable in zip(variables, copies, strict=True):
            value = _exported_value(variable, strategy)
            for copy in of_variable:
                copy.assign(value)
        yield
    finally:
        for of_variable, values in zip(copies, own, strict=True):
            for copy, value in zip(of_variable, values, strict=True):
                copy.assign(value)


def _exported_value(variable, strategy):
    if variable.synchronization == tf.VariableSynchronization.ON_READ:
        return tf.convert_to_tensor(variable)
    # Gathered, so that every one of several workers has the value of the first one.
    return strategy.gather(strategy.run(lambda: tf.convert_to_tensor(variable)[None]), axis=0)[0]
