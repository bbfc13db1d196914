"""Trains under `keras.distribution` on JAX and writes losses and weights; a process of its own.

python -m tests.helpers.keras_distribution_process FOLDER LAYOUT

LAYOUT is "one" (device), "data" (each batch over two devices) or "classes" (the class weights over
two devices, with nothing of this package). The two devices are halves of a CPU, by XLA_FLAGS.
"""

import sys
from pathlib import Path

import jax
import keras
import numpy as np

from keras_sphereface import EmbeddingClassifier
from keras_sphereface.heads import make_head

B, IN, D, C, STEPS = 8, 6, 4, 10, 3
HEADS = ("asoftmax", "sphereface2", "softmax+contrastive", "softmax+center")


def distribute(layout: str) -> None:
    devices = keras.distribution.list_devices("cpu")
    assert len(devices) == 2, devices
    if layout == "data":
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    if layout == "classes":
        mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "classes"], devices)
        layouts = keras.distribution.LayoutMap(mesh)
        layouts[".*head/kernel"] = (None, "classes")
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
        )


def main(folder: Path, layout: str) -> None:
    distribute(layout)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(B * STEPS, IN)).astype("float32")
    labels = rng.integers(0, C, B * STEPS)
    results = {}
    for kind in HEADS:
        start = keras.initializers.LecunUniform(seed=1)
        head = make_head(kind, C, name="head", kernel_initializer=start)
        backbone = keras.Sequential([keras.Input((IN,)), keras.layers.Dense(D)])
        backbone.set_weights([rng.normal(size=(IN, D)), np.zeros(D)])
        model = EmbeddingClassifier(backbone, head)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9))
        history = model.fit(inputs, labels, batch_size=B, shuffle=False, verbose=0, epochs=2)
        results[f"{kind} loss"] = np.array(history.history["loss"])
        results[f"{kind} kernel"] = np.asarray(head.kernel.value)
        results[f"{kind} backbone"] = np.asarray(backbone.get_weights()[0])
        results[f"{kind} step"] = np.asarray(head.step.value)
        shards = head.kernel.value.addressable_shards
        results[f"{kind} widths"] = np.array([shard.data.shape[1] for shard in shards])
    assert jax.device_count() == 2
    np.savez(folder / f"{layout}.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
