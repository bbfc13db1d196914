"""What a training run says of itself before its first step, and how long it will take."""

import bisect
import collections
import datetime
import re
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.functional.annealing import Annealing, annealing_lambda

FLOAT_BYTES = 4  # weights, gradients and slots are float32 under every policy
# Where the backward pass is widest: the gradient that comes, two inside a PReLU or an addition,
# of which one leaves.
GRADIENTS_BETWEEN_LAYERS = 3
# Operations whose result is their input under another name or shape.
VIEWS = frozenset({"Identity", "Reshape", "ExpandDims", "Squeeze"})


class Memory(NamedTuple):
    """Bytes on one device at the peak of a training step.

    What libraries take for themselves, and the images that are being read, come on top.
    """

    weights: int
    gradients: int
    slots: int  # of the optimizer
    activations: int  # kept for the backward pass, and gradients on their way through it

    @property
    def lasting(self) -> int:
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.slots

    @property
    def total(self) -> int:
        return sum(self)


class RunFacts(NamedTuple):
    """What `describe` needs to know of a run."""

    devices: tuple[str, ...]  # names, of all workers
    num_workers: int
    batch_size: int  # global
    num_images: int
    num_classes: int
    total_steps: int
    start_step: int  # steps taken already
    network: str
    network_parameters: int
    network_memory: Memory
    head: str
    head_parameters: int  # of all devices together, if split
    head_memory: Memory
    annealing: Annealing | None = None  # None: a head without
    split: bool = False  # each device holds num_classes / devices classes
    precision: str = "float32"


def memory_of_network(
    backbone: keras.Model,
    batch_size: int,
    slots: int,
    input_shape: tuple[int, int, int] | None = None,
) -> Memory:
    """An estimate for a network, from the graph of its backward pass.

    Args:
        backbone: any built Keras model from float32 images to vectors.
        batch_size: images a step on one device.
        slots: values that the optimizer keeps for a weight: 1 for SGD with momentum, 2 for Adam,
            one more with a moving average of the weights.
        input_shape: (H, W, channels); None: the network's own.
    """
    sizes = [FLOAT_BYTES * size for size in map(_size, backbone.weights)]
    kept = kept_for_backward(backbone, (batch_size, *(input_shape or backbone.input_shape[1:])))
    activations = sum(kept) + GRADIENTS_BETWEEN_LAYERS * max(kept, default=0)
    return _memory(sum(sizes), max(sizes, default=0), slots, activations, sum(sizes))


def memory_of_head(
    num_classes: int,
    embedding_size: int,
    batch_size: int,
    slots: int,
    block_size: int,
    split: bool = False,
) -> Memory:
    """An estimate for a head.

    Args:
        num_classes: C, the classes that one device holds.
        embedding_size: D.
        batch_size: B, the embeddings that meet these classes in a step: those of one device, or of
            all if each device holds a part of the classes.
        slots: as for `memory_of_network`.
        block_size: the classes worked on at once.
        split: whether each device holds a part of the classes, which it updates itself.
    """
    weights = FLOAT_BYTES * embedding_size * num_classes
    block = FLOAT_BYTES * embedding_size * block_size
    # Products, exponentials and their gradient; and for the norms the squares of the block.
    activations = 3 * FLOAT_BYTES * batch_size * block_size + block
    return _memory(weights, block, slots, activations, 0 if split else weights)


def _memory(weights, largest, slots, activations, early):
    """`largest` is the largest single weight, beside which lies a copy when it is updated.

    `early` is what the optimizer computes in front of the gradients: momentum times velocity
    waits for none in Keras' SGD, and so is there from the start of the step.
    """
    return Memory(weights, weights + early + largest, slots * weights, activations)


def _size(variable):
    return int(np.prod(variable.shape, dtype=np.int64))


def kept_for_backward(backbone: keras.Model, shape: tuple[int, ...]) -> list[int]:
    """The bytes of each tensor that its backward pass needs of a network, for images of `shape`.

    Forward and backward pass are traced, and nothing is computed: what counts are the tensors of
    the first that operations of the second take, whatever the layers and their precision.
    """
    sizes = []

    def step():
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape() as tape:
            images = tf.zeros(shape)
            loss = tf.reduce_sum(backbone(images, training=True))
        forward = set(graph.get_operations())
        tape.gradient(loss, backbone.trainable_variables)
        backward = [op for op in graph.get_operations() if op not in forward]
        needed = (t for op in backward for t in op.inputs if t.op in forward)
        tensors = {t.ref() for t in map(_source, needed) if t.op.type != "ReadVariableOp"}
        shapes = ((ref.deref().shape, ref.deref().dtype) for ref in tensors)
        sizes.extend(
            shape.num_elements() * dtype.size
            for shape, dtype in shapes
            if shape.is_fully_defined() and dtype != tf.resource
        )

    tf.function(step, autograph=False).get_concrete_function()
    return sizes


