"""`ConvergenceGuard`: warns early that a run fails to converge, with advice."""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_sphereface.functional.annealing import unfinished_annealing
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.embedding_classifier import EmbeddingClassifier
from keras_sphereface.utils.validation import check_integer

NEAR = 0.03  # share of the uninformative loss within which a loss counts as equal to it
EXPLODED = 10.0  # times the higher of the uninformative and the first loss
NORM_LIMIT = 1e4  # |x| of healthy runs stays below a few hundred
EQUAL_NORMS = 1e-4  # spread of |x| below which a layer must have made all lengths equal
EQUAL_EMBEDDINGS = 1e-6  # spread of the directions below which all embeddings are one
PATIENCE_WITH_BATCHES = 3  # in a row, before what is wrong with them is said
FIRST_LOSSES = 20  # later losses are compared with the mean of these
STUCK_ADVICE = (
    "What helps: a margin that comes later and more slowly (some hundred to a thousand "
    "`margin_warmup_steps`, a smaller `gamma`, a larger `lambda_min`), a lower learning rate, "
    "or Adam for the first trial."
)
EXPLODED_ADVICE = (
    "What helps: a lower learning rate, a warm-up or clipped gradients (`clipnorm`), and a larger "
    "`lambda_min`. (Under XLA, as in `fit` on a GPU, a label out of range makes the loss nan too.)"
)


