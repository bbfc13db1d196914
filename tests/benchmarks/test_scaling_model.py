"""The model of step time and memory: exact counts, limits, and published throughput."""

import dataclasses

import pytest

from keras_sphereface.benchmarks.scaling_model import (
    HeadPlan,
    NetworkSize,
    StepTime,
    all_reduce_seconds,
    head_work,
    memory_of_head,
    predict_step,
)
from keras_sphereface.config.choices import OPTIMIZER_SLOTS
from keras_sphereface.config.hardware import HARDWARE, Hardware
from keras_sphereface.heads import ASoftmax
from keras_sphereface.heads.sharded import ShardedHead

SPHEREFACE20 = NetworkSize(3_499_474_944, 22_666_944)
FREE_LINKS = Hardware(1e12, 1e12, 1e11, 1e30, 1e30, latency=0.0)
A100 = HARDWARE["a100-tf32"]


def test_one_device_exchanges_nothing():
    for plan in (HeadPlan(1000), HeadPlan(1000, sharded=True)):
        step = predict_step(A100, SPHEREFACE20, plan, 64)
        assert step.communication == 0.0
        assert step.total == pytest.approx(step.network + step.head)


def test_without_links_the_time_of_n_devices_is_that_of_their_share():
    none = HeadPlan(1, embedding_size=1)
    one = predict_step(FREE_LINKS, SPHEREFACE20, none, 64)
    eight = predict_step(FREE_LINKS, SPHEREFACE20, none, 512, devices=8)
    assert eight.total == pytest.approx(one.total)
    # 3 x 3.5 GFLOP x 64 at 10^12 a second, and 15 passes over 91 MB at 10^11 bytes a second.
    update = 15 * 4 * 22_666_944 / 1e11
    assert one.network == pytest.approx(3 * 3_499_474_944 * 64 / 1e12 + update)


def test_parts_of_one_processor_together_are_as_fast_as_it():
    shared = dataclasses.replace(FREE_LINKS, shared=True)
    no_update = NetworkSize(SPHEREFACE20.flops, 0)
    steps = [predict_step(shared, no_update, HeadPlan(2), 64, n).network for n in (1, 2, 4)]
    assert steps == pytest.approx([steps[0]] * 3)


def test_products_of_the_head_are_three_or_four_in_blocks():
    assert head_work(HeadPlan(1000), 256)[0] == 3 * 2 * 256 * 512 * 1000
    assert head_work(HeadPlan(1000, block_size=100), 256)[0] == 4 * 2 * 256 * 512 * 1000


def test_shards_split_classes_and_copies_split_samples():
    whole = head_work(HeadPlan(8000), 256)[0]
    assert head_work(HeadPlan(8000), 256, devices=8)[0] == whole / 8
    assert head_work(HeadPlan(8000, sharded=True), 256, devices=8)[0] == whole / 8
    # But a copy has all class weights to update.
    assert HeadPlan(8000).classes_held(8) == 8000
    assert HeadPlan(8000, sharded=True).classes_held(8) == 1000
    assert HeadPlan(8001, sharded=True).classes_held(8) == 1001


def test_a_sample_of_the_classes_holds_those_of_the_batch():
    plan = HeadPlan(1000, sample_rate=0.1)
    assert plan.classes_compared(32, devices=1) == 100
    assert plan.classes_compared(256, devices=1) == 257
    assert plan.classes_compared(5000, devices=1) == 1000
    # Of each of the ten blocks.
    in_blocks = dataclasses.replace(plan, block_size=100)
    assert in_blocks.classes_compared(32, devices=1) == 10 * 33


def test_an_all_reduce_moves_twice_the_bytes_less_the_own_share():
    links = dataclasses.replace(FREE_LINKS, link_bytes=1e9, machine_link_bytes=1e8)
    assert all_reduce_seconds(links, 1e9, devices=1) == 0.0
    assert all_reduce_seconds(links, 1e9, devices=2) == pytest.approx(1.0)
    assert all_reduce_seconds(links, 1e9, devices=8) == pytest.approx(1.75)
    # Over two machines the slower link counts.
    assert all_reduce_seconds(links, 1e9, devices=16) == pytest.approx(18.75)
    late = dataclasses.replace(links, latency=1e-3)
    more = all_reduce_seconds(late, 0, devices=8, collectives=5)
    assert more == pytest.approx(5 * 3 * 1e-3)


