"""The settings of a run: checked, kept beside it, and compared when it is continued."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import HEADS, NETWORKS, START_PREFIX
from keras_sphereface.config.scaling import scaled_settings
from keras_sphereface.config.settings_files import save_config
from keras_sphereface.config.train import MAY_CHANGE, RUN_FILE, SETTINGS_FILE, has_begun
from keras_sphereface.data.records import DatasetInfo, data_checksum
from keras_sphereface.distribute.strategy import num_workers
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils import compat
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.text import counted
from keras_sphereface.version import __version__

# Paths, which may differ between machines that see the same folders.
PATHS = (
    *("data", "workdir", "start_from"),
    *("verify_images", "verify_pairs", "verify_landmarks", "verify_bin"),
    *("old_images", "old_pairs", "old_landmarks", "old_bin"),
)
# Settings of the network, which a run that starts from another has from there.
NETWORK_SETTINGS = ("backbone", "width", "batch_norm", "embedding_size", "input_range")
# Defaults of earlier versions, for runs whose file of settings lacks what the rule now chooses.
EARLIER_DEFAULTS = {
    **{"learning_rate": 0.1, "lr_warmup_steps": 0, "clipnorm": 0.0, "gamma": 0.12},
    **{"input_range": "unit", "bias_rule": "caffe"},
}


def planned_steps(config: TrainConfig, num_images: int) -> int:
    """Return the number of optimizer steps that the settings ask for."""
    if config.epochs > 0:
        return max(1, round(config.epochs * num_images / config.batch_size))
    return config.total_steps


def complete_settings(config: TrainConfig, info: DatasetInfo) -> TrainConfig:
    """Fill in what the size of the run, or its network, decides where `config` has None.

    What pixels the network takes is known when it is made only (`input_range`).
    A run that is continued keeps the values that it began with, whatever the rule is now.

    Args:
        config: Settings of the run.
        info: Number of images and of identities.
    """
    steps = planned_steps(config, info.num_images)
    values = scaled_settings(config, steps, info.num_identities)
    if config.bias_rule is None:
        is_imported = config.backbone.startswith(f"{START_PREFIX}sphereface")
        is_of_paper = config.backbone in NETWORKS or is_imported
        values["bias_rule"] = "caffe" if is_of_paper else "plain"
    if has_begun(config.workdir):
        before = saved_settings(Path(config.workdir))
        names = [name for name in (*values, "input_range") if getattr(config, name) is None]
        values |= {name: before[name] for name in names if before[name] is not None}
    return dataclasses.replace(config, **values)


def take_network_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Fill in the settings of the network that are at their defaults by those of the start.

    Args:
        config: Settings of the run.
        settings: Of the run to start from, or stated in its file, maybe not all of them.

    Raises:
        ValueError: If one is set to something else.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    given = {name: getattr(config, name) for name in NETWORK_SETTINGS}
    from_file = str(settings.get("backbone", "")).startswith(START_PREFIX)
    if from_file and any(given[n] not in (defaults[n], settings[n]) for n in ("backbone", "width")):
        # A network that is made by its name takes weights of a file, if they fit.
        settings = {name: settings[name] for name in ("embedding_size", "input_range")}
    different = [
        f"{name}={given[name]!r}, and {settings[name]!r} in the start"
        for name in NETWORK_SETTINGS
        if settings.get(name) is not None and given[name] not in (defaults[name], settings[name])
    ]
    if different:
        raise ValueError(
            "The network is that of `start_from`: leave its settings out. "
            f"Received: {'; '.join(different)}"
        )
    taken = {name: settings[name] for name in NETWORK_SETTINGS if settings.get(name) is not None}
    return dataclasses.replace(config, **taken)


def versions() -> dict[str, str]:
    """Return the versions that the result depends on."""
    return {
        "keras_sphereface": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def fingerprint(config: TrainConfig, info: DatasetInfo) -> str:
    """Return a text that differs where settings, other than paths, or records differ."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in PATHS}
    return json.dumps([settings, data_checksum(info)], sort_keys=True)


