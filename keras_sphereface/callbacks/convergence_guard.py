"""Seeing early that a run fails, and saying what helps: `ConvergenceGuard`."""

import math
import warnings

import keras

from keras_sphereface.heads.base import Head
from keras_sphereface.utils.validation import check_integer

NEAR = 0.03  # a loss within 3 % of that of knowing nothing says nothing
EXPLODED = 10.0  # times the highest of ln C and the first loss
NORM_LIMIT = 1e4  # |x| of healthy runs stays below a few hundred
FIRST_LOSSES = 20  # whose mean is what a later loss is compared with


class ConvergenceWatch:
    """Looks at one loss after another for the two known failures; see `ConvergenceGuard`.

    Args:
        head: the head that is trained.
        patience: steps near ln C after which a run counts as stuck, an int >= 1.
    """

    def __init__(self, head: Head, patience: int):
        self.patience = check_integer(patience, "patience", 1)
        self.chance, self.collapse_message = head.uninformative_loss, head.collapse_message
        self.first_losses: list[float] = []
        self.steps_near_chance = 0
        self.said: set[str] = set()

    def see(self, loss: float, norm: float | None = None, steps: int = 1) -> str | None:
        """Take the mean loss, and |x| if known, of the last `steps` steps.

        Returns:
            What is wrong and what helps, the first time that it is seen; else None.
        """
        if not math.isfinite(loss):
            return self._say("exploded", f"The loss is {loss}.", EXPLODED_HELP)
        start = sum(self.first_losses) / len(self.first_losses) if self.first_losses else loss
        if loss > EXPLODED * max(start, self.chance or 0.0):
            return self._say(
                "exploded", f"The loss rose from {start:.3g} to {loss:.3g}.", EXPLODED_HELP
            )
        if len(self.first_losses) < FIRST_LOSSES:
            self.first_losses.append(loss)
        if norm is not None and not norm < NORM_LIMIT:
            return self._say("exploded", f"The mean |x| is {norm:.3g}.", EXPLODED_HELP)
        if self.chance is None:
            return None
        near = abs(loss - self.chance) < NEAR * self.chance
        self.steps_near_chance = self.steps_near_chance + steps if near else 0
        if self.steps_near_chance < self.patience:
            return None
        name, meaning = self.collapse_message
        steps = self.steps_near_chance
        get_meta = (
            f"The loss has stayed at {name} = {self.chance:.2f} for {steps} steps: {meaning}."
        )
        return self._say("stuck", get_meta, STUCK_HELP)

    def _say(self, kind, get_meta, help_):
        if kind in self.said:
            return None
        self.said.add(kind)
        return f"{get_meta} {help_}"


STUCK_HELP = (
    "What helps: a margin that comes later and more slowly (some hundred to a thousand "
    "`margin_warmup_steps`, a smaller `gamma`, a larger `lambda_min`), a lower learning rate, "
    "or Adam for the first trial."
)
EXPLODED_HELP = (
    "What helps: a lower learning rate, a warm-up or clipped gradients (`clipnorm`), and a larger "
    "`lambda_min`. (Under XLA, as in `fit` on a GPU, a label out of range makes the loss nan too.)"
)


class ConvergenceGuard(keras.callbacks.Callback):
    """Names the two ways in which A-Softmax fails to converge, and what to do about them.

    Stuck: the loss stays within 3 % of what knowing nothing costs: ln C (seen for heads whose
    embeddings keep their length and whose loss has no further term), m for triplets. Exploded:
    the loss is not finite or over ten times its start, or |x| is over 10,000 (seen where
    `embedding_norm` is among the metrics). Each is said once, as a warning.

    Args:
        patience: steps near ln C after which the run counts as stuck, an int >= 1.
        stop: whether to end the training then.

    Raises:
        TypeError, ValueError: if `patience` is not an int >= 1.
    """

    def __init__(self, patience: int = 1000, stop: bool = False):
        super().__init__()
        self.patience = check_integer(patience, "patience", 1)
        self.stop = stop

    def on_train_begin(self, logs=None):
        heads = [layer for layer in _all_layers(self.model) if isinstance(layer, Head)]
        if len(heads) != 1:
            raise ValueError(
                f"The model must have one head of keras_sphereface. Received: {len(heads)} of them"
            )
        self.watch = ConvergenceWatch(heads[0], self.patience)

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = 0
        self.sums = {"loss": 0.0, "embedding_norm": 0.0}

    def on_train_batch_end(self, batch, logs=None):
        # Keras gives means since the epoch began; what is new is their difference. (A last batch
        # that is smaller counts here like the others, in Keras by its size.)
        steps, means = batch + 1 - self.seen, {}
        for name in self.sums:
            if logs and name in logs:
                total = float(logs[name]) * (batch + 1)
                means[name] = (total - self.sums[name]) / steps
                self.sums[name] = total
        self.seen = batch + 1
        if "loss" not in means:
            return
        message = self.watch.see(means["loss"], means.get("embedding_norm"), steps)
        if message:
            warnings.warn(message, stacklevel=2)
            self.model.stop_training = self.model.stop_training or self.stop


def _all_layers(model):
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)
