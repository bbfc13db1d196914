"""Small settings, networks, steps, and the contents of a checkpoint, for tests of training."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.data import records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.logging import LOG_FIELDS
from keras_sphereface.training.train import precision
from keras_sphereface.training.trainer import Trainer

# 30 images of 5 identities: an epoch is 5 steps.
SMALL = {
    "backbone": "tests.helpers.small_training:one_layer",
    "embedding_size": 16,
    "batch_size": 6,
    "total_steps": 6,
    "log_steps": 2,
    "checkpoint_steps": 2,
    "learning_rate": 0.01,
    "lr_warmup_steps": 0,
    "clipnorm": 0.0,
    "gamma": 0.12,
    "shift": 2.0,
}
# The columns of the log that do not depend on the clock.
SAME_COLUMNS = [name for name in LOG_FIELDS if name != "images_per_second"]


def small_config(folder: Path, workdir: Path, **settings) -> TrainConfig:
    return TrainConfig(data=str(folder), workdir=str(workdir), **{**SMALL, **settings})


def one_layer(input_shape, embedding_size, seed, **settings) -> keras.Model:
    """A network that compiles fast: 126 means of the image and a layer, with its settings."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.AveragePooling2D(input_shape[0] // 7),
            keras.layers.Flatten(),
            keras.layers.Dense(
                embedding_size,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
                **settings,
            ),
        ]
    )


def without_bias(input_shape, embedding_size, seed) -> keras.Model:
    """`one_layer` whose weights are one kernel, which is regularized."""
    regularizer = keras.regularizers.L2(0.01)
    return one_layer(
        input_shape, embedding_size, seed, use_bias=False, kernel_regularizer=regularizer
    )


def wide(input_shape, embedding_size, seed):
    """A network of 128 channels, with batch normalization between them."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(128, 3, strides=16)(inputs)
    x = keras.layers.Conv2D(128, 3, padding="same")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True)(x)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.Conv2D(128, 3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(embedding_size)(x))


def penalized(input_shape, embedding_size, seed) -> keras.Model:
    """`one_layer` whose loss depends on its embeddings."""
    penalty = keras.regularizers.L2(0.5)
    return one_layer(input_shape, embedding_size, seed, activity_regularizer=penalty)


def trained_in_memory(folder: Path, backbone=without_bias, steps: int = 6, **settings) -> Trainer:
    """The trainer after some steps, without a run: nothing is written."""
    config = small_config(folder, "", **settings)
    strategy = make_strategy()
    with precision(config.precision):
        trainer = build_trainer(config, records.read_info(folder), strategy, backbone)
    step = build_step(config, trainer)
    batches = iter(distributed_batches(config, strategy, 0))
    for _ in range(steps):
        step(batches)
    return trainer


def all_weights(trainer: Trainer) -> np.ndarray:
    """The weights of `without_bias` and of the classes, as one vector."""
    if trainer.sharded_head:
        ((_, _, components),) = trainer.sharded_head.local_blocks()
        kernel = components["kernel"].numpy()
    else:
        kernel = np.asarray(trainer.head.trainable_variables[-1])
    return np.concatenate([trainer.backbone.get_weights()[0].ravel(), kernel.ravel()])


def checkpoint(workdir: Path, step: int) -> Path:
    return workdir / "checkpoints" / f"step-{step:08d}"


def state(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Everything that a checkpoint holds, by name: weights, optimizer, averages, counters."""
    folder = checkpoint(workdir, step)
    reader = tf.train.load_checkpoint(str(folder / "weights"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VALUE")]
    values = {name: reader.get_tensor(name) for name in names}
    shards = [np.load(path) for path in sorted(folder.glob("classes-*.npz"))]
    for name in shards[0].files if shards else []:
        values[name] = np.concatenate([shard[name] for shard in shards], axis=-1)
    return values


def assert_same_state(one: dict[str, np.ndarray], two: dict[str, np.ndarray], tolerance: float):
    assert set(one) == set(two)
    assert len(one) > 5
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=0, atol=tolerance, err_msg=name)


class StopAfter(keras.callbacks.Callback):
    """Ends a training after a step."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.model.stop_training = True
