"""The rule by which learning rate, warm-up, clipping and annealing follow from the size of a run.

It fills in what the user of `TrainConfig` did not set. With batches of 512 images, 28,000 steps
and 10,572 identities it gives the values of Liu et al. (CVPR 2017, section 4.1, and their solver
and network files). These do not carry over to smaller runs. The networks have no normalization,
so the inputs h of FC1 are long, |h|^2 is 150 to 400 for images of 112 x 96 pixels, and share a
large mean. Along it the curvature of the loss is about |h|^2 / C for C identities. With few
identities a rate of 0.1 is therefore beyond what gradient descent bears: |x| grows tenfold
with each step, within the first 20 to 50 steps and before the margin sets in. The rule:

- clipping: the gradient of all weights together has at most the norm 1, so that such a step is no
  longer than any other; none in a run that is as large as the paper's in all three respects.
  Since the noise in the mean gradient of B images has a norm proportional to B^(-1/2), clipping
  also shortens the steps of small batches, as the square-root rule of scaling does
  (Krizhevsky, "One weird trick", 2014);
- rate: 0.1 with SGD and 0.001 with Adam (Kingma and Ba, ICLR 2015), before clipping;
- warm-up: a twentieth of the steps, at most 1,000; none where there is no clipping;
- annealing: gamma is 0.12, or so large that lambda is `lambda_min` by 4/7 of the steps, where the
  rate drops for the first time. The margin's share 1 / (1 + lambda) then grows about linearly.

The rate drops at 4/7 and 6/7 of the steps in runs of any length; see `training.schedules`.
"""

import dataclasses
from typing import Any

from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.train import TrainConfig

# CASIA-WebFace has 10,575 identities; three of them are in LFW and were left out.
PAPER_BATCH_SIZE, PAPER_STEPS, PAPER_IDENTITIES = 512, 28_000, 10_572
PAPER_GAMMA = 0.12
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001}
CLIPNORM = 1.0
WARMUP_SHARE, MAX_WARMUP_STEPS = 1 / 20, 1000
ANNEALED_SHARE = 4 / 7  # of the steps, after which the rate of the paper drops


def is_as_large_as_the_paper(batch_size: int, total_steps: int, num_identities: int) -> bool:
    """Return whether a run has at least batch, steps and identities of Liu et al.

    Example:
        >>> is_as_large_as_the_paper(512, 28_000, 10_572)
        True
    """
    return (
        batch_size >= PAPER_BATCH_SIZE
        and total_steps >= PAPER_STEPS
        and num_identities >= PAPER_IDENTITIES
    )


def scaled_gamma(
    total_steps: int,
    base: float = 1000.0,
    power: float = 1.0,
    lambda_min: float = 5.0,
    margin_warmup_steps: int = 0,
) -> float:
    """Return the gamma with which lambda reaches `lambda_min` by 4/7 of the steps.

    It is the paper's, 0.12, if lambda reaches `lambda_min` in time with that, and also if it never
    does: with `lambda_min` 0, which is a limit, or `power` 0.

    Args:
        total_steps: Int >= 1. Steps of the run.
        base, power, lambda_min: Of lambda = max(lambda_min, base (1 + gamma step)^-power).
        margin_warmup_steps: Int >= 0. Steps before the annealing begins.

    Example:
        >>> scaled_gamma(28_000), round(scaled_gamma(300), 2)
        (0.12, 1.17)
    """
    if lambda_min <= 0 or power <= 0 or base <= lambda_min:
        return PAPER_GAMMA
    # The last whole step by then, and not a fraction before it: lambda is rounded to float32.
    steps = max(1, int(ANNEALED_SHARE * max(0, total_steps - margin_warmup_steps)))
    return max(PAPER_GAMMA, ((base / lambda_min) ** (1.0 / power) - 1.0) / steps * (1 + 1e-6))


def scaled_settings(config: TrainConfig, total_steps: int, num_identities: int) -> dict[str, Any]:
    """Return {name: value by the rule} of the settings that are None in `config`.

    A head without annealing has no gamma.

    Args:
        config: Settings of a run.
        total_steps: Int >= 1. Steps of the run, which also follow from `config.epochs`.
        num_identities: Int >= 1. Identities that it is trained on.

    Example:
        >>> config = TrainConfig(batch_size=512, learning_rate=0.05)
        >>> scaled_settings(config, total_steps=28_000, num_identities=10_572)
        {'lr_warmup_steps': 0, 'clipnorm': 0.0, 'gamma': 0.12}
    """
    large = is_as_large_as_the_paper(config.batch_size, total_steps, num_identities)
    warmup_steps = min(MAX_WARMUP_STEPS, round(WARMUP_SHARE * total_steps))
    values = {
        "learning_rate": LEARNING_RATES[config.optimizer],
        "lr_warmup_steps": 0 if large else warmup_steps,
        "clipnorm": 0.0 if large else CLIPNORM,
    }
    if "gamma" in HEADS[config.head].settings:
        values["gamma"] = scaled_gamma(
            total_steps, config.base, config.power, config.lambda_min, config.margin_warmup_steps
        )
    return {name: value for name, value in values.items() if getattr(config, name) is None}


def with_scaled_settings(config: TrainConfig, total_steps: int, num_identities: int) -> TrainConfig:
    """Return `config` with values by the rule in place of None; see `scaled_settings`.

    Example:
        >>> with_scaled_settings(TrainConfig(batch_size=32), 100, num_identities=60).clipnorm
        1.0
    """
    return dataclasses.replace(config, **scaled_settings(config, total_steps, num_identities))
