"""What a run says of itself: hand-computed bytes and steps, and memory against measurement."""

import datetime
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.config import TrainConfig
from keras_sphereface.distribute import strategy
from keras_sphereface.functional.annealing import Annealing
from keras_sphereface.models.sphereface import sphereface4
from keras_sphereface.training import overview, trainer
from keras_sphereface.utils.environment import held_memory

MB = 1_000_000
FACTS = overview.RunFacts(
    devices=("/job:worker/task:0/device:GPU:0", "/job:worker/task:1/device:GPU:0"),
    num_workers=2,
    batch_size=256,
    num_images=490_000,
    num_classes=10_572,
    total_steps=28_000,
    start_step=0,
    network="sphereface20",
    network_parameters=22_666_944,
    network_memory=overview.Memory(90 * MB, 180 * MB, 90 * MB, 2_300 * MB),
    head="asoftmax",
    head_parameters=5_412_864,
    head_memory=overview.Memory(22 * MB, 44 * MB, 22 * MB, 49 * MB),
    annealing=Annealing(),
)


def lines(facts):
    """{name: value} of the description; those of a part keep their indent."""
    return {line[:15].rstrip(): line[15:] for line in overview.describe(facts).splitlines()}


def small_network(*layers):
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Flatten()])


def test_the_backward_pass_keeps_what_it_needs():
    """Of 5 images: a convolution its input, a PReLU both of its halves; a sum nothing."""
    network = small_network(
        keras.layers.ZeroPadding2D(1),  # (10, 10, 3)
        keras.layers.Conv2D(4, 3),  # (8, 8, 4)
        keras.layers.PReLU(shared_axes=[1, 2]),
        keras.layers.Conv2D(2, 8),  # (1, 1, 2)
    )
    kept = sorted(overview.kept_for_backward(network, (5, 8, 8, 3)), reverse=True)
    halves_and_sum = [4 * 5 * 8 * 8 * 4] * 3
    assert kept[:4] == [4 * 5 * 10 * 10 * 3, *halves_and_sum]
    assert sum(kept[4:]) < 100  # slopes and sizes


def test_a_tensor_under_two_names_counts_once():
    """Both the activation and, behind Flatten, the dense layer want it."""
    network = small_network(keras.layers.Conv2D(4, 3, activation="relu"))
    network.add(keras.layers.Dense(2))
    assert overview.kept_for_backward(network, (5, 8, 8, 3)).count(4 * 5 * 6 * 6 * 4) == 1


def test_the_memory_of_a_network_counts_weights_gradients_slots_and_activations():
    network = small_network(keras.layers.Conv2D(4, 3), keras.layers.Conv2D(2, 6, use_bias=False))
    first, second = 4 * (3 * 3 * 3 * 4 + 4), 4 * (6 * 6 * 4 * 2)
    memory = overview.memory_of_network(network, batch_size=5, slots=2)
    weights = first + second
    assert memory[:3] == (weights, 2 * weights + second, 2 * weights)
    kept = [4 * 5 * 8 * 8 * 3, 4 * 5 * 6 * 6 * 4]  # the inputs of the convolutions
    assert memory.activations == pytest.approx(sum(kept) + 3 * max(kept), abs=100)
    assert memory.total == sum(memory)


def test_layers_in_models_in_models_count():
    inner = small_network(keras.layers.Conv2D(4, 3, activation="relu"))
    image = keras.Input((8, 8, 3))
    nested = keras.Model(image, inner(image))
    plain = overview.kept_for_backward(inner, (5, 8, 8, 3))
    assert sum(overview.kept_for_backward(nested, (5, 8, 8, 3))) == pytest.approx(
        sum(plain), abs=100
    )
    assert 4 * 5 * 6 * 6 * 4 in plain  # behind the activation


def test_a_network_for_images_of_any_size_is_told_the_size():
    open_size, fixed = (
        keras.Sequential([keras.Input(shape), keras.layers.Conv2D(4, 3)])
        for shape in ((None, None, 3), (8, 8, 3))
    )
    told = overview.memory_of_network(open_size, 5, 1, input_shape=(8, 8, 3))
    assert told == overview.memory_of_network(fixed, 5, 1)


