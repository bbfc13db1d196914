"""Heads split over logical devices: what is tried, and a process that writes down what comes.

A job is a function of this module by name and its arguments after the number of devices; it
returns arrays by name.
"""

import functools
import gc
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.heads import registry
from keras_sphereface.heads.sharded import ShardedHead
from keras_sphereface.training.solver import adam_update, sgd_update

# 11 classes are 6 + 5 on two devices and 3 + 3 + 3 + 2 on four; in blocks they are 2 or 1 wide.
C, D, B = 11, 5, 12
STEP = 300  # where lambda is 27 by default
PURE = {"base": 0.0, "lambda_min": 0.0}
BLOCKS = {"block_size": 2}

# Triplets have no classes to be split.
KINDS = [kind for kind in registry.HEADS if "triplet" not in kind]

# {name: (kind of head, settings)}, for two devices and for four, where each takes twice as long.
BOTH = {
    **{kind: (kind, {}) for kind in KINDS},
    "softmax in blocks": ("softmax", {"dtype": "float32", **BLOCKS}),
    "asoftmax m=2 caffe": ("asoftmax", {"m": 2, "gradient": "caffe", **PURE, **BLOCKS}),
    "asoftmax m=4 projected": ("asoftmax", {"kernel_norm": "projected", **PURE, **BLOCKS}),
    "sphereface+ drawn": ("sphereface+", {"energy_classes": 7, **BLOCKS}),
    # No block is larger than the batch, so all classes are drawn, in another order.
    "sphereface2 sampled": ("sphereface2", {"sample_rate": 0.5, **BLOCKS}),
    # Exponentials relative to less than the highest logit of all parts would overflow.
    "long embeddings": ("asoftmax", {"length": 1e4}),
    "long embeddings in blocks": ("asoftmax", {"length": 1e4, **BLOCKS}),
}
CASES = {
    2: {
        **BOTH,
        **{f"{kind} in blocks": (kind, {"dtype": "float32", **BLOCKS}) for kind in KINDS},
        "asoftmax m=1": ("asoftmax", {"m": 1}),
        "sphereface2 projected": ("sphereface2", {"kernel_norm": "projected"}),
        "arcface detached": ("arcface", {"gradient": "detached"}),
        "sphereface-r free": ("sphereface-r-v1", {"embedding_norm": "free", **BLOCKS}),
        "sphereface-r soft": ("sphereface-r-v2", {"embedding_norm": "soft"}),
        "softmax sampled": ("softmax", {"sample_rate": 0.5}),
    },
    4: {
        **BOTH,
        "one class or two": ("asoftmax", {"num_classes": 5}),
    },
}
UPDATES, RATE, MOMENTUM = 5, 0.05, 0.9
SLOTS = {"sgd": 1, "adam": 2}
UPDATED = {
    "one block": ("softmax", {"dtype": "float32"}),
    "blocks": ("softmax", {"dtype": "float32", **BLOCKS}),
    "projected": ("asoftmax", {"dtype": "float32", "kernel_norm": "projected", **BLOCKS}),
}
SAVED = {"kind": "softmax", "num_slots": 2, **BLOCKS}

# The own classes are at the same places of every part: what else is drawn tells them apart.
SAMPLED = {"num_classes": 60, "sample_rate": 0.2}
SAMPLED_LABELS = np.array([3, 18, 33, 48])
SAMPLINGS = 100

MANY, MANY_SIZE = 400_001, 32


def make_head(kind, num_classes=C, dtype="float64", length=1.0, **settings):
    """A head that is not built; its start weights are the same each time."""
    del length  # of the embeddings
    initializer = keras.initializers.LecunUniform(seed=1)
    make = registry.head_class(kind)
    return make(num_classes, dtype=dtype, kernel_initializer=initializer, **settings)


def start_bias(num_classes):
    """Biases that are not 0, as a head's own are at the start."""
    return np.linspace(-1, 1, num_classes)


