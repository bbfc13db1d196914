"""The annealing of lambda, and the blend of psi with the plain cosine."""

from typing import NamedTuple

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.config.scaling import PAPER_GAMMA, scaled_gamma
from keras_sphereface.functional.psi import psi
from keras_sphereface.utils.validation import check_integer, check_real


class Annealing(NamedTuple):
    """Arguments of the annealing, by default those of Liu et al.

    Attributes:
        base: lambda at step 0, >= 0.
        gamma: Rate of the decay, >= 0.
        power: Exponent of the decay, >= 0.
        lambda_min: lambda never falls below this, >= 0.
        margin_warmup_steps: Number of first steps with m = 1; Liu et al. have none.

    Example:
        >>> pure_margin = Annealing(base=0.0, lambda_min=0.0)
        >>> float(annealing_lambda(1, pure_margin))
        0.0
    """

    base: float = 1000.0
    gamma: float = PAPER_GAMMA
    power: float = 1.0
    lambda_min: float = 5.0
    margin_warmup_steps: int = 0


def check_annealing(annealing: Annealing) -> Annealing:
    """Return `annealing` as plain numbers if all are finite and >= 0; raise otherwise."""
    values = annealing._asdict()
    margin_warmup_steps = check_integer(values.pop("margin_warmup_steps"), "margin_warmup_steps", 0)
    reals = {name: check_real(value, name, 0.0) for name, value in values.items()}
    return Annealing(**reals, margin_warmup_steps=margin_warmup_steps)


def scaled_annealing(annealing: Annealing, total_steps: int) -> Annealing:
    """Return `annealing` with the gamma that suits a run; see `config.scaling.scaled_gamma`.

    Args:
        annealing: Arguments of the annealing; its gamma is replaced.
        total_steps: Int >= 1. Steps of the run.

    Example:
        >>> annealing = scaled_annealing(Annealing(lambda_min=1.0), total_steps=700)
        >>> [float(annealing_lambda(step, annealing)) > 1.0 for step in (399, 400)]
        [True, False]
    """
    decay = annealing._asdict()
    del decay["gamma"]
    return annealing._replace(gamma=scaled_gamma(total_steps, **decay))


def unfinished_annealing(annealing: Annealing, total_steps: int) -> str:
    """Return a sentence if lambda does not reach `lambda_min` by the last step, else "".

    With `lambda_min` 0, which is a limit, there is nothing to reach.

    Args:
        annealing: Arguments of the annealing.
        total_steps: Int >= 0. Number of the last step.

    Example:
        >>> unfinished_annealing(Annealing(), total_steps=99)[:31]
        'lambda is 77.6 at step 99, the '
        >>> unfinished_annealing(Annealing(), total_steps=1659)
        ''
    """
    last = float(annealing_lambda(total_steps, annealing))
    # lambda is rounded to float32.
    if annealing.lambda_min == 0.0 or last <= annealing.lambda_min * (1 + 1e-6):
        return ""
    return (
        f"lambda is {last:.3g} at step {total_steps:,}, the last, and not lambda_min = "
        f"{annealing.lambda_min:g}: the margin never applies in full."
    )


def blend(cos_theta: Tensor, m: int, annealing_lambda: Tensor) -> Tensor:
    """Return (lambda cos(theta) + psi(theta)) / (1 + lambda), the target cosine of A-Softmax.

    Args:
        cos_theta: Cosines in [-1, 1] of any shape.
        m: Int >= 1. The margin.
        annealing_lambda: lambda >= 0; 0 is the pure margin, and infinity the cosine itself.

    Example:
        >>> np.asarray(blend(np.array([0.5]), m=4, annealing_lambda=1.0)).tolist()
        [-0.5]
    """
    # Written so that an infinite lambda gives no inf / inf.
    return cos_theta + (psi(cos_theta, m) - cos_theta) / (1.0 + annealing_lambda)


def annealing_lambda(step: Tensor, annealing: Annealing = Annealing()) -> Tensor:
    """Return lambda = max(lambda_min, base * (1 + gamma * step)^(-power)), float32.

    In the first `margin_warmup_steps` steps lambda is infinite, which is m = 1, and the decay
    begins after them.

    Args:
        step: Number of the training step being taken; the first is 1.
        annealing: Arguments of the decay.

    Example:
        >>> [round(float(annealing_lambda(step)), 2) for step in (1, 501, 1659)]
        [892.86, 16.36, 5.0]
    """
    base, gamma, power, lambda_min, margin_warmup_steps = annealing
    step = ops.cast(step, "float32") - float(margin_warmup_steps)
    decay = ops.power(1.0 + gamma * ops.maximum(step, 0.0), -power)
    value = ops.maximum(base * decay, lambda_min)
    if margin_warmup_steps == 0:
        return value
    return ops.where(step > 0.0, value, float("inf"))
