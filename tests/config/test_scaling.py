"""The rule of learning rate, warm-up, clipping and annealing by the size of a run."""

import dataclasses

import pytest

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.scaling import scaled_gamma, scaled_settings, with_scaled_settings

PAPER = {"total_steps": 28_000, "num_identities": 10_572}


def first_step_at(lambda_min, gamma, base=1000.0, power=1.0, warmup=0):
    """The first step of the annealing with lambda at its minimum, step by step."""
    step = warmup + 1
    while base * (1 + gamma * (step - warmup)) ** -power > lambda_min:
        step += 1
    return step


def test_the_papers_values_come_out_at_the_papers_size():
    config = with_scaled_settings(TrainConfig(batch_size=512), **PAPER)
    assert (config.learning_rate, config.lr_warmup_steps, config.clipnorm) == (0.1, 0, 0.0)
    assert (config.base, config.gamma, config.power, config.lambda_min) == (1000.0, 0.12, 1.0, 5.0)


@pytest.mark.parametrize(
    "smaller", [{"batch_size": 256}, {"total_steps": 27_999}, {"num_identities": 10_571}]
)
def test_runs_that_are_smaller_in_one_respect_are_clipped_and_warmed_up(smaller):
    size = {"batch_size": 512, **PAPER, **smaller}
    values = scaled_settings(TrainConfig(batch_size=size.pop("batch_size")), **size)
    assert values["clipnorm"] == 1.0
    assert values["lr_warmup_steps"] == 1000


@pytest.mark.parametrize("steps", [7, 120, 300, 2_000, 28_000])
@pytest.mark.parametrize(
    "decay", [{}, {"lambda_min": 1.0}, {"power": 2.0}, {"base": 50.0}, {"margin_warmup_steps": 3}]
)
def test_lambda_is_at_its_minimum_when_the_rate_first_drops(steps, decay):
    gamma = scaled_gamma(steps, **decay)
    warmup = decay.get("margin_warmup_steps", 0)
    lowest = decay.get("lambda_min", 5.0)
    reached = first_step_at(
        lowest, gamma, decay.get("base", 1000.0), decay.get("power", 1.0), warmup
    )
    assert reached <= warmup + (steps - warmup) * 4 / 7
    # And no earlier than it must, unless the gamma of the paper is enough.
    assert gamma == 0.12 or reached > warmup + (steps - warmup) * 4 / 7 - 1


def test_longer_runs_never_anneal_in_fewer_steps():
    reached = [first_step_at(5.0, scaled_gamma(steps)) for steps in range(10, 4_000, 70)]
    assert reached == sorted(reached)
    assert reached[-1] == 1659


@pytest.mark.parametrize("decay", [{"lambda_min": 0.0}, {"power": 0.0}, {"base": 5.0}])
def test_an_annealing_without_an_end_keeps_the_papers_gamma(decay):
    assert scaled_gamma(100, **decay) == 0.12


def test_what_the_user_sets_stays_and_zero_counts_as_set():
    settings = {"learning_rate": 0.0, "lr_warmup_steps": 0, "clipnorm": 0.0, "gamma": 0.0}
    config = TrainConfig(**settings)
    assert with_scaled_settings(config, 100, 10) == config
    assert set(scaled_settings(TrainConfig(), 100, 10)) == set(settings)


def test_adam_has_its_own_rate_and_heads_without_annealing_no_gamma():
    values = scaled_settings(TrainConfig(optimizer="adam", head="cosface"), 100, 10)
    assert values["learning_rate"] == 0.001
    assert "gamma" not in values


def test_the_result_depends_on_the_size_of_the_run_alone():
    config = dataclasses.replace(TrainConfig(), batch_size=64)
    once = with_scaled_settings(config, 300, 60)
    assert with_scaled_settings(once, 9_000, 10_575) == once