def batch(num_classes=C, dtype="float64", length=1.0, **settings):
    """Embeddings (B, D) and labels (B,), the last class missing."""
    del settings  # of the head
    rng = np.random.default_rng(3)
    labels = rng.integers(0, num_classes - 1, B)
    embeddings = length * (rng.normal(size=(B, D)) + 2 * np.eye(num_classes, D)[labels])
    return embeddings.astype(dtype), labels


def sampled_batch():
    embeddings = np.random.default_rng(2).normal(size=(len(SAMPLED_LABELS), D))
    return embeddings, SAMPLED_LABELS


def update_gradients(name, i):
    """Made-up gradients (..., C) for update i."""
    rng = np.random.default_rng([i, len(name)])
    return rng.normal(size=(D, C) if name == "kernel" else C).astype(np.float32)


def saved_values():
    """What is saved: other numbers in each variable."""
    rng, slots = np.random.default_rng(1), ("", "_slot0", "_slot1")
    shapes = {"kernel": (D, C), "bias": (C,)}
    return {name + slot: rng.normal(size=shapes[name]) for name in shapes for slot in slots}


def mean_loss(losses):
    """A mean in which no two samples count alike, so that none can take the place of another."""
    one = tf.ones((), losses.dtype)
    return tf.reduce_mean(losses * tf.linspace(one, 2 * one, tf.shape(losses)[0]))


