"""The overview of a run before its first step, and the time that it will take."""

import bisect
import collections
import dataclasses
import datetime
import re
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_sphereface.functional.annealing import (
    Annealing,
    annealing_lambda,
    scaled_annealing,
    unfinished_annealing,
)
from keras_sphereface.training.solver import Solver
from keras_sphereface.utils.text import counted, duration


@dataclasses.dataclass(frozen=True)
class RunOverview:
    """The network, head, data and devices of a run.

    Attributes:
        devices: Names of the devices of all workers.
        num_workers: Processes.
        batch_size: Images of a step, over all devices.
        num_images: Images of an epoch.
        num_identities: Identities in these images.
        total_steps: Last step.
        start_step: Steps taken before.
        network: Name of the backbone.
        network_parameters: Number of weights of the backbone.
        head: Name of the head.
        head_parameters: Number of weights of the head, on all devices together if it is sharded.
        head_parameters_per_device: Number of weights of the head on one device.
        slots: Variables that the optimizer keeps for each weight.
        averaged: Whether moving averages of the network's weights are kept.
        annealing: Annealing of the head; None: the head has none.
        precision: Dtype policy of the network.
        solver: Settings of the optimizer; None: they are not described.
        chosen: Names of the settings that the size of the run or its network has decided.
        takes: The images that the network takes, in words; "": they are not described.
        embedding_size: Number of values of an embedding; 0: it is not described.
        start: {name: text} of further lines, about what the run starts from.
        gallery_bytes: Bytes of the gallery network and its prototypes on one device.
        num_prototypes: Length of the queue that takes the place of class weights; 0: there is none.
    """

    devices: tuple[str, ...]
    num_workers: int
    batch_size: int
    num_images: int
    num_identities: int
    total_steps: int
    start_step: int
    network: str
    network_parameters: int
    head: str
    head_parameters: int
    head_parameters_per_device: int
    slots: int
    averaged: bool = False
    annealing: Annealing | None = None
    precision: str = "float32"
    solver: Solver | None = None
    chosen: tuple[str, ...] = ()
    takes: str = ""
    embedding_size: int = 0
    start: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gallery_bytes: int = 0
    num_prototypes: int = 0

    @property
    def memory(self) -> tuple[int, int, int]:
        """Bytes of weights, of gradients, and of optimizer slots and averages on one device."""
        # Both are float32 under a mixed policy.
        size = 8 if self.precision == "float64" else 4
        weights = size * (self.network_parameters + self.head_parameters_per_device)
        averages = size * self.network_parameters * self.averaged
        return weights + self.gallery_bytes, weights, self.slots * weights + averages


def describe(run: RunOverview) -> str:
    """Return the overview of a run as aligned lines of text."""
    count = len(run.devices)
    weights, gradients, slots = run.memory
    lines = {
        "devices": _devices(run),
        "precision": run.precision,
        "batch": f"{counted(run.batch_size, 'image')} a step"
        + (f", {run.batch_size // count:,} a device" if count > 1 else ""),
        "data": f"{counted(run.num_images, 'image')} of {counted(run.num_identities, 'identity')}",
        "steps": _steps(run),
        "network": f"{run.network}, {counted(run.network_parameters, 'weight')}",
        **_images(run),
        **run.start,
        "head": _head(run),
        **_optimizer(run),
        **_annealing(run),
        "memory": f"{_bytes(weights + gradients + slots)} on each device, without activations",
        "  of which": f"weights {_bytes(weights)}, gradients {_bytes(gradients)}, "
        f"optimizer {_bytes(slots)}",
    }
    return "\n".join(f"{name:<15}{value}" for name, value in lines.items())


def _head(run: RunOverview) -> str:
    if run.num_prototypes:
        return (
            f"{run.head}, no class weights; a queue of {counted(run.num_prototypes, 'prototype')}"
        )
    sharded = run.head_parameters_per_device < run.head_parameters
    share = f", {run.head_parameters_per_device:,} on each device" if sharded else ""
    return f"{run.head}, {counted(run.head_parameters, 'weight')}{share}"


def _devices(run: RunOverview) -> str:
    kinds = collections.Counter(
        re.sub(r"^.*?device:(\w+):\d+$", r"\1", name) for name in run.devices
    )
    text = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    return text + (f" ({run.num_workers} workers)" if run.num_workers > 1 else "")


def _steps(run: RunOverview) -> str:
    taken = f", {run.start_step:,} taken already" if run.start_step else ""
    epoch = _short(run.num_images / run.batch_size)
    epochs = _short(run.total_steps * run.batch_size / run.num_images)
    return f"{run.total_steps:,}{taken}; {epoch} an epoch, {epochs} epochs"


def _images(run: RunOverview) -> dict[str, str]:
    """Return the line about the input and output of the network."""
    if not run.takes:
        return {}
    return {
        "  takes": f"{run.takes}{_chosen(run, 'input_range')}; gives {run.embedding_size} values"
    }