def save_settings(
    config: TrainConfig, info: DatasetInfo, strategy: tf.distribute.Strategy, step: int
) -> None:
    """Write config.yaml, and run.json: checksum of the data, devices and versions of each start."""
    workdir = Path(config.workdir)
    with atomic_file(workdir / SETTINGS_FILE) as partial:
        save_config(config, partial)
    start = {
        "step": step,
        "total_steps": planned_steps(config, info.num_images),
        "devices": strategy.num_replicas_in_sync,
        "workers": num_workers(strategy),
        "versions": versions(),
    }
    starts = _read_run(workdir)["starts"] if step else []
    run = {"data_checksum": data_checksum(info), "starts": [*starts, start]}
    write_metrics(workdir / RUN_FILE, run)


def check_same_run(
    config: TrainConfig, info: DatasetInfo, strategy: tf.distribute.Strategy
) -> None:
    """Refuse to continue a run that had other settings or other data, or was to be longer.

    A run may be made longer: its learning rate follows, from the step on at which it is continued,
    the schedule of a run of the new length, whatever it was before; warm-up, clipping and annealing
    stay as they were. With `worker_shards` the number of workers must be the same too: each has a
    position in its own shards.

    Raises:
        ValueError: With what differs, or if the run began with the other Keras.
    """
    workdir = Path(config.workdir)
    run = _read_run(workdir)
    keras_before = run["starts"][-1]["versions"]["keras"]
    if not compat.reads_checkpoints_of(keras_before):
        raise ValueError(
            "Checkpoints of Keras 2 and 3 differ: continue a run with the Keras that it began "
            "with, or take its weights to the other as `.weights.h5`. "
            f"Received: keras={keras_before} before, keras={keras.__version__} now"
        )
    settings = saved_settings(workdir)
    before = {**settings, "data_checksum": run["data_checksum"]}
    now = {**_plain(config), "data_checksum": data_checksum(info)}
    steps_before, steps_now = (
        planned_steps(dataclasses.replace(config, **lengths), info.num_images)
        for lengths in ({name: settings[name] for name in ("total_steps", "epochs")}, {})
    )
    if "gamma" not in HEADS[config.head].settings:
        before["gamma"] = now["gamma"]  # earlier versions wrote one for every head
    if config.worker_shards:
        before["workers"] = run["starts"][-1]["workers"]
        now["workers"] = num_workers(strategy)
    differences = [
        f"{name}: {before.get(name)!r} before, {value!r} now"
        for name, value in now.items()
        if name not in MAY_CHANGE and before.get(name) != value
    ]
    if steps_now < steps_before and not differences:
        raise ValueError(
            "`total_steps` (or `epochs`) of a run can only be raised; for a shorter run choose "
            "another `workdir`. "
            f"Received: {counted(steps_before, 'step')} before, {steps_now} now, in {workdir}"
        )
    if differences:
        raise ValueError(
            f"{workdir} holds a run with other settings; choose another `workdir`. "
            f"Received: {'; '.join(differences)}"
        )


def _read_run(workdir: Path) -> dict[str, Any]:
    return json.loads((workdir / RUN_FILE).read_text(encoding="utf-8"))


def saved_settings(workdir: Path) -> dict[str, Any]:
    """Return the settings with which a run was started, by their present names."""
    text = (workdir / SETTINGS_FILE).read_text(encoding="utf-8")
    renamed = TrainConfig.renamed
    saved = {renamed.get(name, name): value for name, value in yaml.safe_load(text).items()}
    return {**_plain(TrainConfig()), **EARLIER_DEFAULTS, **saved}


def _plain(config: TrainConfig) -> dict[str, Any]:
    """The settings as YAML has them."""
    settings = dataclasses.asdict(config).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in settings}