@functools.cache
def make_strategy(count):
    """One for all jobs: the collectives of two over the same devices would have the same keys."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def make_split(count, kind, num_slots=0, size=D, **settings):
    """A head that is split over `count` devices."""
    with make_strategy(count).scope():
        split = ShardedHead(make_head(kind, **settings), size, num_slots)
    if split.head.use_bias:
        fill(split, "bias", start_bias(split.head.num_classes))
    return split


def fill(split, name, values):
    """Give a variable the values (..., C)."""
    for start, stop, components in split.local_blocks():
        components[name][..., : stop - start].assign(values[..., start:stop])


def contents(split):
    """{name: (..., C)} of all variables."""
    pieces = {name: [] for name in split.variables}
    for start, stop, components in split.local_blocks():
        for name, component in components.items():
            pieces[name].append(component.numpy()[..., : stop - start])
    return {name: np.concatenate(arrays, axis=-1) for name, arrays in pieces.items()}


def compiled(split, function):
    """`strategy.run` of a function; without autograph, which there is nothing for."""
    return tf.function(
        lambda *arguments: split.strategy.run(function, arguments),
        autograph=False,
        reduce_retracing=True,
    )


def gradients(split, embeddings, labels, step):
    """In replica context: what the head says of a batch, and the gradients of `mean_loss`."""
    weights = split.weights()
    with tf.GradientTape() as tape:
        tape.watch([embeddings, *weights])
        outputs, everyone = split.outputs(embeddings, labels, weights, step)
        assessed = split.head.compute_losses(everyone, outputs)
        loss = mean_loss(assessed.losses)
    sources = [embeddings, split.head.trainable_variables, weights]
    return assessed._asdict(), tape.gradient(loss, sources)


def stepper(split):
    """A function of a global batch and a step -> what `gradients` gives on each replica."""
    strategy, step_of = split.strategy, compiled(split, functools.partial(gradients, split))
    count = strategy.num_replicas_in_sync

    def rows(array):
        parts = np.split(array, count)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def step(embeddings, labels, number):
        values = step_of(rows(embeddings), rows(labels), tf.constant(number, tf.int64))
        local = strategy.experimental_local_results
        return [
            tf.nest.map_structure(lambda value, i=i: local(value)[i].numpy(), values)
            for i in range(count)
        ]

    return step


def found(count, case):
    """What the replicas find: all the same, (n, ...), or each its own, put together."""
    kind, settings = CASES[count][case]
    split = make_split(count, kind, **settings)
    start_kernel = contents(split)["kernel"]
    replicas = stepper(split)(*batch(**settings), STEP)
    assessed, by = zip(*replicas, strict=True)
    by_embeddings, by_small, by_weights = zip(*by, strict=True)
    by_kernels = [g for own in by_weights for g in own[: split.num_blocks]]
    by_biases = [g for own in by_weights for g in own[split.num_blocks :]]
    return {
        "start_kernel": start_kernel,
        **{name: np.stack([one[name] for one in assessed]) for name in assessed[0]},
        "by_embeddings": np.concatenate(by_embeddings),
        "by_kernel": np.concatenate(by_kernels, axis=1),
        **({"by_bias": np.concatenate(by_biases)} if by_biases else {}),
        **{f"by_small_{i}": np.stack(same) for i, same in enumerate(zip(*by_small, strict=True))},
    }


def updated(count, rule, name):
    """All variables after some updates by made-up gradients."""
    kind, settings = UPDATED[name]
    split = make_split(count, kind, SLOTS[rule], **settings)

    def replica_update(step, by_kernel, by_bias):
        ranges = split.blocks(split.shard().replica)
        own = [by_kernel[:, start:stop] for start, stop in ranges]
        own += [by_bias[start:stop] for start, stop in ranges if split.head.use_bias]
        if rule == "sgd":
            how = functools.partial(sgd_update, rate=tf.constant(RATE), momentum=MOMENTUM)
        else:
            how = functools.partial(adam_update, rate=tf.constant(RATE), step=step)
        split.update(own, how)

    update = compiled(split, replica_update)
    for i in range(UPDATES):
        whole = [tf.constant(update_gradients(of, i)) for of in ("kernel", "bias")]
        update(tf.constant(i + 1, tf.int64), *whole)
    return contents(split)


def sampled(count):
    """Of the same batch at S steps: losses (S, B), and gradients by the class weights (S, D, C)."""
    split = make_split(count, "sphereface2", **SAMPLED)
    step, losses, by_kernel = stepper(split), [], []
    for i in range(SAMPLINGS):
        replicas = step(*sampled_batch(), i + 1)
        losses.append(replicas[0][0]["losses"])
        by_kernel.append(np.concatenate([by[2][0] for _, by in replicas], axis=1))
    return {"losses": np.stack(losses), "by_kernel": np.stack(by_kernel)}


def saved(count, folder):
    """Nothing, but files in a folder."""
    split = make_split(count, **SAVED)
    for name, values in saved_values().items():
        fill(split, name, values)
    Path(folder).mkdir()
    split.save(Path(folder))
    return {}


def restored(count, folder):
    """All variables as they are read from a folder."""
    split = make_split(count, **SAVED)
    split.restore(Path(folder))
    return contents(split)


def held(count):
    """With very many classes: the bytes of each replica's variables, and where they are."""
    split = make_split(count, "asoftmax", 1, MANY_SIZE, num_classes=MANY, dtype="float32")
    local = split.strategy.experimental_local_results
    variables = [local(block) for blocks in split.variables.values() for block in blocks]
    own = list(zip(*variables, strict=True))
    return {
        "bytes": np.array([sum(v.numpy().nbytes for v in of) for of in own]),
        "devices": np.array([sorted({v.device for v in of}) for of in own]),
        "said": np.array(split.num_bytes),
    }


def widest(count):
    """With very many classes: the largest dimension of any tensor in a step."""
    split = make_split(count, "asoftmax", 0, MANY_SIZE, num_classes=MANY, dtype="float32")
    step = compiled(split, functools.partial(gradients, split))
    batch_of_replica = tf.zeros((2, MANY_SIZE)), tf.zeros(2, tf.int64)
    graph = step.get_concrete_function(*batch_of_replica, tf.constant(1, tf.int64)).graph
    shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
    return {"size": np.array(max(size or 0 for s in shapes if s.rank for size in s))}


def refused(count, num_classes):
    """What is said to that many classes."""
    try:
        make_split(count, "asoftmax", num_classes=num_classes)
    except ValueError as error:
        return {"message": np.array(str(error))}
    return {"message": np.array("")}


def main(devices, out, jobs):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    # Most graphs run once: to make them faster takes longer, and so do looks for dead ones.
    gc.disable()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    for i, (job, *arguments) in enumerate(jobs):
        np.savez(Path(out) / f"{i}.npz", **globals()[job](devices, *arguments))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