def test_gradients_of_sharded_classes_stay_where_they_are():
    network = NetworkSize(0, 1_000_000)
    hardware = dataclasses.replace(FREE_LINKS, link_bytes=1e9)
    whole = predict_step(hardware, network, HeadPlan(100_000), 64, devices=8)
    sharded = predict_step(hardware, network, HeadPlan(100_000, sharded=True), 64, devices=8)
    assert whole.gradients == pytest.approx(1.75 * 4 * (1_000_000 + 512 * 100_000) / 1e9)
    assert sharded.gradients == pytest.approx(1.75 * 4 * 1_000_000 / 1e9)
    # All-gather of 64 embeddings, and all-reduce of their gradient.
    assert sharded.shards == pytest.approx((0.875 + 1.75) * 4 * 64 * 512 / 1e9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_bytes_of_weights_and_slots_are_those_of_the_variables(optimizer):
    slots = OPTIMIZER_SLOTS[optimizer]
    plan = HeadPlan(101, embedding_size=16, sharded=True, slots=slots)
    memory = memory_of_head(plan, batch_size=4)
    head = ShardedHead(ASoftmax(101), embedding_size=16, num_slots=slots)
    assert memory.weights + memory.slots == head.num_bytes
    assert memory.gradient == 4 * 16 * 101


def test_bytes_of_an_unsharded_head_are_those_of_its_weights():
    head = ASoftmax(103, block_size=25)
    head.build((None, 16))
    kernels = sum(4 * kernel.shape[0] * kernel.shape[1] for kernel in head.kernels)
    plan = HeadPlan(103, embedding_size=16, block_size=25)
    assert memory_of_head(plan, batch_size=4).weights == kernels
    assert plan.num_blocks(1) == len(head.kernels)


def test_memory_of_logits_is_that_of_a_block():
    assert memory_of_head(HeadPlan(1000), 64).logits == 3 * 4 * 64 * 1000
    assert memory_of_head(HeadPlan(1000, block_size=100), 64).logits == 3 * 4 * 64 * 100
    projected = HeadPlan(1000, block_size=100, projected=True)
    assert memory_of_head(projected, 64).logits == 2 * 4 * 64 * 100
    sampled = memory_of_head(HeadPlan(1000, sample_rate=0.2), 64)
    assert sampled.logits == 3 * 4 * 64 * 200
    assert sampled.sampled == 2 * 4 * 512 * 200


def test_an_update_needs_two_arrays_of_a_block():
    assert memory_of_head(HeadPlan(1000), 64).temporary == 2 * 4 * 512 * 1000
    assert memory_of_head(HeadPlan(1000, block_size=100), 64).temporary == 2 * 4 * 512 * 100


def test_the_parts_of_a_step_add_up():
    step = StepTime(1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    assert (step.total, step.communication) == (63.0, 28.0)


@pytest.mark.parametrize(
    ("batch_size", "devices", "message"),
    [
        (0, 1, "Received: batch_size=0"),
        (4, 0, "Received: devices=0"),
        (4, 8, "one sample for each device. Received: batch_size=4"),
    ],
)
def test_work_that_does_not_exist_is_refused(batch_size, devices, message):
    with pytest.raises(ValueError, match=message):
        predict_step(A100, SPHEREFACE20, HeadPlan(10), batch_size, devices)


# An et al. and the README of InsightFace's arcface_torch: ResNet-50 for faces of 112 x 112 pixels
# (6.3 GMAC, 43.6 million weights), 8 V100, 1,024 images a step, mixed precision; images/s.
RESNET50 = NetworkSize(12.6e9, 43_600_000)
PUBLISHED = {
    ("model parallel", 125_000): 4824,
    ("model parallel", 1_400_000): 3043,
    ("model parallel", 5_500_000): 1389,
    ("Partial FC", 125_000): 5004,
    ("Partial FC", 1_400_000): 4738,
    ("Partial FC", 5_500_000): 3975,
    ("Partial FC", 8_000_000): 3565,
    ("Partial FC", 16_000_000): 2679,
    ("Partial FC", 29_000_000): 1855,
}


@pytest.mark.parametrize(("head", "num_classes"), PUBLISHED)
def test_published_throughput_is_predicted_within_a_third(head, num_classes):
    rate = 0.1 if head == "Partial FC" else 1.0
    plan = HeadPlan(num_classes, sharded=True, sample_rate=rate)
    step = predict_step(HARDWARE["v100-fp16"], RESNET50, plan, 1024, devices=8)
    assert 0.95 < 1024 / step.total / PUBLISHED[head, num_classes] < 1.33


# The same README, WebFace42M with 2 million identities, a fifth of them sampled: (images on each
# GPU, GPUs, images/s). It does not name the GPUs.
RESNET100 = NetworkSize(24.2e9, 65_200_000)
SEVERAL_MACHINES = [
    (RESNET50, 512, 8, 5900),
    (RESNET50, 512, 16, 11_000),
    (RESNET50, 128, 32, 17_000),
    (RESNET100, 128, 16, 5200),
    (RESNET100, 256, 16, 5200),
    (RESNET100, 128, 32, 9800),
]


@pytest.mark.parametrize(("network", "batch", "devices", "published"), SEVERAL_MACHINES)
def test_published_throughput_of_several_machines_is_predicted(network, batch, devices, published):
    plan = HeadPlan(2_059_906, sharded=True, sample_rate=0.2)
    step = predict_step(HARDWARE["v100-fp16"], network, plan, batch * devices, devices)
    assert batch * devices / step.total / published == pytest.approx(1, abs=0.11)