def _optimizer(run: RunOverview) -> dict[str, str]:
    """Return the lines about optimizer and learning rate."""
    solver = run.solver
    if solver is None:
        return {}
    rate, clipnorm = solver.rate, solver.clipnorm
    warmup = counted(rate.lr_warmup_steps, "step") if rate.lr_warmup_steps else "none"
    drops = [f"{boundary + 1:,}" for boundary in rate.boundaries]
    falls = f"; a tenth of it after steps {' and '.join(drops)} each" if drops else ""
    clipping = f"gradients of norm above {clipnorm:g}" if clipnorm else "none"
    return {
        "optimizer": solver.optimizer,
        "learning rate": f"{rate.learning_rate:g}{_chosen(run, 'learning_rate')}{falls}",
        "  warm-up": warmup + _chosen(run, "lr_warmup_steps"),
        "  clipping": clipping + _chosen(run, "clipnorm"),
        "  biases": f"{solver.bias_rule}{_chosen(run, 'bias_rule')}",
    }


def _chosen(run: RunOverview, name: str) -> str:
    """Return the words after a value that the user has not set."""
    return f" (chosen; --{name.replace('_', '-')})" if name in run.chosen else ""


def annealing_advice(run: RunOverview) -> str:
    """Return a warning if lambda does not reach `lambda_min` by the end of a run, else ""."""
    annealing, end = run.annealing, run.total_steps
    if annealing is None or not (message := unfinished_annealing(annealing, end)):
        return ""
    suitable = scaled_annealing(annealing, end)
    warmup = ""
    if annealing.margin_warmup_steps:
        warmup = f" or a smaller --margin-warmup-steps than {annealing.margin_warmup_steps:,}"
    return (
        f"{message} Set --gamma {suitable.gamma:.4g} instead of {annealing.gamma:g}, or leave it "
        f"out; or set a larger --total-steps{warmup}."
    )


MANY_IMAGES = 2_000_000  # some hours on a few cores even for a small network


def device_advice(run: RunOverview) -> str:
    """Return a hint if a long run has no GPU, with flags for a short one, else ""."""
    left = (run.total_steps - run.start_step) * run.batch_size
    has_gpu = any("CPU" not in name.upper() for name in run.devices)
    if has_gpu or left < MANY_IMAGES:
        return ""
    return (
        f"No GPU is used, and {left:,} images take days or weeks without. For a first run of "
        "minutes: --backbone sphereface4 --width 0.5 --batch-size 64 --optimizer adam "
        "--total-steps 1000"
    )


def _annealing(run: RunOverview) -> dict[str, str]:
    """Return the lines about lambda."""
    annealing, end = run.annealing, run.total_steps
    if annealing is None:
        return {"lambda": "none"}
    first, parts = min(run.start_step + 1, end), []
    if first <= annealing.margin_warmup_steps:
        first = min(annealing.margin_warmup_steps + 1, end)
        parts.append(f"infinite (no margin) to step {min(annealing.margin_warmup_steps, end):,}")
    if first > annealing.margin_warmup_steps:
        steps = dict.fromkeys((first, end))  # one, if they are the same
        parts += [f"{_short(_lambda_at(step, annealing))} at step {step:,}" for step in steps]
    reached = first_step_at_minimum(annealing, end)
    minimum_step = (
        "never reached: the margin never applies in full"
        if reached is None
        else f"reached at step {reached:,}"
    )
    return {
        "lambda": ", ".join(parts),
        "  lambda_min": f"{annealing.lambda_min:g}, {minimum_step}",
        "  gamma": f"{annealing.gamma:.4g}{_chosen(run, 'gamma')}",
    }


def first_step_at_minimum(annealing: Annealing, total_steps: int) -> int | None:
    """Return the first step whose lambda is `lambda_min`; None if no step of the run has it."""
    lowest = float(np.float32(annealing.lambda_min))
    steps = range(1, total_steps + 1)
    index = bisect.bisect_left(steps, True, key=lambda s: _lambda_at(s, annealing) <= lowest)
    return steps[index] if index < total_steps else None


def _lambda_at(step: int, annealing: Annealing) -> float:
    return float(annealing_lambda(tf.constant(step), annealing))


def _short(number: float) -> str:
    """Return a number with three digits, or with all before the decimal point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _bytes(number: int) -> str:
    """Return a number of bytes in MB or GB, 10^6 and 10^9 bytes."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{_short(number / 1e6)} MB"


def remaining_time(
    steps_done: int, steps_left: int, seconds: float, batch_size: int, now: float | None = None
) -> str:
    """Return the speed of a run and when it will end, in a sentence.

    Args:
        steps_done: Int >= 1. Steps that were timed.
        steps_left: Int. Steps still to be taken.
        seconds: Float > 0. Time that the timed steps took.
        batch_size: Int. Images of a step.
        now: Float. Seconds since 1970; None: the time of the clock.
    """
    left = steps_left * seconds / steps_done
    end = datetime.datetime.fromtimestamp((time.time() if now is None else now) + left)
    return (
        f"{_short(steps_done * batch_size / seconds)} images per second: about "
        f"{duration(left)} left, until {end:%Y-%m-%d %H:%M}"
    )
