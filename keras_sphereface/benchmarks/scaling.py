"""Benchmark of scaling: a model of the step time fitted here, checked here, and its predictions."""

import dataclasses
from pathlib import Path
from typing import Any

from keras_sphereface.benchmarks import scaling_measure as measure
from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.benchmarks.scaling_fit import fit_hardware
from keras_sphereface.benchmarks.scaling_model import (
    HeadPlan,
    NetworkSize,
    memory_of_head,
    predict_step,
)
from keras_sphereface.benchmarks.scaling_report import (
    describe_checks,
    describe_memory_of_heads,
    describe_predictions,
    draw_scaling_figure,
    hardware_of,
    predictions,
)
from keras_sphereface.config import ScalingBenchmarkConfig
from keras_sphereface.config.hardware import Hardware
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.reporting.figures import save_light_and_dark
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import log, progress_bar
from keras_sphereface.utils.validation import check_real, require

CHECK_BATCH = 8  # images of a worker; small, since all cases are in memory at once
GENERATED_IDENTITIES = 10


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a machine measured, and the model fitted on it.

    Attributes:
        network_seconds: {batch size: median seconds} of the network.
        head_seconds: Heads, batch sizes and median seconds.
        reduce_seconds: {bytes: median seconds} of an all-reduce.
        here: The constants.
        steps: Whole steps, measured and predicted, in seconds; none was used for the fit.
        memory: Bytes of heads, measured and predicted.
    """

    network_seconds: dict[int, float]
    head_seconds: list[tuple[HeadPlan, int, float]]
    reduce_seconds: dict[int, float]
    here: Hardware
    steps: list[dict[str, Any]]
    memory: list[dict[str, Any]]


def benchmark_scaling(config: ScalingBenchmarkConfig) -> str:
    """Fit, check and predict; write scaling.json, scaling.md, scaling.png and a dark version.

    Returns:
        The text of scaling.md.

    Raises:
        ValueError: If a setting is out of range.
        RuntimeError: If a process ends too early; its output is in the folder.
    """
    check_real(config.sample_rate, "sample_rate", 1e-9, 1.0)
    require(config.width > 0, "`width` must be above 0.", width=config.width)
    hardware = hardware_of(config)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    network = in_new_process(
        measure.network_size, config.backbone, config.width, config.embedding_size
    )
    measured = _measure(config, network, folder) if config.repeats else None
    rows = list(predictions(config, hardware, network))
    text = _describe(config, network, measured)
    text += (
        f"\n## Predictions\n\nDevices: {config.hardware}, with "
        f"{config.batch_per_device} images on each. Nothing of this was measured here.\n\n"
        f"{describe_predictions(rows, hardware)}"
        "\nMemory of the head on a device, GB:\n\n" + describe_memory_of_heads(config)
    )
    save_light_and_dark(lambda: draw_scaling_figure(config, rows, hardware), folder / "scaling")
    write_metrics(
        folder / "scaling.json",
        {
            "machine": machine(),
            "network": network,
            "measured": measured,
            "hardware": hardware,
            "predictions": rows,
        },
    )
    (folder / "scaling.md").write_text(text, encoding="utf-8")
    return text


def _measure(config: ScalingBenchmarkConfig, network: NetworkSize, folder: Path) -> Measured:
    """Time network, head and all-reduce, fit the model, and check it on steps and memory."""
    log("timing the network (1 of 5)")
    seconds = in_new_process(
        measure.time_network,
        config.backbone,
        config.width,
        config.embedding_size,
        sorted(set(config.batch_sizes)),
        config.repeats,
        config.seed,
    )
    network_seconds = {int(name): float(median) for name, median in seconds.median().items()}
    log("timing the head (2 of 5)")
    plans = measure.head_plans(config.head_classes, config.embedding_size)
    head_seconds = in_new_process(measure.time_heads, plans, config.repeats, config.seed)
    log("timing the all-reduce (3 of 5)")
    reduce = measure.time_all_reduce(config.num_workers, config.repeats, folder)
    reduce_seconds = {int(size): float(median) for size, median in reduce.median().items()}
    here = fit_hardware(network, network_seconds, head_seconds, reduce_seconds, config.num_workers)
    steps: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    if config.check_classes:
        generated = generated_records(folder / "generated", GENERATED_IDENTITIES, 4, 0, config.seed)
        data = str(generated.records)
        log("timing whole steps (4 of 5)")
        steps = _check_steps(config, network, here, data, folder)
        log("measuring memory (5 of 5)")
        memory = _check_memory(config, data)
    return Measured(network_seconds, head_seconds, reduce_seconds, here, steps, memory)


def _check_steps(
    config: ScalingBenchmarkConfig, network: NetworkSize, here: Hardware, data: str, folder: Path
) -> list[dict[str, Any]]:
    """Return whole steps of `sphereface train`, measured and predicted."""
    batch = CHECK_BATCH * config.num_workers
    settings = measure.step_settings(
        data, config.backbone, config.width, config.embedding_size, batch, config.seed
    )
    sharded = dataclasses.replace(settings, shard_classes=True)
    few, many, workers = (
        max(8, config.check_classes // 10),
        config.check_classes,
        config.num_workers,
    )
    cases: dict[str, measure.Case] = {
        f"1 device, {few:,} classes": (settings, few, 1),
        f"1 device, {many:,} classes": (settings, many, 1),
        f"{workers} workers, {many:,} classes": (settings, many, workers),
        f"{workers} workers, {many:,} classes, sharded": (sharded, many, workers),
    }
    medians = measure.time_steps(cases, config.repeats, folder, config.seed).median()
    checks = []
    for name, (case, num_classes, devices) in cases.items():
        plan = measure.plan_of(case, num_classes, devices)
        predicted = predict_step(here, network, plan, batch, devices)
        checks.append(
            {"case": name, "measured": float(medians[name]), "predicted": predicted.total}
        )
    return checks


def _check_memory(config: ScalingBenchmarkConfig, data: str) -> list[dict[str, Any]]:
    """Return the memory of heads in training, measured and predicted."""
    settings = measure.step_settings(
        data, "sphereface4", 0.05, config.embedding_size, CHECK_BATCH, config.seed
    )
    block = max(2, config.check_classes // 8)
    cases = {
        "one block": settings,
        "blocks": dataclasses.replace(settings, block_size=block),
        "blocks, projected": dataclasses.replace(
            settings, block_size=block, kernel_norm="projected"
        ),
        "blocks, Adam": dataclasses.replace(settings, block_size=block, optimizer="adam"),
        "blocks, sampled": dataclasses.replace(settings, block_size=block, sample_rate=0.1),
        "class shards, blocks": dataclasses.replace(settings, block_size=block, shard_classes=True),
        "class shards, blocks, sampled": dataclasses.replace(
            settings, block_size=block, shard_classes=True, sample_rate=0.1
        ),
    }
    checks = []
    for name, case in progress_bar(list(cases.items()), unit="head", desc="memory"):
        plan = measure.plan_of(case, config.check_classes, 1)
        checks.append(
            {
                "case": name,
                "measured": measure.measure_head_memory(case, config.check_classes),
                "predicted": memory_of_head(plan, CHECK_BATCH).total,
            }
        )
    return checks


def _describe(
    config: ScalingBenchmarkConfig, network: NetworkSize, measured: Measured | None
) -> str:
    """Return what was measured as Markdown."""
    text = (
        f"{config.backbone}, faces of 112 x 96 pixels: {network.flops / 1e9:.2f} GFLOP forward for "
        f"an image, {network.parameters:,} weights.\nMachine: {machine()}.\n"
    )
    if measured is None:
        return text
    here = measured.here
    text += (
        f"\n## Fitted here\n\nMedians of {config.repeats} interleaved rounds, float32. Network: "
        f"{here.network_flops / 1e9:.0f} GFLOP/s and {1e3 * here.fixed_seconds:.1f} ms a step. "
        f"Head: {here.head_flops / 1e9:.0f} GFLOP/s in products, {here.memory_bytes / 1e9:.1f} "
        f"GB/s of memory. All-reduce between {config.num_workers} processes: "
        f"{here.link_bytes / 1e9:.2f} GB/s, {1e3 * here.latency:.1f} ms for an empty one.\n"
    )
    if measured.steps:
        text += (
            "\n## Checked here\n\nWhole steps of a training, of which none was used for the fit; "
            f"{CHECK_BATCH * config.num_workers} images a step, and all workers share this "
            f"machine:\n\n{describe_checks(measured.steps, 'ms', 1e3)}"
            f"\nMemory of {config.check_classes:,} classes at the peak of a step:\n\n"
            f"{describe_checks(measured.memory, 'MB', 1e-6)}"
        )
    return text
