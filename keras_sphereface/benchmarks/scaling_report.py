"""Predictions of the model of the step time as tables and as a figure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.benchmarks.scaling_model import (
    HeadPlan,
    NetworkSize,
    StepTime,
    memory_of_head,
    predict_step,
)
from keras_sphereface.config import ScalingBenchmarkConfig
from keras_sphereface.config.choices import OPTIMIZER_SLOTS
from keras_sphereface.config.hardware import HARDWARE, Hardware
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.sharded import sharded_block_size
from keras_sphereface.reporting.markdown import markdown_table

# Flags of hardware, the attributes that they replace, and the unit of the flag.
OVERRIDES = {
    "device_tflops": ("network_flops", 1e12),
    "head_tflops": ("head_flops", 1e12),
    "memory_gbps": ("memory_bytes", 1e9),
    "device_gigabytes": ("device_bytes", 1e9),
    "link_gbps": ("link_bytes", 1e9),
    "machine_link_gbps": ("machine_link_bytes", 1e9),
    "latency_microseconds": ("latency", 1e-6),
    "devices_per_machine": ("devices_per_machine", 1),
}
PARTS = {
    "network": "network",
    "head": "head",
    "gradients": "all-reduce of gradients",
    "shards": "exchange of shards",
    "waiting": "waiting for the slowest",
    "fixed": "fixed",
}
REPLICATED, SHARDED, SAMPLED = "on every device", "class shards", "class shards, sampled"


class Prediction(NamedTuple):
    """A predicted step.

    Attributes:
        head: Name of the way in which the head is spread.
        devices: Number of devices.
        batch_size: Images over all devices.
        num_classes: Number of classes.
        step: Its time.
        head_bytes: Memory of the head on a device.
    """

    head: str
    devices: int
    batch_size: int
    num_classes: int
    step: StepTime
    head_bytes: int


def hardware_of(config: ScalingBenchmarkConfig) -> Hardware:
    """Return the devices of the predictions: those of `hardware`, with what the flags replace.

    Raises:
        ValueError: If a rate is not above 0.

    Example:
        >>> config = ScalingBenchmarkConfig(out="runs", hardware="a100-tf32", link_gbps=25.0)
        >>> hardware_of(config).link_bytes
        25000000000.0
    """
    replaced = {}
    for name, (attribute, unit) in OVERRIDES.items():
        value = getattr(config, name)
        if value is None:
            continue
        if value <= 0:
            raise ValueError(f"`{name}` must be above 0. Received: {name}={value}")
        replaced[attribute] = value * unit
    return dataclasses.replace(HARDWARE[config.hardware], **replaced)


def plans_of(config: ScalingBenchmarkConfig, num_classes: int, devices: int) -> dict[str, HeadPlan]:
    """Return the ways in which a head may be spread over the devices, by name."""

    def plan(sharded: bool, rate: float) -> HeadPlan:
        held = -(-num_classes // devices) if sharded else num_classes
        return HeadPlan(
            num_classes,
            config.embedding_size,
            block_size=default_block_size(held, sharded, rate),
            sample_rate=rate,
            sharded=sharded,
            slots=OPTIMIZER_SLOTS[config.optimizer],
        )

    return {
        REPLICATED: plan(False, 1.0),
        SHARDED: plan(True, 1.0),
        SAMPLED: plan(True, config.sample_rate),
    }


def default_block_size(held: int, sharded: bool = False, sample_rate: float = 1.0) -> int | None:
    """Return the size of the blocks into which a head divides so many classes by itself.

    Example:
        >>> default_block_size(10_572), default_block_size(1_000_000)
        (None, 16320)
        >>> default_block_size(1_000_000, sharded=True, sample_rate=0.1)
        163200
    """
    head = AngularHead(max(2, held), sample_rate=sample_rate)
    size = sharded_block_size(head, held) if sharded else head.max_classes_per_block(held)
    return None if size >= held else size


def predictions(
    config: ScalingBenchmarkConfig, hardware: Hardware, network: NetworkSize
) -> Iterator[Prediction]:
    """Yield a prediction for each number of classes and of devices and each way to spread them."""
    for num_classes in config.num_classes:
        for devices in config.devices:
            batch_size = config.batch_per_device * devices
            for name, plan in plans_of(config, num_classes, devices).items():
                yield Prediction(
                    name,
                    devices,
                    batch_size,
                    num_classes,
                    predict_step(hardware, network, plan, batch_size, devices),
                    memory_of_head(plan, batch_size, devices).total,
                )


def describe_predictions(rows: Sequence[Prediction], hardware: Hardware) -> str:
    """Return the predictions as a Markdown table."""
    base = {(row.head, row.num_classes): row for row in reversed(rows)}
    cells = []
    for row in rows:
        fits = row.head_bytes < hardware.device_bytes
        first = base[row.head, row.num_classes]
        per_device = row.batch_size / row.step.total / row.devices
        efficiency = per_device / (first.batch_size / first.step.total / first.devices)
        cells.append(
            [
                f"{row.num_classes:,}",
                row.devices,
                row.head,
                f"{row.head_bytes / 1e9:,.1f}",
                f"{1e3 * row.step.total:,.1f}" if fits else "does not fit",
                f"{row.batch_size / row.step.total:,.0f}" if fits else "",
                f"{efficiency:.2f}" if fits and first.head_bytes < hardware.device_bytes else "",
                f"{100 * row.step.head / row.step.total:.0f}" if fits else "",
                f"{100 * row.step.communication / row.step.total:.0f}" if fits else "",
            ]
        )
    header = ["identities", "devices", "head", "head, GB", "ms", "images/s", "of linear"]
    return markdown_table([*header, "head, %", "exchange and waiting, %"], cells)


def describe_memory_of_heads(config: ScalingBenchmarkConfig) -> str:
    """Return the memory of heads by number of classes, kind and devices, as a Markdown table."""
    names = list(memory_cases(config, 1_000_000))
    sizes = [size for size in config.num_classes if size >= 1_000_000] or config.num_classes
    rows = []
    for name in names:
        cells = [memory_cases(config, size)[name] / 1e9 for size in sizes]
        rows.append([name, *(f"{cell:,.1f}" for cell in cells)])
    return markdown_table(["head", *(f"{size:,}" for size in sizes)], rows)


def memory_cases(config: ScalingBenchmarkConfig, num_classes: int) -> dict[str, int]:
    """Return {kind of head: its bytes on a device at the peak of a step}."""
    slots = OPTIMIZER_SLOTS[config.optimizer]

    def num_bytes(
        devices: int = 1, block: bool = True, slots: int = slots, **settings: float
    ) -> int:
        sharded = devices > 1
        held = -(-num_classes // devices)
        rate = settings.get("sample_rate", 1.0)
        plan = HeadPlan(
            num_classes,
            config.embedding_size,
            block_size=default_block_size(held, sharded, rate) if block else None,
            sharded=sharded,
            slots=slots,
            **settings,  # type: ignore[arg-type]
        )
        return memory_of_head(plan, config.batch_per_device * devices, devices).total

    cases = {
        "one block": num_bytes(block=False),
        "blocks": num_bytes(),
        "blocks, projected": num_bytes(projected=True),
        "blocks, Adam": num_bytes(slots=2),
        f"blocks, {config.sample_rate:.0%} sampled": num_bytes(sample_rate=config.sample_rate),
    }
    for devices in config.devices:
        if devices > 1:
            cases[f"{devices} class shards"] = num_bytes(devices)
            sampled = f"{devices} class shards, {config.sample_rate:.0%} sampled"
            cases[sampled] = num_bytes(devices, sample_rate=config.sample_rate)
    return cases


def draw_scaling_figure(
    config: ScalingBenchmarkConfig, rows: Sequence[Prediction], hardware: Hardware
) -> Figure:
    """Draw the parts of the steps of sampled class shards, and the memory of heads."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [row for row in rows if row.head == SAMPLED and row.head_bytes < hardware.device_bytes]
    names = [f"{short_number(row.num_classes)}\n{row.devices}" for row in shown]
    parts = {
        title: [getattr(row.step, part) for row in shown]
        for part, title in PARTS.items()
        if any(getattr(row.step, part) for row in shown)
    }
    plots.plot_step_parts(left, names, parts)
    left.set(xlabel="identities, and devices below", title="Parts of a step, class shards, sampled")
    left.tick_params(axis="x", labelsize="small")
    sizes = [10**4, 10**5, 10**6, 10**7, 10**8]
    memory = {
        name: [memory_cases(config, size)[name] for size in sizes]
        for name in memory_cases(config, sizes[0])
        if "Adam" not in name and "projected" not in name
    }
    plots.plot_head_memory(right, sizes, memory, hardware.device_bytes)
    right.set(title="Memory of the head")
    for axes in (left, right):  # below: the bars fill their axes, and the lines cross theirs
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
            ncols=2,
            fontsize="small",
            frameon=False,
        )
    return figure


def short_number(number: int) -> str:
    """Return a number of identities in few characters.

    Example:
        >>> short_number(10_572), short_number(10_000_000)
        ('11k', '10M')
    """
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.0f}{name}"
    return str(number)


def describe_checks(checks: Sequence[Mapping[str, object]], unit: str, scale: float) -> str:
    """Return what was measured beside what the model says, as a Markdown table."""
    rows = [
        [
            check["case"],
            f"{float(str(check['measured'])) * scale:,.0f}",
            f"{float(str(check['predicted'])) * scale:,.0f}",
            f"{float(str(check['predicted'])) / float(str(check['measured'])):.2f}",
        ]
        for check in checks
    ]
    return markdown_table(["case", f"measured, {unit}", f"model, {unit}", "ratio"], rows)