def test_half_precision_halves_the_activations():
    def kept():
        network = sphereface4(input_shape=(32, 32, 3), embedding_size=8, width=0.25)
        return sum(overview.kept_for_backward(network, (64, 32, 32, 3)))

    full = kept()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert 0.5 < kept() / full < 0.6  # the weights are kept in both precisions
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_looking_at_the_memory_changes_nothing():
    network = small_network(
        keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)
    )
    before = network.get_weights()
    overview.memory_of_network(network, 4, 1)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_memory_of_a_head_is_that_of_one_block_of_logits():
    memory = overview.memory_of_head(1_000, 16, 32, slots=1, block_size=100)
    kernel = 4 * 16 * 1_000
    assert memory[:3] == (kernel, 2 * kernel + kernel // 10, kernel)
    assert memory.activations == 3 * (4 * 32 * 100) + kernel // 10


def grown_by_training(name: str, batch_size: int, num_classes: int) -> tuple[int, int]:
    """The bytes by which this process grows in training, at its peak, and the estimate."""

    def prepare(width, batch_size, image_size, num_classes):
        config = TrainConfig(backbone=name, width=width, batch_size=batch_size)
        info = Info(image_size, num_classes)
        trained = trainer.make_trainer(config, info, 100, strategy.make_strategy())
        batch = tf.zeros((batch_size, *image_size, 3), tf.uint8), tf.zeros((batch_size,), tf.int32)
        iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
        return trained, lambda step=trainer.make_step(trained, config): step(iterator)

    # A small step first: the libraries take their own memory with it.
    _, step = prepare(0.02, 2, (16, 16), 10)
    step()
    gc.collect()
    before, _ = held_memory()
    trained, step = prepare(1.0, batch_size, (112, 96), num_classes)
    for _ in range(3):
        step()
    grown = held_memory()[1] - before
    network = overview.memory_of_network(trained.backbone, batch_size, slots=1)
    head = overview.memory_of_head(num_classes, 512, batch_size, 1, trained.head.block_sizes()[0])
    return grown, network.total + head.total


class Info:
    """What a trainer asks a data set for."""

    def __init__(self, image_size, num_classes):
        self.image_size, self.num_identities = image_size, num_classes


@pytest.mark.slow
def test_the_estimate_of_the_memory_is_near_that_of_a_training_step():
    grown, estimated = in_new_process(grown_by_training, "sphereface10", 32, 10_572)
    assert grown / 1.5 < estimated < grown * 1.5


def test_the_description_says_the_facts():
    said = lines(FACTS)
    assert said["devices"] == "2 x GPU (2 workers)"
    assert said["batch"] == "256 a step, 128 a device"
    assert said["images"] == "490,000 of 10,572 people"
    assert said["steps"] == "28,000; 1,914 an epoch, 14.6 epochs"
    assert said["network"] == "sphereface20, 22,666,944 weights"
    assert said["head"] == "asoftmax, 5,412,864 weights"
    assert said["lambda"] == "893 at step 1, 5 at step 28,000"
    assert said["  lambda_min"] == "5, reached at step 1,659"
    assert said["memory"] == "about 2.8 GB on each device:"
    assert said["  network"] == (
        "360 MB for weights, gradients and optimizer, 2.3 GB for the images of a step"
    )
    assert said["  head"].startswith("88 MB for weights")
    assert max(map(len, overview.describe(FACTS).splitlines())) <= 100


def test_the_description_of_other_runs():
    said = lines(FACTS._replace(devices=("/device:CPU:0",), num_workers=1, annealing=None))
    assert said["devices"] == "1 x CPU"
    assert said["batch"] == "256 a step"
    assert said["lambda"] == "none"
    assert "  lambda_min" not in said
    said = lines(FACTS._replace(split=True, start_step=1_000))
    assert said["head"] == "asoftmax, 5,412,864 weights, 5,286 classes on each device"
    assert said["steps"].startswith("28,000, 1,000 taken already; ")
    assert said["lambda"] == "8.26 at step 1,001, 5 at step 28,000"


def test_the_description_of_a_warm_start_and_of_a_margin_that_never_comes():
    warm = Annealing(margin_warmup_steps=100)
    said = lines(FACTS._replace(annealing=warm, total_steps=1_000))
    # 1000 / (1 + 0.12 * 900) = 9.174
    assert said["lambda"] == (
        "infinite (no margin) to step 100, 893 at step 101, 9.17 at step 1,000"
    )
    assert said["  lambda_min"] == "5, never reached: the margin does not come in full"
    assert lines(FACTS._replace(annealing=warm))["  lambda_min"] == "5, reached at step 1,759"
    only = lines(FACTS._replace(annealing=warm, total_steps=50))
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


def test_the_estimate_of_the_time():
    now = datetime.datetime(2024, 5, 6, 22, 0).timestamp()
    said = overview.estimate(50, 1_920, 300.0, batch_size=256, now=now)
    # 6 s a step: 11,520 s.
    assert said == "42.7 images a second: about 3 h 12 min left, until 2024-05-07 01:12"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3_569, "59 min"),
        (3_599, "1 h 0 min"),
        (86_399, "1 d 0 h"),
        (100 * 3_600, "4 d 4 h"),
    ],
)
def test_time_in_words(seconds, words):
    assert overview.in_words(seconds) == words
