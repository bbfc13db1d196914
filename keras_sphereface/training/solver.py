"""The optimizer as Caffe's solver works it: weight decay in the gradient, faster biases."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.config.choices import OPTIMIZER_SLOTS
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.utils.compat import SummedGradients, plain_update, slot_index

BIAS_RATE = 2.0  # times the rate of the kernels, as in the network files of Liu et al.


@dataclasses.dataclass(frozen=True)
class Solver:
    """The settings of an optimizer.

    Attributes:
        optimizer: "sgd" or "adam".
        rate: Learning rate over the steps.
        momentum: Float in [0, 1). Momentum of SGD.
        weight_decay: Float >= 0. Factor of the L2 term; biases by the rule of Caffe have none.
        clipnorm: Float >= 0. Maximal L2 norm of the gradient of all weights together; 0: none.
        ema: Float in [0, 1). Decay of the moving averages of the weights; 0: no averages.
        bias_rule: "caffe" or "plain" for the biases of the network; see
            `config.choices.BIAS_RULES`.
        gradient_precision: Dtype in which replicas send each other gradients; "full": that of the
            weights.

    Example:
        >>> Solver("adam", LearningRate(0.001, total_steps=100)).num_slots
        2
    """

    optimizer: str
    rate: LearningRate
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clipnorm: float = 0.0
    ema: float = 0.0
    bias_rule: str = "caffe"
    gradient_precision: str = "full"

    @property
    def num_slots(self) -> int:
        """The number of variables that the optimizer keeps for each weight."""
        return OPTIMIZER_SLOTS[self.optimizer]

    def make_optimizer(self, rate_factors: Sequence[float] = ()) -> keras.optimizers.Optimizer:
        """Return the Keras optimizer, not built; its gradients are sums over the replicas.

        Args:
            rate_factors: Factor on the learning rate of each weight that the optimizer will be
                built with, in their order; empty: all have the whole rate.
        """
        sgd = self.optimizer == "sgd"
        optimizer_class = keras.optimizers.SGD if sgd else keras.optimizers.Adam
        bases: tuple[type, ...] = (SummedGradients, optimizer_class)
        attributes: dict[str, Any] = {}
        if any(factor != 1 for factor in rate_factors):
            # In the class: Keras would keep an attribute of the object in checkpoints.
            attributes, bases = {"rate_factors": tuple(rate_factors)}, (_ShorterSteps, *bases)
        optimizer_class = type(optimizer_class.__name__, bases, attributes)
        arguments = {"momentum": self.momentum} if sgd else {}
        return optimizer_class(self.rate, **arguments, **plain_update())

    def update_rule(self, steps_taken: tf.Tensor) -> Callable[..., None]:
        """Return what that optimizer does to one weight: (weight, slots, gradient) -> None."""
        rate = self.rate(steps_taken)
        if self.optimizer == "sgd":
            return functools.partial(sgd_update, rate=rate, momentum=self.momentum)
        return functools.partial(adam_update, rate=rate, step=steps_taken + 1)


class _ShorterSteps:
    """Of an optimizer: the step of each weight is a share of what it would be, `rate_factors`.

    This is a smaller learning rate, with Adam too, which a smaller gradient is not.
    """

    rate_factors: tuple[float, ...]

    def update_step(self, gradient: tf.Tensor, variable: Any, *learning_rate: Any) -> None:
        factor = self.rate_factors[slot_index(self, variable)]
        before = tf.identity(variable)
        super().update_step(gradient, variable, *learning_rate)  # type: ignore[misc]
        if factor != 1:
            variable.assign(before + factor * (tf.convert_to_tensor(variable) - before))


def solver_gradients(
    gradients: Sequence[tf.Tensor],
    variables: Sequence[Any],
    are_biases: Sequence[bool],
    weight_decay: float,
) -> list[tf.Tensor]:
    """Return gradients as Caffe's solver sees them with the network files of Liu et al.

    Weight decay is added to the gradient, so that it goes through the momentum. Biases have no
    decay, and with SGD, by a gradient twice as large, twice the rate.

    Args:
        gradients: One for each variable.
        variables: Weights.
        are_biases: For each of them, whether it is a bias by this rule.
        weight_decay: Float >= 0. Factor of the L2 term.
    """
    return [
        solver_gradient(gradient, tf.convert_to_tensor(variable), is_bias, weight_decay)
        for gradient, variable, is_bias in zip(gradients, variables, are_biases, strict=True)
    ]


def is_named_bias(variable: Any) -> bool:
    """Return whether a weight of a layer of Keras, or of a head of this package, is a bias."""
    return variable.name.split("/")[-1].startswith("bias")


def solver_gradient(
    gradient: tf.Tensor, weight: tf.Tensor, is_bias: bool, weight_decay: float
) -> tf.Tensor:
    """Return the gradient of one weight as Caffe's solver sees it."""
    if is_bias:
        return BIAS_RATE * gradient
    # The decay waits for no gradient by itself, and would lie in memory through the whole step.
    with tf.control_dependencies([gradient]):
        return gradient + weight_decay * weight


def sgd_update(
    weight: tf.Variable,
    slots: Sequence[tf.Variable],
    gradient: tf.Tensor,
    *,
    rate: tf.Tensor,
    momentum: float,
) -> None:
    """Update a weight and its velocity in place, as `keras.optimizers.SGD` does."""
    (velocity,), rate = slots, tf.cast(rate, gradient.dtype)
    # Not before the gradient is computed: the product would only lie in memory.
    with tf.control_dependencies([gradient]):
        velocity.assign(momentum * velocity - rate * gradient)
    weight.assign_add(tf.convert_to_tensor(velocity))


def adam_update(
    weight: tf.Variable,
    slots: Sequence[tf.Variable],
    gradient: tf.Tensor,
    *,
    rate: tf.Tensor,
    step: tf.Tensor,
) -> None:
    """Update a weight and its moments in place, as `keras.optimizers.Adam` does by default.

    Args:
        weight: Updated in place.
        slots: First and second moment, updated in place.
        gradient: Of the shape of the weight.
        rate: Learning rate of this step.
        step: Number of this step, counted from 1.
    """
    first, second = slots
    step, dtype = tf.cast(step, gradient.dtype), gradient.dtype
    rate = tf.cast(rate, dtype) * tf.sqrt(1.0 - tf.pow(tf.constant(0.999, dtype), step))
    rate /= 1.0 - tf.pow(tf.constant(0.9, dtype), step)
    first.assign_add(0.1 * (gradient - first))
    second.assign_add(0.001 * (tf.square(gradient) - second))
    weight.assign_sub(rate * first / (tf.sqrt(second) + 1e-7))
