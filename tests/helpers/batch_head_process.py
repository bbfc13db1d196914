"""Heads of the whole batch on two logical devices, of which one has more rows, and on one."""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.heads.registry import head_class

C, D = 4, 5
LABELS = np.array([0, 1, 0, 1, 2, 0])
ROWS = (4, 2)  # of each device
EMBEDDINGS = np.random.default_rng(0).normal(size=(len(LABELS), D))
FIT = {"batch_size": len(LABELS), "epochs": 4, "shuffle": False, "verbose": 0}


def make(kind, dtype):
    initializer = keras.initializers.LecunUniform(seed=1)
    settings = {} if "triplet" in kind else {"kernel_initializer": initializer}
    return head_class(kind)(C, dtype=dtype, **settings)


def assessed(head, embeddings, labels):
    """Losses, right answers, cosines, and the gradient by the embeddings of the mean loss."""
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        found = head.compute_losses(labels, head(embeddings, training=True))
        loss = tf.reduce_sum(found.losses) / len(LABELS)
    return [*found, tape.gradient(loss, embeddings)]


def by_replicas(strategy, kind):
    """What `assessed` gives, in the order of the rows, and the centers if there are any."""
    with strategy.scope():
        head = make(kind, "float64")
        head.build((None, D))
    count = strategy.num_replicas_in_sync
    ends = np.cumsum(ROWS)[:-1] if count > 1 else []

    def part(array):
        parts = np.split(array, ends)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    run = tf.function(lambda *of: strategy.run(lambda *own: assessed(head, *own), of))
    values = run(part(EMBEDDINGS), part(LABELS))
    local = strategy.experimental_local_results
    found = [np.concatenate([np.atleast_1d(v) for v in local(value)]) for value in values]
    return [*found, *([head.centers.numpy()] if hasattr(head, "centers") else [])]


def fitted(strategy, kind):
    """All weights after a `fit`."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        head = make(kind, "float32")
        model = keras.Sequential([keras.Input((D,)), keras.layers.Dense(D), head])
        model.compile(keras.optimizers.SGD(0.1), loss=head.loss, jit_compile=False)
    model.fit(EMBEDDINGS.astype(np.float32), LABELS, **FIT)
    return model.get_weights()


def main(kind, out):
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    found = {}
    for count in (1, 2):
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
        for name, values in (("run", by_replicas), ("fit", fitted)):
            for i, value in enumerate(values(strategy, kind)):
                found[f"{count} {name} {i}"] = value
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
