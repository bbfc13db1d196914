"""A training in a process of its own, on logical devices; it may kill itself at a given moment."""

import json
import os
import signal
import sys

import keras
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.training import checkpoints
from keras_sphereface.training.train import train
from tests.helpers.small_training import one_layer


def penalised(input_shape, embedding_size, seed):
    """A network whose loss depends on what its layer gives."""
    penalty = keras.regularizers.L2(0.5)
    return one_layer(input_shape, embedding_size, seed, activity_regularizer=penalty)


class StopAfter(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.model.stop_training = True


class KillAfter(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_before_in_place(step):
    """Die with the checkpoint of this step written, under its hidden name."""
    commit_directory = checkpoints.commit_directory

    def put_or_die(target):
        if target.name.endswith(f"{step:08d}"):
            os.kill(os.getpid(), signal.SIGKILL)
        commit_directory(target)

    checkpoints.commit_directory = put_or_die


def main(devices, stop_after, kill_after, kill_in_checkpoint, settings):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    if kill_in_checkpoint:
        kill_before_in_place(kill_in_checkpoint)
    train(TrainConfig(**settings), callbacks=[StopAfter(stop_after), KillAfter(kill_after)])


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
