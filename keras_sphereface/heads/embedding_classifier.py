"""`EmbeddingClassifier`: a network and a head as one Keras model, whose margin cannot get lost."""

import math
from typing import Any

import keras

from keras_sphereface.backend import BACKEND, INTEGER, Tensor, ops, value_of
from keras_sphereface.functional.norms import NORM_FLOOR, l2_norm
from keras_sphereface.heads.base import Head
from keras_sphereface.losses.context import HeadOutput
from keras_sphereface.losses.labels import check_array_of_labels, flat_labels

OWN_LOSS = (
    "An EmbeddingClassifier trains by the loss of its head; leave `loss` out. Received: loss={0!r}"
)
OWN_METRICS = (
    "An EmbeddingClassifier brings accuracy, target angle, |x| and lambda itself, and further "
    "metrics are given its embeddings; leave {0!r} out of `metrics`."
)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class EmbeddingClassifier(keras.Model):
    """A network from images to embeddings, trained by a head on top of it.

        model = EmbeddingClassifier(sphereface20(), ASoftmax(num_classes, m=4))
        model.compile("sgd")
        model.fit(images, labels)
        embeddings = model.predict(images)

    The model's output are the embeddings. `fit` and `evaluate` give them with the labels to
    `head.compute_losses`, so neither a wrong loss nor a layer behind the head can take the margin
    away, and (B, C) logits need not exist. The step of the annealing follows the optimizer: it
    counts updates, not batches, also with `gradient_accumulation_steps` and where a loss scale
    skips updates.

    It fits, evaluates, predicts, saves and loads as any Keras model, on every backend, with sample
    and class weights. Beside the loss it reports, as means over the samples of an epoch:
    `accuracy`, without the margin, `target_angle` in degrees, and `embedding_norm`, |x|; and
    `annealing_lambda`, that of the last batch. Three more of the last batch are what
    `ConvergenceGuard` watches: `norm_spread`, the standard deviation of |x| by its mean;
    `embedding_spread`, 1 less the length of the mean of the embeddings at unit length, 0 where all
    point one way; and `identities_in_batch`.

    Args:
        backbone: A Keras model from a batch of inputs to one embedding each, (B, D).
        head: A head of this package.
        **kwargs: `name` and `trainable`, as for any Keras model.

    Raises:
        TypeError: If `head` is no head of this package.
        ValueError: If the output of the network is not (B, D), or the head counts accumulated
            gradients itself.

    Example:
        >>> from keras_sphereface.heads import ASoftmax
        >>> backbone = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model = EmbeddingClassifier(backbone, ASoftmax(num_classes=3, m=4))
        >>> model.compile("sgd")
        >>> images, labels = np.ones((6, 8), "float32"), np.arange(6) % 3
        >>> history = model.fit(images, labels, batch_size=2, verbose=0)
        >>> round(history.history["annealing_lambda"][0], 2)  # at step 3
        735.29
        >>> model.predict(images, verbose=0).shape
        (6, 4)
    """

    def __init__(self, backbone: keras.Model, head: Head, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(head, Head):
            raise TypeError(
                "`head` must be a head of keras_sphereface, ASoftmax(num_classes) for example. "
                f"Received: {head!r}"
            )
        if getattr(head, "gradient_accumulation_steps", 1) != 1:
            raise ValueError(
                "The head of an EmbeddingClassifier must have gradient_accumulation_steps=1: the "
                "optimizer counts. "
                f"Received: gradient_accumulation_steps={head.gradient_accumulation_steps}"
            )
        outputs = getattr(backbone, "outputs", None)  # of functional models, known before a call
        if outputs:
            _check_embeddings(outputs[0] if len(outputs) == 1 else outputs)
        self.backbone, self.head = backbone, head
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.target_angle = keras.metrics.Mean(name="target_angle")
        self.embedding_norm = keras.metrics.Mean(name="embedding_norm")
        self.annealing_lambda = LastValue(name="annealing_lambda")
        self.norm_spread = LastValue(name="norm_spread")
        self.embedding_spread = LastValue(name="embedding_spread")
        self.identities_in_batch = LastValue(name="identities_in_batch")
        # For Keras 2.15, which does not tell `compute_loss` what it is called for.
        self._trains = False

    def build(self, input_shape: Any) -> None:
        """Make the weights of the head, and of a network that is not built."""
        if not self.head.built and isinstance(input_shape, tuple | list):
            embeddings = self.backbone(keras.Input(batch_shape=tuple(input_shape)))
            _check_embeddings(embeddings)
            self.head.build((None, embeddings.shape[-1]))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        # Keras hands `training` on to the layers of the network that take it.
        embeddings = self.backbone(inputs)
        _check_embeddings(embeddings)
        if not self.head.built:
            self.head(embeddings, training=False)  # Keras makes its weights
        return embeddings

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configure the training, as `keras.Model.compile` does; the loss is that of the head.

        Raises:
            ValueError: If there is a loss, or a metric that would be given logits.
        """
        if loss is not None and not isinstance(loss, GivenLosses):
            raise ValueError(OWN_LOSS.format(loss))
        for name in ("accuracy", "acc"):
            if name in ([metrics] if isinstance(metrics, str) else metrics or []):
                raise ValueError(OWN_METRICS.format(name))
        super().compile(optimizer=optimizer, loss=GivenLosses(), metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as a saved model was; Keras does so by itself only where `compile` is its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, as `keras.Model.fit` does; an array of labels is checked before.

        Raises:
            ValueError: If a label is no whole number in [0, num_classes).
        """
        check_array_of_labels(y, self.head.num_classes)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate, as `keras.Model.evaluate` does; an array of labels is checked before.

        Raises:
            ValueError: If a label is no whole number in [0, num_classes).
        """
        check_array_of_labels(y, self.head.num_classes)
        return super().evaluate(x, y, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool | None = None,
    ) -> Tensor:
        """Return the mean loss of the head for embeddings `y_pred` and labels `y`."""
        # Keras 2.15 does not tell what for, and takes no such argument either.
        arguments = {} if training is None else {"training": training}
        training = self._trains if training is None else training
        if training and BACKEND != "jax":
            self.head.step.assign(ops.cast(value_of(self.optimizer.iterations) + 1, INTEGER))
        output = self.head.compute_losses(y_pred, y, training, self.head.last_step)
        self._measure(output, y_pred, y)
        return super().compute_loss(x, y, output.losses, sample_weight, **arguments)

    def _measure(self, output: HeadOutput, embeddings: Tensor, labels: Tensor) -> None:
        cosines = ops.clip(ops.stop_gradient(output.target_cosine), -1.0, 1.0)
        self.accuracy.update_state(ops.cast(output.correct, "float32"))
        self.target_angle.update_state(ops.arccos(cosines) * (180.0 / math.pi))
        embeddings = ops.cast(ops.stop_gradient(embeddings), self.head.compute_dtype)
        norms = l2_norm(embeddings)
        self.embedding_norm.update_state(norms)
        self.annealing_lambda.update_state(self.head.annealing_lambda)
        mean = ops.mean(norms)
        deviation = ops.sqrt(ops.mean(ops.square(norms - mean)))
        self.norm_spread.update_state(deviation / ops.maximum(mean, NORM_FLOOR))
        direction = ops.mean(embeddings / norms, axis=0)
        self.embedding_spread.update_state(1.0 - ops.sqrt(ops.sum(ops.square(direction))))
        ordered = ops.sort(flat_labels(labels))
        changes = ops.cast(ordered[1:] != ordered[:-1], "int32")
        self.identities_in_batch.update_state(1 + ops.sum(changes))

    def train_step(self, *args: Any) -> Any:
        """Take a step, as `keras.Model` does, with the head at the step of the optimizer."""
        if BACKEND == "jax":
            return super().train_step(self._counted(args[0]), *args[1:])
        self._trains = True
        try:
            return super().train_step(*args)
        finally:
            self._trains = False

    def _counted(self, state: tuple) -> tuple:
        """The state of a step of JAX with the weight `head.step` at this step's number.

        There `compute_loss` cannot read the optimizer, whose variables are part of the state.
        """
        trainable, others, of_optimizer, of_metrics = state
        mapping = list(zip(self.optimizer.variables, of_optimizer, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            step = ops.convert_to_tensor(self.optimizer.iterations) + 1
        others = [
            ops.cast(step, variable.dtype) if variable is self.head.step else value
            for variable, value in zip(self.non_trainable_variables, others, strict=True)
        ]
        return trainable, others, of_optimizer, of_metrics

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "head": keras.saving.serialize_keras_object(self.head),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        del custom_objects
        layers = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("backbone", "head")
        }
        return cls(**{**config, **layers})


def _check_embeddings(outputs: Any) -> None:
    """Raise a ValueError unless the output of a network is one tensor (B, D)."""
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2:
        received = f"{len(outputs)} outputs" if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            "The backbone of an EmbeddingClassifier must have one output, of shape (batch, "
            "embedding size); a map of features needs a Flatten or pooling layer after it. "
            f"Received: {received}"
        )


@keras.saving.register_keras_serializable(package="keras_sphereface")
class GivenLosses(keras.losses.Loss):
    """The loss of an `EmbeddingClassifier`: the mean of losses that its head has computed."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        del y_true
        return y_pred


@keras.saving.register_keras_serializable(package="keras_sphereface")
class LastValue(keras.metrics.Metric):
    """The last value, the mean of it over the replicas of a strategy."""

    def __init__(self, name: str = "last_value", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name="total", shape=(), initializer="zeros")
        self.count = self.add_weight(name="count", shape=(), initializer="zeros")

    def update_state(self, value: Tensor) -> None:
        self.total.assign(ops.cast(value, "float32"))
        self.count.assign(1.0)

    def result(self) -> Tensor:
        return ops.divide_no_nan(value_of(self.total), value_of(self.count))
