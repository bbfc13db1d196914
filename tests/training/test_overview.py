"""The overview of a run: hand-computed bytes and steps, and the time that is left."""

import dataclasses
import datetime

import pytest

from keras_sphereface.functional.annealing import Annealing
from keras_sphereface.training import overview
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.solver import Solver

RUN = overview.RunOverview(
    devices=("/job:worker/task:0/device:GPU:0", "/job:worker/task:1/device:GPU:0"),
    num_workers=2,
    batch_size=256,
    num_images=490_000,
    num_identities=10_572,
    total_steps=28_000,
    start_step=0,
    network="sphereface20",
    network_parameters=22_666_944,
    head="asoftmax",
    head_parameters=5_412_864,
    head_parameters_per_device=5_412_864,
    slots=1,
    annealing=Annealing(),
)


def lines(**changes):
    """{name: value} of the description; names of details keep their indent."""
    text = overview.describe(dataclasses.replace(RUN, **changes))
    return {line[:15].rstrip(): line[15:] for line in text.splitlines()}


def test_the_description_holds_the_run():
    described = lines()
    assert described["devices"] == "2 x GPU (2 workers)"
    assert described["batch"] == "256 images a step, 128 a device"
    assert described["data"] == "490,000 images of 10,572 identities"
    assert described["steps"] == "28,000; 1,914 an epoch, 14.6 epochs"
    assert described["network"] == "sphereface20, 22,666,944 weights"
    assert described["head"] == "asoftmax, 5,412,864 weights"
    assert described["lambda"] == "893 at step 1, 5 at step 28,000"
    assert described["  lambda_min"] == "5, reached at step 1,659"
    assert described["memory"] == "337 MB on each device, without activations"
    assert described["  of which"] == "weights 112 MB, gradients 112 MB, optimizer 112 MB"
    assert max(map(len, overview.describe(RUN).splitlines())) <= 100


def test_the_gallery_network_counts_among_the_weights():
    described = lines(gallery_bytes=100_000_000)
    assert described["  of which"] == "weights 212 MB, gradients 112 MB, optimizer 112 MB"


def test_a_queue_of_prototypes_is_described_in_place_of_class_weights():
    described = lines(head="cosface", head_parameters=1, num_prototypes=16_384)
    assert described["head"] == "cosface, no class weights; a queue of 16,384 prototypes"


def test_settings_that_the_size_of_the_run_has_decided_are_marked_with_their_flag():
    solver = Solver("sgd", LearningRate(0.1, 28_000, lr_warmup_steps=1000), clipnorm=1.0)
    described = lines(solver=solver, chosen=("lr_warmup_steps", "gamma"))
    assert described["optimizer"] == "sgd"
    assert described["learning rate"] == "0.1; a tenth of it after steps 16,000 and 24,000 each"
    assert described["  warm-up"] == "1,000 steps (chosen; --lr-warmup-steps)"
    assert described["  clipping"] == "gradients of norm above 1"
    assert described["  gamma"] == "0.12 (chosen; --gamma)"


def test_neither_warm_up_nor_clipping_nor_drops_are_told_of_where_there_are_none():
    described = lines(solver=Solver("adam", LearningRate(0.001, 100, "constant")))
    assert described["learning rate"] == "0.001"
    assert (described["  warm-up"], described["  clipping"]) == ("none", "none")


