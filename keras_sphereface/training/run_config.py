"""The settings of a run: refused if they cannot train, kept beside it, and compared."""

import dataclasses
import hashlib
import json
import math
import platform
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.parsing import read_config, save_config
from keras_sphereface.data import augmentation, records
from keras_sphereface.distribute.strategy import num_workers
from keras_sphereface.utils import compat
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.validation import check_choice
from keras_sphereface.version import __version__

# Settings that may change between a run and its continuation.
MAY_CHANGE = (
    *("data", "workdir", "log_steps", "checkpoint_steps", "accumulate_steps", "jit"),
    *("verify_steps", "verify_images", "verify_pairs", "verify_landmarks"),
    *("verify_bin", "verify_folds"),
)
# Paths, which may differ between machines that see the same folders.
PATHS = ("data", "workdir", "verify_images", "verify_pairs", "verify_landmarks", "verify_bin")
SETTINGS_FILE = "config.yaml"
RUN_FILE = "run.json"


def check_settings(config: TrainConfig) -> None:
    """Refuse settings that cannot train anything.

    Raises:
        ValueError: naming the setting, what is allowed and what was received.
    """
    ranges = {
        **dict.fromkeys(("batch_size", "total_steps", "log_steps"), (1, math.inf)),
        **dict.fromkeys(("checkpoint_steps", "embedding_size", "accumulate_steps"), (1, math.inf)),
        **dict.fromkeys(("epochs", "learning_rate", "weight_decay"), (0, math.inf)),
        **dict.fromkeys(("clipnorm", "lr_warmup_steps", "verify_steps"), (0, math.inf)),
        "ema": (0, 0.999999),
        "momentum": (0, 0.999),
        **augmentation.RANGES,
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(
                f"`{name}` must be finite and from {low} to {high}. Received: {name}={value}"
            )
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if choices and value is not None:
            check_choice(value, field.name, choices)
    has_pairs = bool(config.verify_bin or (config.verify_images and config.verify_pairs))
    if has_pairs != bool(config.verify_steps):
        raise ValueError(
            "`verify_steps` above 0 and either `verify_bin` or both `verify_images` and "
            f"`verify_pairs` belong together. Received: verify_steps={config.verify_steps}, "
            f"verify_bin={config.verify_bin!r}, verify_images={config.verify_images!r}, "
            f"verify_pairs={config.verify_pairs!r}"
        )
    if config.jit and config.shard_classes:
        raise ValueError(
            "`jit` cannot compile what replicas tell each other in the middle of a step. "
            "Received: jit=True, shard_classes=True"
        )


def planned_steps(config: TrainConfig, num_images: int) -> int:
    """The number of optimizer steps that the settings ask for."""
    if config.epochs > 0:
        return max(1, round(config.epochs * num_images / config.batch_size))
    return config.total_steps


def versions() -> dict[str, str]:
    """Of what the result depends on."""
    return {
        "keras_sphereface": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def data_checksum(info: records.DatasetInfo) -> str:
    """One checksum for all shards, which tells records apart whatever their path."""
    joined = "".join(shard.sha256 for shard in info.shards)
    return hashlib.sha256(joined.encode()).hexdigest()


def fingerprint(config: TrainConfig, info: records.DatasetInfo) -> str:
    """A text for settings, but for paths, and records; others have another."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in PATHS}
    return json.dumps([settings, data_checksum(info)], sort_keys=True)


def save_settings(
    config: TrainConfig, info: records.DatasetInfo, strategy: tf.distribute.Strategy, step: int
) -> None:
    """Write config.yaml, and run.json: the data's checksum, and with what each start was made."""
    workdir = Path(config.workdir)
    with atomic_file(workdir / SETTINGS_FILE) as partial:
        save_config(config, partial)
    path = workdir / RUN_FILE
    starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if step else []
    start = {
        "step": step,
        "devices": strategy.num_replicas_in_sync,
        "workers": num_workers(strategy),
        "versions": versions(),
    }
    run = {"data_checksum": data_checksum(info), "starts": [*starts, start]}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


def check_same_run(
    config: TrainConfig, info: records.DatasetInfo, strategy: tf.distribute.Strategy
) -> None:
    """Refuse to continue a run that had other settings or other data.

    With `worker_shards` the number of workers must be the same too: each has a place of its own
    in its own shards.

    Raises:
        ValueError: with what differs, or if the run began with the other Keras.
    """
    workdir = Path(config.workdir)
    before = dataclasses.asdict(read_config(TrainConfig, workdir / SETTINGS_FILE))
    run = json.loads((workdir / RUN_FILE).read_text(encoding="utf-8"))
    keras_before = run["starts"][-1]["versions"]["keras"]
    if not compat.reads_checkpoints_of(keras_before):
        raise ValueError(
            "Checkpoints of Keras 2 and 3 differ: a run goes on with the one that it began with. "
            "Weights go from one to the other as `.weights.h5`. "
            f"Received: keras={keras_before} before, keras={keras.__version__} now"
        )
    before["data_checksum"] = run["data_checksum"]
    now = {**dataclasses.asdict(config), "data_checksum": data_checksum(info)}
    if config.worker_shards:
        before["workers"] = run["starts"][-1]["workers"]
        now["workers"] = num_workers(strategy)
    differences = [
        f"{name}: {before.get(name)!r} before, {value!r} now"
        for name, value in now.items()
        if name not in MAY_CHANGE and before.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{workdir} holds a run with other settings; choose another `workdir`. "
            f"Received: {'; '.join(differences)}"
        )
