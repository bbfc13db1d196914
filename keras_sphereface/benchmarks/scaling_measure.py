"""What the model of the step time is fitted on and checked against, measured on this machine.

Every measurement runs in processes of its own.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.benchmarks.interleaved import interleaved_seconds, seconds_of
from keras_sphereface.benchmarks.processes import ProcessCase, Program, in_new_process
from keras_sphereface.benchmarks.scaling_model import HeadPlan, NetworkSize
from keras_sphereface.benchmarks.scaling_report import default_block_size
from keras_sphereface.benchmarks.training import clusters, memory_of_classes, use_devices
from keras_sphereface.config import TrainConfig
from keras_sphereface.data import records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.models.flops import forward_flops
from keras_sphereface.training.backbones import backbone_by_name
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.solver import sgd_update, solver_gradient
from keras_sphereface.training.training_call import call_of_step
from keras_sphereface.utils.progress import progress_bar

IMAGE_SIZE = (112, 96)
MESSAGE_BYTES = (2**20, 2**22, 2**24, 2**25)  # up to a pack of gradients
LEARNING_RATE, WEIGHT_DECAY, MOMENTUM = 0.001, 5e-4, 0.9
# Settings of a training, number of classes, number of workers.
Case = tuple[TrainConfig, int, int]


def network_size(backbone: str, width: float, embedding_size: int) -> NetworkSize:
    """Return the operations and weights of a network for faces of 112 x 96 pixels.

    Example:
        >>> network_size("sphereface4", 1.0, 512).parameters
        12562496
    """
    network = _network(backbone, width, embedding_size)
    weights = network.trainable_weights
    return NetworkSize(forward_flops(network), sum(int(np.prod(w.shape)) for w in weights))


def _network(backbone: str, width: float, embedding_size: int) -> keras.Model:
    return backbone_by_name(backbone, width)(
        input_shape=(*IMAGE_SIZE, 3), embedding_size=embedding_size, seed=0
    )


def time_network(
    backbone: str,
    width: float,
    embedding_size: int,
    batch_sizes: Sequence[int],
    rounds: int,
    seed: int,
) -> pd.DataFrame:
    """Return the seconds of forward and backward pass, (rounds, batch sizes)."""
    network = _network(backbone, width, embedding_size)
    call, weights = call_of_step(network), network.trainable_variables
    rng = np.random.default_rng(seed)

    @tf.function(reduce_retracing=False)
    def step(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(call(images)))
        return tape.gradient(loss, weights)

    def run(images: tf.Tensor) -> None:
        step(images)
        tf.test.experimental.sync_devices()

    shape = (*IMAGE_SIZE, 3)
    images = {b: tf.constant(rng.uniform(-1, 1, (b, *shape)), tf.float32) for b in batch_sizes}
    cases = {str(b): functools.partial(seconds_of, run, batch) for b, batch in images.items()}
    return interleaved_seconds(cases, rounds, seed, description="network")


def head_plans(num_classes: Sequence[int], embedding_size: int) -> list[tuple[HeadPlan, int]]:
    """Return the heads that are timed, each with its batch size: whole, in blocks and sampled."""
    plans = []
    for classes in num_classes:
        for batch_size in (32, 128):
            plans.append((HeadPlan(classes, embedding_size), batch_size))
    largest = max(num_classes)
    in_blocks = HeadPlan(largest, embedding_size, block_size=-(-largest // 8))
    sampled = HeadPlan(largest, embedding_size, sample_rate=0.1)
    return [*plans, (in_blocks, 128), (sampled, 128)]


def time_heads(
    plans: Sequence[tuple[HeadPlan, int]], rounds: int, seed: int
) -> list[tuple[HeadPlan, int, float]]:
    """Return (head, batch size, median seconds) of a step of A-Softmax with its update."""
    rng = np.random.default_rng(seed)
    cases = {}
    for i, (plan, batch_size) in enumerate(plans):
        embeddings = rng.standard_normal((batch_size, plan.embedding_size))
        labels = rng.integers(0, plan.num_classes, batch_size)
        arguments = (tf.constant(embeddings, tf.float32), tf.constant(labels, tf.int32))
        cases[str(i)] = functools.partial(seconds_of, _head_step(plan), *arguments)
    medians = interleaved_seconds(cases, rounds, seed, description="head").median()
    return [(*plan, float(medians[str(i)])) for i, plan in enumerate(plans)]


def _head_step(plan: HeadPlan) -> Callable[..., np.ndarray]:
    """Return a step of a head: losses, gradients, and the update of class weights by momentum."""
    head = ASoftmax(plan.num_classes, block_size=plan.block_size, sample_rate=plan.sample_rate)
    head.build_shared((None, plan.embedding_size))
    rng = np.random.default_rng(0)
    weights, velocities = [], []
    for width in head.block_sizes():
        shape = (plan.embedding_size, width)
        values = rng.standard_normal(shape, "float32")
        weights.append(tf.Variable(values, trainable=False))
        velocities.append(tf.Variable(tf.zeros(shape), trainable=False))

    @tf.function
    def step(embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        annealing_step = tf.convert_to_tensor(head.step)
        values = [tf.convert_to_tensor(weight) for weight in weights]
        with tf.GradientTape() as tape:
            tape.watch([embeddings, *values])
            context = head.context(embeddings, annealing_step, True, values, [])
            loss = tf.reduce_mean(head.losses_of(context, labels).losses)
        by_embeddings, *gradients = tape.gradient(loss, [embeddings, *values])
        for weight, velocity, value, gradient in zip(
            weights, velocities, values, gradients, strict=True
        ):
            decayed = solver_gradient(gradient, value, False, WEIGHT_DECAY)
            rate = tf.constant(LEARNING_RATE)
            sgd_update(weight, [velocity], decayed, rate=rate, momentum=MOMENTUM)
        return tf.reduce_sum(by_embeddings)

    return lambda *arguments: step(*arguments).numpy()


def time_all_reduce(
    num_workers: int, rounds: int, folder: Path, sizes: Sequence[int] = MESSAGE_BYTES
) -> pd.DataFrame:
    """Return the seconds of an all-reduce between processes of this machine, (rounds, bytes)."""
    programs = [Program(run_all_reduce, (tuple(sizes),), env) for env in clusters(num_workers)]
    rows = []
    with ProcessCase(f"all-reduce, {num_workers} workers", folder, programs) as case:
        for _ in progress_bar(range(rounds + 1), unit="round", desc="all-reduce"):
            rows.append({size: case.run_round() for size in sizes})
    return pd.DataFrame(rows[1:], columns=list(sizes))  # the first round connects and traces


def run_all_reduce(connection: Connection, sizes: Sequence[int]) -> None:
    """Sum arrays of the sizes over all workers, one after another, a size for each message."""
    use_devices(1)
    strategy = make_strategy()
    arrays = [tf.ones([size // 4]) for size in sizes]

    @tf.function
    def reduce(array: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(array))[0]

        return strategy.run(on_replica)

    while True:
        for array in arrays:
            try:
                connection.recv()
            except EOFError:
                return
            seconds = seconds_of(
                lambda array=array: strategy.experimental_local_results(reduce(array))
            )
            connection.send(seconds)


def step_settings(
    data: str, backbone: str, width: float, embedding_size: int, batch_size: int, seed: int
) -> TrainConfig:
    """Return the settings of the trainings whose steps are timed."""
    return TrainConfig(
        data=data,
        backbone=backbone,
        width=width,
        embedding_size=embedding_size,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        lr_warmup_steps=0,
        clipnorm=0.0,
        seed=seed,
    )


def plan_of(settings: TrainConfig, num_classes: int, devices: int) -> HeadPlan:
    """Return the head that a training with these settings has."""
    held = -(-num_classes // devices) if settings.shard_classes else num_classes
    return HeadPlan(
        num_classes,
        settings.embedding_size,
        block_size=settings.block_size
        or default_block_size(held, settings.shard_classes, settings.sample_rate),
        sample_rate=settings.sample_rate,
        projected=settings.kernel_norm == "projected",
        sharded=settings.shard_classes,
        slots=2 if settings.optimizer == "adam" else 1,
    )


def run_steps(connection: Connection, settings: TrainConfig, num_classes: int) -> None:
    """Take a training step with so many classes for each message, and send its seconds."""
    use_devices(1)
    strategy, info = make_strategy(), records.read_info(settings.data)
    many = dataclasses.replace(info, num_identities=num_classes)
    trainer = build_trainer(settings, many, strategy)
    batches = iter(distributed_batches(settings, strategy, 0))
    step = build_step(settings, trainer)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(seconds_of(lambda: step(batches).numpy()))


def time_steps(cases: dict[str, Case], rounds: int, folder: Path, seed: int) -> pd.DataFrame:
    """Return the seconds of whole training steps, (rounds, cases).

    Args:
        cases: {name: (settings, number of classes, number of workers)}.
        rounds: Int. Rounds that count.
        folder: Folder for what the processes print.
        seed: Int. Seed for the order of the cases.
    """
    timed = {}
    with contextlib.ExitStack() as running:
        for name, (settings, num_classes, workers) in cases.items():
            programs = [Program(run_steps, (settings, num_classes), e) for e in clusters(workers)]
            timed[name] = running.enter_context(ProcessCase(name, folder, programs)).run_round
        return interleaved_seconds(timed, rounds, seed, description="whole steps")


def measure_head_memory(settings: TrainConfig, num_classes: int) -> float:
    """Return the bytes that steps with many classes take at their peak, in a fresh process.

    What steps of the same network with few classes take is not counted.
    """
    return in_new_process(memory_of_classes, settings, num_classes, 3)
