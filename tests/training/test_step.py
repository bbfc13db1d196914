"""The training step: micro-batches, clipping, sharded classes, averages, precision, XLA."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.training.train import train
from tests.helpers.small_training import (
    StopAfter,
    all_weights,
    assert_same_state,
    checkpoint,
    small_config,
    state,
    trained_in_memory,
    without_bias,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.full)])
def test_micro_batches_give_the_same_weights(records_folder, count):
    settings = {"precision": "float64", "clipnorm": 0.5}
    whole, accumulated = (
        all_weights(trained_in_memory(records_folder, accumulate_steps=parts, **settings))
        for parts in (1, count)
    )
    np.testing.assert_allclose(accumulated, whole, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def one_update(records_folder):
    """The change of all weights by one update without momentum and decay, by `clipnorm`."""
    settings = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    settings |= {"precision": "float64", "total_steps": 1}
    start = all_weights(trained_in_memory(records_folder, steps=0, **settings))
    return {
        clipnorm: all_weights(
            trained_in_memory(records_folder, steps=1, clipnorm=clipnorm, **settings)
        )
        - start
        for clipnorm in (0.0, 1e-3, 1e6)
    }


def test_a_clipped_update_has_length_rate_times_clipnorm(one_update):
    assert np.linalg.norm(one_update[1e-3]) == pytest.approx(0.01 * 1e-3, rel=1e-9)
    assert np.linalg.norm(one_update[0.0]) > 0.01 * 1e-2


def test_clipping_keeps_the_direction(one_update):
    clipped, free = (one_update[clipnorm] for clipnorm in (1e-3, 0.0))
    np.testing.assert_allclose(
        clipped / np.linalg.norm(clipped), free / np.linalg.norm(free), atol=1e-9
    )


def test_a_gradient_that_is_short_enough_is_not_clipped(one_update):
    np.testing.assert_allclose(one_update[1e6], one_update[0.0], rtol=1e-9, atol=1e-15)


# The optimizers of Keras have their constants, such as the momentum, in float32 only.
@pytest.mark.parametrize(("optimizer", "tolerance"), [("sgd", 1e-8), ("adam", 1e-6)])
def test_sharded_classes_on_one_device_change_nothing(records_folder, optimizer, tolerance):
    """Keras updates shared weights, but rules of this package those that are sharded."""
    settings = {"optimizer": optimizer, "precision": "float64", "clipnorm": 0.5}
    whole, sharded = (
        all_weights(trained_in_memory(records_folder, shard_classes=shard, **settings))
        for shard in (False, True)
    )
    np.testing.assert_allclose(sharded, whole, rtol=0, atol=tolerance)


def test_compilation_with_xla_changes_nothing(records_folder):
    settings = {"accumulate_steps": 2}
    plain, compiled = (
        all_weights(trained_in_memory(records_folder, jit=jit, **settings)) for jit in (False, True)
    )
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-5)


def test_weights_that_do_not_reach_the_loss_are_refused(records_folder):
    def backbone(input_shape, embedding_size, seed):
        class Unused(keras.layers.Dense):
            def call(self, inputs):
                return tf.stop_gradient(super().call(inputs))

        return keras.Sequential(
            [keras.Input(input_shape), keras.layers.Flatten(), Unused(embedding_size)]
        )

    with pytest.raises(ValueError, match="Every trainable weight must reach the loss"):
        trained_in_memory(records_folder, backbone, steps=1)


class Kernels(keras.callbacks.Callback):
    """The weights of `without_bias` at the start and after every step."""

    def on_train_begin(self, logs=None):
        self.values = [self.model.get_weights()[0]]

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(self.model.get_weights()[0])


def exported_kernel(workdir):
    """The weights of `without_bias` in its SavedModel."""
    reader = tf.train.load_checkpoint(str(workdir / "export" / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    (name,) = [name for name, shape in shapes.items() if len(shape) == 2]
    return reader.get_tensor(name)


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("decay", [0.5, pytest.param(0.2, marks=pytest.mark.full)])
def test_the_averages_are_exported(records_folder, tmp_path, decay):
    kernels = Kernels()
    settings = {"ema": decay, "learning_rate": 0.1}
    train(small_config(records_folder, tmp_path, **settings), without_bias, [kernels])
    # TensorFlow's averages, which begin faster when they are given the number of the update.
    kernel, updates = tf.Variable(kernels.values[0]), tf.Variable(0)
    averages = tf.train.ExponentialMovingAverage(decay, updates)
    averages.apply([kernel])
    for number, value in enumerate(kernels.values[1:]):
        updates.assign(number)
        kernel.assign(value)
        averages.apply([kernel])
    expected = averages.average(kernel).numpy()
    np.testing.assert_allclose(exported_kernel(tmp_path), expected, atol=1e-6)
    assert np.abs(exported_kernel(tmp_path) - kernels.values[-1]).max() > 1e-3


@pytest.mark.usefixtures("no_export")
def test_training_continues_from_the_weights_and_not_from_their_averages(
    records_folder, verified, tmp_path
):
    with_averages, without = Kernels(), Kernels()
    for name, kernels, settings in (
        ("a", with_averages, {"ema": 0.9, **verified(1)}),
        ("b", without, {}),
    ):
        config = small_config(records_folder, tmp_path / name, learning_rate=0.1, **settings)
        train(config, without_bias, [kernels])
    np.testing.assert_array_equal(with_averages.values, without.values)
    kept = [value for value in state(tmp_path / "a", 6).values() if value.shape == (126, 16)]
    assert any(np.array_equal(value, without.values[-1]) for value in kept)


class LastDtype(keras.callbacks.Callback):
    """The dtype in which the last layer of the network computes."""

    def on_train_begin(self, logs=None):
        self.dtype = self.model.layers[-1].compute_dtype


def embeddings(workdir):
    """The embeddings of fixed images by the exported network."""
    image = np.random.default_rng(0).integers(0, 256, (2, 28, 24, 3), dtype=np.uint8)
    signature = tf.saved_model.load(str(workdir / "export")).signatures["serving_default"]
    return signature(images=tf.constant(image))["embeddings"]


@pytest.mark.usefixtures("no_curves")
def test_mixed_precision_keeps_weights_and_embeddings_in_float32(records_folder, tmp_path):
    dtype = LastDtype()
    settings = {"backbone": "sphereface4", "width": 0.1, "precision": "mixed_bfloat16"}
    train(small_config(records_folder, tmp_path, **settings), callbacks=[dtype])
    assert dtype.dtype == "bfloat16"
    kinds = {value.dtype.name for value in state(tmp_path, 6).values()}
    assert kinds <= {"float32", "float64", "int64"}  # the log is summed in float64
    exported = embeddings(tmp_path)
    assert exported.dtype == tf.float32
    assert np.isfinite(exported).all()
    assert np.isfinite(pd.read_csv(tmp_path / "log.csv")["loss"]).all()
    # Layers of the user's own, made afterwards, are as before.
    assert keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.usefixtures("no_curves")
def test_a_network_in_float64_gives_embeddings_in_float32(records_folder, tmp_path):
    config = small_config(records_folder, tmp_path, precision="float64", total_steps=1)
    train(config, without_bias)
    assert exported_kernel(tmp_path).dtype == np.float64
    assert embeddings(tmp_path).dtype == tf.float32


@pytest.mark.usefixtures("no_export")
def test_settings_that_may_change_change_nothing(records_folder, tmp_path):
    shared = {"precision": "float64"}
    train(small_config(records_folder, tmp_path / "whole", **shared), without_bias)
    stopped = small_config(records_folder, tmp_path / "run", **shared)
    train(stopped, without_bias, [StopAfter(2)])
    changes = {"log_steps": 3, "checkpoint_steps": 5, "accumulate_steps": 2, "jit": True}
    train(small_config(records_folder, tmp_path / "run", **shared, **changes), without_bias)
    states = [state(tmp_path / name, 6) for name in ("run", "whole")]
    assert_same_state(*states, 1e-10)
    assert checkpoint(tmp_path / "run", 5).is_dir()
