"""A fresh process with two logical devices, for `tests/test_contract.py`.

    python -m tests.helpers.contract_process FOLDER

It loads every .keras file of FOLDER and writes predictions.npz; it fits every head on one device
and on two, and writes replicas.npz.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_sphereface  # noqa: F401  (it registers the classes)


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """Outputs of every saved model, loaded without custom objects, and a number it kept."""
    with np.load(folder / "inputs.npz") as inputs:
        arrays = dict(inputs)
    values = {}
    for path in sorted(folder.glob("*.keras")):
        model = keras.models.load_model(path)
        values[path.stem] = np.asarray(model.predict(arrays[path.stem], verbose=0))
        step = getattr(model.layers[-1], "step", None)
        values[f"{path.stem} step"] = np.array(-1 if step is None else int(step.numpy()))
    return values


def fits(strategy: tf.distribute.Strategy) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight of every head after three steps of `fit`."""
    from tests.helpers.contract_cases import CASES, fit, head_model

    for case in CASES:
        if "sampled" in case:
            continue  # replicas draw different classes
        with strategy.scope():
            model = head_model(case)
        fit(model, epochs=3)
        for i, weight in enumerate(model.get_weights()):
            yield f"fit {case} {i}", weight
        yield f"steps {case}", np.array(int(model.layers[-1].step.numpy()))


def classifiers(strategy: tf.distribute.Strategy) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of an `EmbeddingClassifier`, not built before its fit, and what it reports."""
    from keras_sphereface import EmbeddingClassifier
    from tests.helpers.contract_cases import B, D, case_batch, make_case

    with strategy.scope():
        dense = keras.layers.Dense(D, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
        model = EmbeddingClassifier(keras.Sequential([dense]), make_case("asoftmax"))
        model.compile(keras.optimizers.SGD(0.01))
    history = model.fit(*case_batch(), batch_size=B, epochs=3, shuffle=False, verbose=0).history
    for i, weight in enumerate(model.trainable_weights):  # not those of the metrics
        yield f"classifier {i}", weight.numpy()
    yield "classifier step", np.array(int(model.head.step.numpy()))
    for name in ("loss", "accuracy", "target_angle", "embedding_norm", "annealing_lambda"):
        yield f"classifier {name}", np.array(history[name])


# Rows of the two devices in `uneven_batches`.
ROWS = (14, 10)


def uneven_batches(strategy: tf.distribute.Strategy) -> Iterator[tuple[str, np.ndarray]]:
    """Losses and gradients where one device has more rows, in the order of the rows."""
    from tests.helpers.contract_cases import KINDS_OF_GLOBAL_BATCH, B, D, case_batch, make_case

    batch = [array.astype("float64" if array.ndim > 1 else "int64") for array in case_batch()]
    ends = np.cumsum(ROWS)[:-1] if strategy.num_replicas_in_sync > 1 else []
    local = strategy.experimental_local_results

    def distributed(array):
        rows = np.split(array, ends)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(rows[context.replica_id_in_sync_group])
        )

    for kind in KINDS_OF_GLOBAL_BATCH:
        with strategy.scope():
            head = make_case(kind, dtype="float64")
            head.build((None, D))

        def replica(embeddings, labels, head=head):
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                output = head.compute_losses(embeddings, labels, training=True)
                loss = tf.reduce_sum(output.losses) / B
            return [*output, tape.gradient(loss, embeddings)]

        run = tf.function(lambda *arrays, replica=replica: strategy.run(replica, arrays))
        for i, value in enumerate(run(*map(distributed, batch))):
            rows = [np.atleast_1d(part) for part in local(value)]
            yield f"uneven {kind} {i}", np.concatenate(rows)
        for name in ("centers", "t", "norm_mean", "norm_std", "adaptive_scale"):
            if hasattr(head, name):
                yield f"uneven {kind} {name}", getattr(head, name).numpy()


def augmentation(strategy: tf.distribute.Strategy) -> Iterator[tuple[str, np.ndarray]]:
    """Steps of `FacePreprocessing` in a fit, and images that its replicas drew."""
    from tests.helpers.contract_cases import IMAGES, fit_images, image_model

    with strategy.scope():
        model = image_model()
    fit_images(model, epochs=3)
    layer = model.layers[0]
    yield "steps preprocessing", np.array(int(layer.step.numpy()))
    draw = tf.function(lambda: strategy.run(lambda: layer(tf.constant(IMAGES[:1]), training=True)))
    local = strategy.experimental_local_results
    drawn = [image.numpy() for _ in range(2) for image in local(draw())]
    yield "different draws", np.array(len(np.unique(np.concatenate(drawn), axis=0)))


def main(folder: Path) -> None:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    # Most graphs run once: optimizing them takes longer than running them.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    np.savez(folder / "predictions.npz", **predictions(folder))
    values = {}
    for count in (1, 2):
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
        for job in (fits, classifiers, uneven_batches, augmentation):
            values |= {f"{count} {name}": value for name, value in job(strategy)}
    np.savez(folder / "replicas.npz", **values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
