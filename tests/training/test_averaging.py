"""The mean of a run's checkpoints, and the statistics of batch normalization for it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config import AverageConfig
from keras_sphereface.export import load_backbone, open_network
from keras_sphereface.training import average_checkpoints, recompute_batch_norm, train
from keras_sphereface.training.averaging import checkpoints_of, give_mean_weights
from keras_sphereface.utils import compat
from tests.helpers.small_training import small_config

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 4, 4, 2)).astype(np.float32)


def normalized_network():
    network = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Flatten(),
        ]
    )
    network.set_weights([np.full(2, value, np.float32) for value in (1, 0, 7, 9)])
    return network


def test_batch_norm_has_the_means_over_the_batches():
    network = normalized_network()
    recompute_batch_norm(network, map(tf.constant, IMAGES))
    layer = network.layers[0]
    axes = (1, 2, 3)
    np.testing.assert_allclose(layer.moving_mean, IMAGES.mean(axes).mean(0), atol=1e-6)
    # Keras 2 estimates the variance of the population from that of a batch of 128 pixels.
    correction = 1 if compat.KERAS_3 else 128 / 127
    variance = correction * IMAGES.var(axes).mean(0)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    assert layer.momentum == 0.9


def test_a_layer_that_is_frozen_keeps_its_statistics():
    network = normalized_network()
    network.layers[0].trainable = False
    recompute_batch_norm(network, map(tf.constant, IMAGES))
    np.testing.assert_array_equal(network.layers[0].moving_mean, [7, 7])


def test_only_checkpoints_that_are_there_are_averaged(tmp_path):
    for step in (0, 2, 4, 6):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    assert [path.name[-1] for path in checkpoints_of(tmp_path)] == ["2", "4", "6"]
    assert [path.name[-1] for path in checkpoints_of(tmp_path, [6, 4])] == ["4", "6"]
    with pytest.raises(FileNotFoundError, match=r"\[0, 2, 4, 6\].*Received: steps=\(5,\)"):
        checkpoints_of(tmp_path, (5,))
    with pytest.raises(ValueError, match=r"two checkpoints or more.*Received: steps \[2\]"):
        checkpoints_of(tmp_path, (2,))


def test_a_run_that_has_not_ended_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has ended, which holds network\.keras"):
        average_checkpoints(AverageConfig(workdir=str(tmp_path), out=str(tmp_path / "out")))


def conv_and_norm(input_shape, embedding_size, seed):
    """A network with batch normalization."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(4, 5, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(embedding_size),
        ]
    )


class Kernels(keras.callbacks.Callback):
    """The first weights of the network after each step."""

    def on_train_begin(self, logs=None):
        self.values = {}

    def on_train_batch_end(self, batch, logs=None):
        self.values[batch + 1] = self.model.get_weights()[0]


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_the_mean_of_a_run_is_exported(records_folder, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    settings = {"keep_checkpoints": 3, "learning_rate": 0.5, "checkpoint_steps": 2}
    seen = Kernels()
    train(small_config(records_folder, run, **settings), conv_and_norm, [seen])
    assert [path.name[-1] for path in checkpoints_of(run)] == ["2", "4", "6"]
    average_checkpoints(AverageConfig(workdir=str(run), out=str(out), steps=(4, 6), batch_size=10))
    averaged = load_backbone(out / "network.keras")
    kernels = [seen.values[step] for step in (4, 6)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4
    np.testing.assert_allclose(averaged.get_weights()[0], np.mean(kernels, axis=0), atol=1e-6)
    # The statistics are those of the mean network, not the mean of those of the checkpoints.
    recomputed = averaged.get_weights()
    give_mean_weights(averaged, checkpoints_of(run, (4, 6)))
    assert np.abs(recomputed[4] - averaged.get_weights()[4]).max() > 1e-4
    averaged.set_weights(recomputed)
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 24, 3), np.uint8)
    expected = averaged((images.astype(np.float32) - 127.5) / 128, training=False)
    np.testing.assert_allclose(open_network(out / "export")(images), expected, atol=1e-4)


@pytest.mark.slow
def test_checkpoints_of_another_network_are_refused(records_folder, tmp_path):
    tf.train.Checkpoint(backbone=normalized_network()).write(str(tmp_path / "one" / "weights"))
    other = conv_and_norm((28, 24, 3), 4, 0)
    with pytest.raises(ValueError, match="must be a checkpoint of the network of its run"):
        give_mean_weights(other, [tmp_path / "one"])
