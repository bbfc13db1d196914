"""The runs of a comparison: their order and their settings."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.experiments import LOSSES
from keras_sphereface.experiments.compare_losses.plan import (
    Run,
    describe_budget,
    describe_loss,
    training_config,
)
from keras_sphereface.functional.annealing import Annealing, annealing_lambda
from keras_sphereface.training.build_head import head_of
from tests.experiments.compare_losses.settings import SMALL, plan


def test_every_head_is_among_the_losses_and_asoftmax_at_four_margins():
    assert set(LOSSES.values()) == set(HEADS)
    names = [loss for loss, head in LOSSES.items() if head == "asoftmax"]
    assert names == ["modified-softmax", "asoftmax-2", "asoftmax-3", "asoftmax-4"]
    assert len(LOSSES) == len(HEADS) + 3


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_differ_only_in_their_settings(records_folder, loss):
    flags = ("--total-steps", "90", "--shift", "2")
    config = training_config(loss, str(records_folder), "w", 3, flags)
    softmax = training_config("softmax", str(records_folder), "w", 3, flags)
    allowed = {"head", "m", "scale", "term_weight", "base", "gamma", "power", "lambda_min"}
    differing = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(softmax, field.name)
    }
    assert differing <= allowed
    assert (config.total_steps, config.shift, config.seed, config.log_steps) == (90, 2.0, 3, 9)
    head_of(config, 10)  # it refuses settings that the head does not have


def test_lambda_has_fallen_after_two_thirds_of_the_steps(records_folder):
    config = training_config("asoftmax-4", str(records_folder), "w", 0, ("--total-steps", "900"))
    annealing = Annealing(*(getattr(config, name) for name in Annealing._fields))
    assert float(annealing_lambda(590, annealing)) > config.lambda_min
    np.testing.assert_allclose(
        float(annealing_lambda(600, annealing)), config.lambda_min, rtol=1e-5
    )
    flagged = training_config("asoftmax-4", str(records_folder), "w", 0, ("--gamma", "0.5"))
    assert (flagged.gamma, flagged.lambda_min) == (0.5, TrainConfig().lambda_min)


@pytest.mark.parametrize(
    "flag", ["--head cosface", "--head asoftmax", "--m 3", "--seed 0", "--scale=20"]
)
def test_settings_that_differ_between_runs_are_no_flags(records_folder, flag):
    with pytest.raises(ValueError, match="Received: " + flag.replace("=", " ").split()[0][2:]):
        training_config("softmax", str(records_folder), "w", 0, tuple(flag.split()))


def test_in_each_seed_all_losses_run_in_another_order(faces, records_folder, tmp_path):
    runs = plan(faces, records_folder, tmp_path, seeds=(5, 6, 7))
    orders = [[run.loss for run in runs if run.seed == seed] for seed in (5, 6, 7)]
    assert [run.seed for run in runs] == np.repeat([5, 6, 7], len(LOSSES)).tolist()
    assert all(sorted(order) == sorted(LOSSES) for order in orders)
    assert orders[0] != orders[1]
    assert len({run.folder for run in runs}) == len(runs)


def test_a_run_is_read_as_it_was_written(faces, records_folder, tmp_path):
    for run in plan(faces, records_folder, tmp_path, folds=(1, 2)):
        assert Run.from_json(run.to_json()) == run


def test_budget_and_settings_of_losses_are_described(faces, records_folder, tmp_path):
    runs = plan(faces, records_folder, tmp_path, flags=(*SMALL, "--shift", "2"))
    settings = {run.loss: describe_loss(run.training) for run in runs}
    assert settings["softmax"] == ""
    assert settings["triplet"] == "4 images of each identity in a batch"
    assert settings["cosface"] == "scale 16"
    assert settings["asoftmax-2"] == "m 2, gamma 49.75"
    assert "30 images of 5 identities" in describe_budget(runs[0])
    assert "6 steps of 8 images" in describe_budget(runs[0])
    assert "shift 2.0. Verification of identities that were not" in describe_budget(runs[0])
    without_names = EvaluateConfig(out="x", bin=("pairs.bin",))
    text = describe_budget(dataclasses.replace(runs[0], evaluation=without_names))
    assert text.endswith("is unknown: a .bin has none.")