def _source(tensor):
    """The tensor of which this one is a view."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def lambda_at(step: int, annealing: Annealing) -> float:
    """lambda of one step, the first being 1; infinite in a warm start."""
    return float(annealing_lambda(tf.constant(step), annealing))


def first_step_at_minimum(annealing: Annealing, total_steps: int) -> int | None:
    """The first step whose lambda is `lambda_min`; None if no step of the run gets there."""
    lowest = float(np.float32(annealing.lambda_min))
    steps = range(1, total_steps + 1)
    index = bisect.bisect_left(steps, True, key=lambda s: lambda_at(s, annealing) <= lowest)
    return steps[index] if index < total_steps else None


def describe(facts: RunFacts) -> str:
    """The facts of a run as aligned lines of text."""
    count = len(facts.devices)
    memory = facts.network_memory.total + facts.head_memory.total
    shared = f", {facts.num_classes / count:,.0f} classes on each device" if facts.split else ""
    lines = {
        "devices": _devices(facts),
        "precision": facts.precision,
        "batch": f"{facts.batch_size:,} a step"
        + (f", {facts.batch_size // count:,} a device" if count > 1 else ""),
        "images": f"{facts.num_images:,} of {facts.num_classes:,} people",
        "steps": _steps(facts),
        "network": f"{facts.network}, {facts.network_parameters:,} weights",
        "head": f"{facts.head}, {facts.head_parameters:,} weights{shared}",
        **_annealing(facts),
        "memory": f"about {_bytes(memory)} on each device:",
        "  network": _parts(facts.network_memory),
        "  head": _parts(facts.head_memory),
    }
    return "\n".join(f"{name:<15}{value}" for name, value in lines.items())


def _devices(facts):
    kinds = collections.Counter(
        re.sub(r"^.*?device:(\w+):\d+$", r"\1", name) for name in facts.devices
    )
    text = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    return text + (f" ({facts.num_workers} workers)" if facts.num_workers > 1 else "")


def _steps(facts):
    taken = f", {facts.start_step:,} taken already" if facts.start_step else ""
    epoch = _short(facts.num_images / facts.batch_size)
    epochs = _short(facts.total_steps * facts.batch_size / facts.num_images)
    return f"{facts.total_steps:,}{taken}; {epoch} an epoch, {epochs} epochs"


def _annealing(facts):
    """The lines about lambda."""
    annealing, end = facts.annealing, facts.total_steps
    if annealing is None:
        return {"lambda": "none"}
    first, parts = min(facts.start_step + 1, end), []
    if first <= annealing.margin_warmup_steps:
        first = min(annealing.margin_warmup_steps + 1, end)
        parts.append(f"infinite (no margin) to step {min(annealing.margin_warmup_steps, end):,}")
    if first > annealing.margin_warmup_steps:
        steps = dict.fromkeys((first, end))  # one, if they are the same
        parts += [f"{_short(lambda_at(step, annealing))} at step {step:,}" for step in steps]
    reached = first_step_at_minimum(annealing, end)
    when = (
        "never reached: the margin does not come in full"
        if reached is None
        else f"reached at step {reached:,}"
    )
    return {"lambda": ", ".join(parts), "  lambda_min": f"{annealing.lambda_min:g}, {when}"}


def _parts(memory):
    return (
        f"{_bytes(memory.lasting)} for weights, gradients and optimizer, "
        f"{_bytes(memory.activations)} for the images of a step"
    )


def _short(number):
    """Three figures, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _bytes(number):
    """In MB or GB, 10^6 and 10^9 bytes."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def estimate(
    steps_done: int, steps_left: int, seconds: float, batch_size: int, now: float | None = None
) -> str:
    """How fast a run is and when it will end, in a sentence.

    Args:
        steps_done: steps that were timed, >= 1.
        steps_left: steps still to be taken.
        seconds: that those done took, > 0.
        batch_size: images a step.
        now: seconds since 1970; None: the clock's.
    """
    left = steps_left * seconds / steps_done
    end = datetime.datetime.fromtimestamp((time.time() if now is None else now) + left)
    return (
        f"{_short(steps_done * batch_size / seconds)} images a second: about "
        f"{in_words(left)} left, until {end:%Y-%m-%d %H:%M}"
    )


def in_words(seconds: float) -> str:
    """`2 d 5 h`, `3 h 12 min`, `12 min` or `40 s`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
