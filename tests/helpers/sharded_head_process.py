"""Class-sharded heads on logical devices: the cases, and a process that writes their values.

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

# Triplets have no classes to be sharded.
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
    # Exponentials relative to less than the highest logit of all shards would overflow.
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

# The target classes are at the same places of every shard; the other classes drawn differ.
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
    """Biases that are not 0, unlike those that a head starts with."""
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
    """The saved values: other numbers in each variable."""
    rng, slots = np.random.default_rng(1), ("", "_slot0", "_slot1")
    shapes = {"kernel": (D, C), "bias": (C,)}
    return {name + slot: rng.normal(size=shapes[name]) for name in shapes for slot in slots}


def mean_loss(losses):
    """A mean that weighs every sample differently, so that none can take the place of another."""
    one = tf.ones((), losses.dtype)
    return tf.reduce_mean(losses * tf.linspace(one, 2 * one, tf.shape(losses)[0]))


@functools.cache
def make_strategy(count):
    """Return one strategy for all jobs: two on the same devices would share collective keys."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def make_sharded(count, kind, num_slots=0, size=D, **settings):
    """A class-sharded head over `count` devices."""
    with make_strategy(count).scope():
        sharded = ShardedHead(make_head(kind, **settings), size, num_slots)
    if sharded.head.use_bias:
        fill(sharded, "bias", start_bias(sharded.head.num_classes))
    return sharded


def fill(sharded, name, values):
    """Give a variable the values (..., C)."""
    for start, stop, components in sharded.local_blocks():
        components[name][..., : stop - start].assign(values[..., start:stop])


def contents(sharded):
    """{name: (..., C)} of all variables."""
    pieces = {name: [] for name in sharded.variables}
    for start, stop, components in sharded.local_blocks():
        for name, component in components.items():
            width = (stop - start) * (sharded.head.num_centers if "kernel" in name else 1)
            pieces[name].append(component.numpy()[..., :width])
    return {name: np.concatenate(arrays, axis=-1) for name, arrays in pieces.items()}


def compiled(sharded, function):
    """`strategy.run` of a function; without autograph, which nothing needs."""
    return tf.function(
        lambda *arguments: sharded.strategy.run(function, arguments),
        autograph=False,
        reduce_retracing=True,
    )


def gradients(sharded, embeddings, labels, step):
    """In replica context: losses of a batch, and the gradients of `mean_loss`."""
    weights = sharded.weights()
    with tf.GradientTape() as tape:
        tape.watch([embeddings, *weights])
        output, _ = sharded.compute_losses(embeddings, labels, weights, step)
        loss = mean_loss(output.losses)
    sources = [embeddings, sharded.head.trainable_variables, weights]
    return output._asdict(), tape.gradient(loss, sources)


def stepper(sharded):
    """A function of a global batch and a step -> what `gradients` gives on each replica."""
    strategy, step_of = sharded.strategy, compiled(sharded, functools.partial(gradients, sharded))
    count = strategy.num_replicas_in_sync

    def rows(array):
        shares = np.split(array, count)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shares[context.replica_id_in_sync_group])
        )

    def step(embeddings, labels, number):
        values = step_of(rows(embeddings), rows(labels), tf.constant(number, tf.int64))
        local = strategy.experimental_local_results
        return [
            tf.nest.map_structure(lambda value, i=i: local(value)[i].numpy(), values)
            for i in range(count)
        ]

    return step


def step_values(count, case):
    """Values of a step on all replicas: equal ones stacked, (n, ...), shards concatenated."""
    kind, settings = CASES[count][case]
    sharded = make_sharded(count, kind, **settings)
    start_kernel = contents(sharded)["kernel"]
    replicas = stepper(sharded)(*batch(**settings), STEP)
    output, by = zip(*replicas, strict=True)
    by_embeddings, by_small, by_weights = zip(*by, strict=True)
    by_kernels = [g for by in by_weights for g in by[: sharded.num_blocks]]
    by_biases = [g for by in by_weights for g in by[sharded.num_blocks :]]
    return {
        "start_kernel": start_kernel,
        **{name: np.stack([one[name] for one in output]) for name in output[0]},
        "by_embeddings": np.concatenate(by_embeddings),
        "by_kernel": np.concatenate(by_kernels, axis=1),
        **({"by_bias": np.concatenate(by_biases)} if by_biases else {}),
        **{f"by_small_{i}": np.stack(same) for i, same in enumerate(zip(*by_small, strict=True))},
    }


