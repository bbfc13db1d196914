"""`ConvergenceGuard`: warns early that a run fails to converge, with advice."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from keras_sphereface.functional.annealing import unfinished_annealing
from keras_sphereface.heads.base import Head
from keras_sphereface.utils.validation import check_integer

NEAR = 0.03  # share of the uninformative loss within which a loss counts as equal to it
EXPLODED = 10.0  # times the higher of the uninformative and the first loss
NORM_LIMIT = 1e4  # |x| of healthy runs stays below a few hundred
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
            return self._report("exploded", f"{explosion} {EXPLODED_ADVICE}")
        if self.uninformative_loss is None:
            return None
        is_near = abs(loss - self.uninformative_loss) < NEAR * self.uninformative_loss
        self.steps_near = self.steps_near + steps if is_near else 0
        if self.steps_near < self.patience:
            return None
        name, meaning = self.collapse_message
        return self._report(
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

    def _report(self, failure: str, message: str) -> str | None:
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

    It also warns, when the training begins, if lambda cannot reach `lambda_min` in its steps.

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
        self._check_annealing(heads[0])

    def _check_annealing(self, head: Head) -> None:
        """Warn if the steps of this `fit`, where Keras knows them, are too few for the head."""
        annealing = getattr(head, "annealing", None)
        params = getattr(self, "params", None) or {}  # Keras 2.15 sets none before `fit`
        steps, epochs = params.get("steps"), params.get("epochs")
        if annealing is None or not steps or not epochs:
            return
        last = int(head.step) + steps * epochs
        if message := unfinished_annealing(annealing, last):
            advice = f"Give the head `total_steps={last}` and no `gamma`, or train longer."
            warnings.warn(f"{message} {advice}", stacklevel=2)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps_seen = 0
        self.sums = {"loss": 0.0, "embedding_norm": 0.0}

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
        if message:
            warnings.warn(message, stacklevel=2)
            self.model.stop_training = self.model.stop_training or self.stop


def _all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)
