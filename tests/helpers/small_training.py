"""What the tests of training share: small settings, a network, what a checkpoint holds."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config import TrainConfig

# 30 images of 5 people: an epoch is 5 steps.
SMALL = {
    "backbone": "sphereface4",
    "width": 0.1,
    "embedding_size": 16,
    "batch_size": 6,
    "total_steps": 6,
    "log_steps": 2,
    "checkpoint_steps": 2,
    "learning_rate": 0.01,
    "shift": 2.0,
}


def small_config(folder: Path, workdir: Path, **settings) -> TrainConfig:
    return TrainConfig(data=str(folder), workdir=str(workdir), **{**SMALL, **settings})


def one_layer(input_shape, embedding_size, seed, **settings) -> keras.Model:
    """A network that compiles fast; the settings are those of its layer."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.AveragePooling2D(16),
            keras.layers.Flatten(),
            keras.layers.Dense(
                embedding_size,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
                **settings,
            ),
        ]
    )


def checkpoint(workdir: Path, step: int) -> Path:
    return workdir / "checkpoints" / f"step-{step:08d}"


def state(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Everything that a checkpoint holds, by name: weights, optimizer, averages, counters."""
    folder = checkpoint(workdir, step)
    reader = tf.train.load_checkpoint(str(folder / "weights"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VALUE")]
    found = {name: reader.get_tensor(name) for name in names}
    parts = [np.load(path) for path in sorted(folder.glob("classes-*.npz"))]
    for name in parts[0].files if parts else []:
        found[name] = np.concatenate([part[name] for part in parts], axis=-1)
    return found