def updated(count, rule, name):
    """All variables after some updates by made-up gradients."""
    kind, settings = UPDATED[name]
    sharded = make_sharded(count, kind, SLOTS[rule], **settings)

    def replica_update(step, by_kernel, by_bias):
        ranges = sharded.blocks(sharded.shard().replica)
        by_shard = [by_kernel[:, start:stop] for start, stop in ranges]
        by_shard += [by_bias[start:stop] for start, stop in ranges if sharded.head.use_bias]
        if rule == "sgd":
            update_rule = functools.partial(sgd_update, rate=tf.constant(RATE), momentum=MOMENTUM)
        else:
            update_rule = functools.partial(adam_update, rate=tf.constant(RATE), step=step)
        sharded.update(by_shard, update_rule)

    update = compiled(sharded, replica_update)
    for i in range(UPDATES):
        whole = [tf.constant(update_gradients(of, i)) for of in ("kernel", "bias")]
        update(tf.constant(i + 1, tf.int64), *whole)
    return contents(sharded)


def sampled(count):
    """Of the same batch at S steps: losses (S, B), and gradients by the class weights (S, D, C)."""
    sharded = make_sharded(count, "sphereface2", **SAMPLED)
    step, losses, by_kernel = stepper(sharded), [], []
    for i in range(SAMPLINGS):
        replicas = step(*sampled_batch(), i + 1)
        losses.append(replicas[0][0]["losses"])
        by_kernel.append(np.concatenate([by[2][0] for _, by in replicas], axis=1))
    return {"losses": np.stack(losses), "by_kernel": np.stack(by_kernel)}


def saved(count, folder):
    """Nothing, but files in a folder."""
    sharded = make_sharded(count, **SAVED)
    for name, values in saved_values().items():
        fill(sharded, name, values)
    Path(folder).mkdir()
    sharded.save(Path(folder))
    return {}


def restored(count, folder):
    """All variables as they are read from a folder."""
    sharded = make_sharded(count, **SAVED)
    sharded.restore(Path(folder))
    return contents(sharded)


def held(count):
    """With very many classes: the bytes of each replica's variables, and their devices."""
    sharded = make_sharded(count, "asoftmax", 1, MANY_SIZE, num_classes=MANY, dtype="float32")
    local = sharded.strategy.experimental_local_results
    variables = [local(block) for blocks in sharded.variables.values() for block in blocks]
    by_replica = list(zip(*variables, strict=True))
    return {
        "bytes": np.array([sum(v.numpy().nbytes for v in group) for group in by_replica]),
        "devices": np.array([sorted({v.device for v in group}) for group in by_replica]),
        "reported": np.array(sharded.num_bytes),
    }


def widest(count):
    """With very many classes: the largest dimension of any tensor in a step."""
    sharded = make_sharded(count, "asoftmax", 0, MANY_SIZE, num_classes=MANY, dtype="float32")
    step = compiled(sharded, functools.partial(gradients, sharded))
    batch_of_replica = tf.zeros((2, MANY_SIZE)), tf.zeros(2, tf.int64)
    graph = step.get_concrete_function(*batch_of_replica, tf.constant(1, tf.int64)).graph
    shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
    return {"size": np.array(max(size or 0 for s in shapes if s.rank for size in s))}


def refused(count, num_classes):
    """Return the error message for that many classes."""
    try:
        make_sharded(count, "asoftmax", num_classes=num_classes)
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