@pytest.mark.parametrize(
    ("annealing", "total_steps", "words"),
    [
        (Annealing(), 300, ["lambda is 27 at step 300", "--gamma 1.164 instead of 0.12"]),
        (Annealing(margin_warmup_steps=300), 300, ["lambda is inf", "--margin-warmup-steps"]),
        (Annealing(), 1_659, []),
        (Annealing(lambda_min=0.0), 300, []),  # a limit, never reached
        (None, 300, []),
    ],
)
def test_an_annealing_that_cannot_end_is_reported_with_the_flag_to_set(
    annealing, total_steps, words
):
    run = dataclasses.replace(RUN, annealing=annealing, total_steps=total_steps)
    advice = overview.annealing_advice(run)
    assert bool(advice) == bool(words)
    assert all(word in advice for word in words)
    assert "than 0" not in advice  # no warm-up is shorter than none


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({}, (4_000, 4_000, 4_000)),
        ({"slots": 2}, (4_000, 4_000, 8_000)),
        ({"averaged": True}, (4_000, 4_000, 4_000 + 3_600)),
        ({"precision": "mixed_bfloat16"}, (4_000, 4_000, 4_000)),
        ({"precision": "float64"}, (8_000, 8_000, 8_000)),
        ({"head_parameters_per_device": 50}, (3_800, 3_800, 3_800)),
    ],
)
def test_the_memory_is_that_of_weights_gradients_and_slots_on_one_device(changes, memory):
    shared = {"head_parameters": 100, "head_parameters_per_device": 100}
    run = dataclasses.replace(RUN, network_parameters=900, **{**shared, **changes})
    assert run.memory == memory


def test_the_description_of_other_runs():
    described = lines(devices=("/device:CPU:0",), num_workers=1, annealing=None)
    assert described["devices"] == "1 x CPU"
    assert described["batch"] == "256 images a step"
    assert described["lambda"] == "none"
    assert "  lambda_min" not in described
    described = lines(head_parameters_per_device=2_706_432, start_step=1_000)
    assert described["head"] == "asoftmax, 5,412,864 weights, 2,706,432 on each device"
    assert described["steps"].startswith("28,000, 1,000 taken already; ")
    assert described["lambda"] == "8.26 at step 1,001, 5 at step 28,000"


def test_the_description_of_a_margin_warm_up_and_of_a_margin_that_never_applies():
    warm = Annealing(margin_warmup_steps=100)
    described = lines(annealing=warm, total_steps=1_000)
    # 1000 / (1 + 0.12 * 900) = 9.174
    assert described["lambda"] == (
        "infinite (no margin) to step 100, 893 at step 101, 9.17 at step 1,000"
    )
    assert described["  lambda_min"] == "5, never reached: the margin never applies in full"
    assert lines(annealing=warm)["  lambda_min"] == "5, reached at step 1,759"
    only = lines(annealing=warm, total_steps=50)
    assert only["lambda"] == "infinite (no margin) to step 50"


@pytest.mark.parametrize(
    "annealing",
    [
        Annealing(),
        Annealing(margin_warmup_steps=7),
        Annealing(base=30.0, gamma=0.5, power=2.0, lambda_min=0.3),
        Annealing(base=0.0, lambda_min=0.0),
        Annealing(base=1.0, lambda_min=2.0),
    ],
)
def test_the_first_step_at_the_minimum_is_that_of_the_formula(annealing):
    base, gamma, power, lowest, margin_warmup_steps = annealing
    reached = overview.first_step_at_minimum(annealing, 5_000)
    by_hand = next(n for n in range(1, 5_000) if base * (1 + gamma * n) ** -power <= lowest)
    assert reached == by_hand + margin_warmup_steps
    assert overview.first_step_at_minimum(annealing, reached) == reached
    assert overview.first_step_at_minimum(annealing, reached - 1) is None


def test_the_remaining_time():
    now = datetime.datetime(2024, 5, 6, 22, 0).timestamp()
    sentence = overview.remaining_time(50, 1_920, 300.0, batch_size=256, now=now)
    # 6 s a step: 11,520 s.
    assert sentence == "42.7 images per second: about 3 h 12 min left, until 2024-05-07 01:12"


@pytest.mark.parametrize(
    ("changes", "is_long"),
    [
        ({}, False),  # two GPUs
        ({"devices": ("/device:CPU:0",)}, True),
        ({"devices": ("/device:CPU:0",), "total_steps": 1000}, False),
        ({"devices": ("/device:CPU:0",), "start_step": 27_000}, False),
    ],
)
def test_a_long_run_without_a_gpu_is_told_how_to_be_short(changes, is_long):
    advice = overview.device_advice(dataclasses.replace(RUN, **changes))
    assert bool(advice) == is_long
    if is_long:
        assert advice.startswith("No GPU is used, and 7,168,000 images take days or weeks")
