"""The annealing of lambda, and the blend of psi with the plain cosine."""

from typing import NamedTuple

import tensorflow as tf

from keras_sphereface.functional.psi import psi
from keras_sphereface.utils.validation import check_integer, check_real


class Annealing(NamedTuple):
    """The authors' annealing arguments; `Annealing(base=0, lambda_min=0)` is the pure margin."""

    base: float = 1000.0
    gamma: float = 0.12
    power: float = 1.0
    lambda_min: float = 5.0
    margin_warmup_steps: int = 0  # first steps with m = 1; the authors have none


def check_annealing(annealing: Annealing) -> Annealing:
    """Return `annealing` as plain numbers if all are finite and >= 0; raise otherwise."""
    values = annealing._asdict()
    margin_warmup_steps = check_integer(values.pop("margin_warmup_steps"), "margin_warmup_steps", 0)
    reals = {name: check_real(value, name, 0.0) for name, value in values.items()}
    return Annealing(**reals, margin_warmup_steps=margin_warmup_steps)


def blend(cos_theta: tf.Tensor, m: int, annealing_lambda: tf.Tensor) -> tf.Tensor:
    """What A-Softmax puts in the place of cos(theta_y): (lambda cos + psi) / (1 + lambda).

    Args:
        cos_theta: cosines, any shape.
        m: the margin, a Python int >= 1.
        annealing_lambda: lambda, >= 0; 0 is the pure margin, and infinity the cosine itself.
    """
    # Written so that an infinite lambda gives no inf / inf.
    return cos_theta + (psi(cos_theta, m) - cos_theta) / (1.0 + annealing_lambda)


def annealing_lambda(step: tf.Tensor, annealing: Annealing = Annealing()) -> tf.Tensor:
    """lambda = max(lambda_min, base * (1 + gamma * step)^(-power)), float32.

    `step` is the number of the training step being taken, the first being 1: with the
    authors' arguments lambda is 892.9 at step 1, 16.36 at 501 and 5 from 1659 on. In the first
    `margin_warmup_steps` steps lambda is infinite, which is m = 1, and the count begins after them.
    """
    base, gamma, power, lambda_min, margin_warmup_steps = annealing
    step = tf.cast(step, tf.float32) - float(margin_warmup_steps)
    decay = tf.pow(1.0 + gamma * tf.maximum(step, 0.0), -power)
    value = tf.maximum(tf.cast(lambda_min, tf.float32), base * decay)
    if margin_warmup_steps == 0:
        return value
    return tf.where(step > 0.0, value, float("inf"))