class ConvergenceWatch:
    """Finds the two failures of training in a series of losses; see `ConvergenceGuard`.

    Args:
        head: Head that is trained.
        patience: Int >= 1. Steps near the uninformative loss after which a run counts as stuck.
    """

    def __init__(self, head: Head, patience: int) -> None:
        self.patience = check_integer(patience, "patience", 1)
        self.uninformative_loss = head.uninformative_loss
        self.collapse_message = head.collapse_message
        self.first_losses: list[float] = []
        self.steps_near = 0
        self.reported: set[str] = set()
        self.batches_with: dict[str, int] = {}
        # Heads of other bases than the class weights have no attribute of a scale.
        self.keeps_norms = getattr(head, "scale", 1.0) is None

    def add(self, loss: float, norm: float | None = None, steps: int = 1) -> str | None:
        """Add the mean loss of the last steps.

        Args:
            loss: Mean loss.
            norm: Mean |x|; None: unknown.
            steps: Int. Number of these steps.

        Returns:
            What is wrong and what helps, the first time that it is seen; else None.
        """
        if explosion := self._explosion(loss, norm):
            return self.report("exploded", f"{explosion} {EXPLODED_ADVICE}")
        if self.uninformative_loss is None:
            return None
        is_near = abs(loss - self.uninformative_loss) < NEAR * self.uninformative_loss
        self.steps_near = self.steps_near + steps if is_near else 0
        if self.steps_near < self.patience:
            return None
        name, meaning = self.collapse_message
        return self.report(
            "stuck",
            f"The loss has stayed at {name} = {self.uninformative_loss:.2f} for "
            f"{self.steps_near} steps: {meaning}. {STUCK_ADVICE}",
        )

    def _explosion(self, loss: float, norm: float | None) -> str:
        if not math.isfinite(loss):
            return f"The loss is {loss}."
        start = sum(self.first_losses) / len(self.first_losses) if self.first_losses else loss
        if loss > EXPLODED * max(start, self.uninformative_loss or 0.0):
            return f"The loss rose from {start:.3g} to {loss:.3g}."
        if len(self.first_losses) < FIRST_LOSSES:
            self.first_losses.append(loss)
        if norm is not None and not norm < NORM_LIMIT:
            return f"The mean |x| is {norm:.3g}."
        return ""

    def add_batch(self, logs: Mapping[str, float]) -> Iterator[str]:
        """Add what an `EmbeddingClassifier` has measured of the last batch; yield what is wrong."""
        for failure, message in self._faults_of_batch(logs):
            self.batches_with[failure] = self.batches_with.get(failure, 0) + 1
            if self.batches_with[failure] >= PATIENCE_WITH_BATCHES and (
                report := self.report(failure, message)
            ):
                yield report

    def _faults_of_batch(self, logs: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        if logs.get("identities_in_batch", 2.0) == 1.0:
            yield (
                "one identity",
                "Every batch holds a single identity, so that there is nothing to tell apart. "
                "What helps: shuffle the data (a folder or file of one identity after another "
                "needs a buffer larger than the largest of them).",
            )
        elif logs.get("embedding_spread", 1.0) < EQUAL_EMBEDDINGS:
            yield (
                "constant",
                "All embeddings of a batch point in one direction: the network gives the same for "
                "every image. What helps: check the range of the pixels that it takes (a network "
                "that takes 0..255 or uint8 sees nothing in [-1, 1)), and its start weights.",
            )
        elif self.keeps_norms and logs.get("norm_spread", 1.0) < EQUAL_NORMS:
            yield (
                "equal norms",
                f"All embeddings have one length, |x| = {logs.get('embedding_norm', 1.0):.3g}: a "
                "normalization before the head takes the length away that this head needs as its "
                "scale. What helps: no normalization there, or a head with a scale (NormFace, "
                "CosFace, ArcFace, SphereFaceR).",
            )

    def report(self, failure: str, message: str) -> str | None:
        """Return the message the first time that a failure is seen, else None."""
        if failure in self.reported:
            return None
        self.reported.add(failure)
        return message


class ConvergenceGuard(keras.callbacks.Callback):
    """Warns of the two ways in which A-Softmax fails to converge, once each, with advice.

    Stuck: the loss stays within 3 % of the loss of embeddings without information: ln C
    (for heads whose embeddings keep their length and whose loss has no further term), m for
    triplets. Exploded: the loss is not finite or over ten times its start, or |x| is over 10,000
    (seen where `embedding_norm` is among the metrics).

    It also warns, when the training begins, if lambda cannot reach `lambda_min` in its steps, or
    if the optimizer accumulates gradients of which the head does not know; and after an epoch in
    which the head counted no step, so that lambda stood still. With an `EmbeddingClassifier` it
    sees three faults of the batches too: one identity in each, embeddings that all point in one
    direction, and embeddings of one length under a head that needs their lengths.

    Args:
        patience: Int >= 1. Steps near that loss after which the run counts as stuck.
        stop: Bool. Whether to end the training then.

    Raises:
        TypeError, ValueError: If `patience` is not an int >= 1, or, when the training begins, if
            the model does not have exactly one head of this package.

    Example:
        >>> from keras_sphereface.heads import ASoftmax
        >>> head = ASoftmax(num_classes=3, total_steps=1)
        >>> model = keras.Sequential([keras.Input((4,)), head])
        >>> model.compile("sgd", loss=head.loss)
        >>> guard = ConvergenceGuard(patience=500, stop=True)
        >>> history = model.fit(np.eye(3, 4), np.arange(3), verbose=0, callbacks=[guard])
    """

    def __init__(self, patience: int = 1000, stop: bool = False) -> None:
        super().__init__()
        self.patience = check_integer(patience, "patience", 1)
        self.stop = stop

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        heads = [layer for layer in _all_layers(self.model) if isinstance(layer, Head)]
        if len(heads) != 1:
            raise ValueError(
                f"The model must have one head of keras_sphereface. Received: {len(heads)} of them"
            )
        self.watch = ConvergenceWatch(heads[0], self.patience)
        self.head = heads[0]
        self._check_accumulation(heads[0])
        self._check_annealing(heads[0])

    def _check_accumulation(self, head: Head) -> None:
        """Warn if a head that counts calls has an optimizer that takes several to an update."""
        optimizer = getattr(self.model, "optimizer", None)
        taken = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        counted = getattr(head, "gradient_accumulation_steps", taken)
        if counted != taken and not isinstance(self.model, EmbeddingClassifier):
            warnings.warn(
                f"The optimizer makes one update of {taken} batches, and the head counts one of "
                f"{counted}, so lambda falls at another rate. Give the head "
                f"`gradient_accumulation_steps={taken}`, or use `EmbeddingClassifier`.",
                stacklevel=2,
            )

    def _check_annealing(self, head: Head) -> None:
        """Warn if the steps of this `fit`, where Keras knows them, are too few for the head."""
        annealing = getattr(head, "annealing", None)
        params = getattr(self, "params", None) or {}  # Keras 2.15 sets none before `fit`
        steps, epochs = params.get("steps"), params.get("epochs")
        if annealing is None or not steps or not epochs:
            return
        last = self._step() + steps * epochs
        if message := unfinished_annealing(annealing, last):
            advice = f"Give the head `total_steps={last}` and no `gamma`, or train longer."
            warnings.warn(f"{message} {advice}", stacklevel=2)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps_seen = 0
        self.sums = {"loss": 0.0, "embedding_norm": 0.0}
        self.step_before = self._step()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        annealing = getattr(self.head, "annealing", None)
        if annealing is not None and self.steps_seen and self._step() == self.step_before:
            message = (
                f"The head counted no step in an epoch of {self.steps_seen} batches: lambda stays "
                f"at {float(self.head.annealing_lambda):.4g}. It must be called with training=True."
            )
            if report := self.watch.report("no step", message):
                warnings.warn(report, stacklevel=2)

    def _step(self) -> int:
        if not self.head.built:
            return 0
        if hasattr(self.model, "jax_state_sync"):  # during `fit` the weights of JAX are elsewhere
            self.model.jax_state_sync()
        return int(self.head.step)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Keras gives means since the epoch began; what is new is their difference. (A last batch
        # that is smaller counts here like the others, in Keras by its size.)
        steps, means = batch + 1 - self.steps_seen, {}
        for name in self.sums:
            if logs and name in logs:
                total = float(logs[name]) * (batch + 1)
                means[name] = (total - self.sums[name]) / steps
                self.sums[name] = total
        self.steps_seen = batch + 1
        if "loss" not in means:
            return
        message = self.watch.add(means["loss"], means.get("embedding_norm"), steps)
        for fault in self.watch.add_batch(logs or {}):
            warnings.warn(fault, stacklevel=2)
        if message:
            warnings.warn(message, stacklevel=2)
            self.model.stop_training = self.model.stop_training or self.stop


def _all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)
