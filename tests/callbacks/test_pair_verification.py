"""Verification during training: the numbers of the evaluation, and no change of the training."""

import collections
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from keras_sphereface import ASoftmax, FacePreprocessing
from keras_sphereface.callbacks.pair_verification import ROW_FIELDS, PairVerification
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.distribute.launcher import worker_environments
from keras_sphereface.evaluation.embeddings import embed_faces
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.face_pairs import PairSources, load_pair_dataset
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.verification import verify_pairs
from keras_sphereface.export import runtime, saved_model
from keras_sphereface.reporting.metrics_file import as_json
from tests.conftest import ROOT

NUMBERS = ("accuracy_mean", "accuracy_std", "auc", "eer")
SIZE = (112, 96)


def normalized_network(seed=0):
    """A backbone with statistics that training moves."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            keras.layers.Conv2D(4, 7, strides=4),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(8),
        ]
    )


def config(folder, **settings):
    return EvaluateConfig(
        images=str(folder / "images"),
        pairs=str(folder / "pairs.txt"),
        landmarks=str(folder / "landmarks.txt"),
        **settings,
    )


def dataset_of(folder, folds=()):
    files = ("pairs.txt", "images", "landmarks.txt")
    return load_pair_dataset(PairSources(*(str(folder / file) for file in files)), SIZE, folds)


@pytest.fixture(scope="module")
def dataset(faces):
    return dataset_of(faces)


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SIZE, 3)).astype(np.float32)


def fit(backbone, callbacks, epochs=2, model=None, **settings):
    """4 steps an epoch."""
    if model is None:
        head = ASoftmax(3, m=2, kernel_initializer=keras.initializers.LecunUniform(seed=0))
        model = keras.Sequential([backbone, head])
        model.compile(keras.optimizers.SGD(0.01), loss=head.loss, **settings)
    labels = np.arange(8) % 3
    model.fit(images(8), labels, 2, epochs, verbose=0, shuffle=False, callbacks=callbacks)
    return model


def run_loop(callback, start, stop):
    callback.on_train_begin()
    for step in range(start + 1, stop + 1):
        callback.on_train_batch_end(step - 1)
    callback.on_train_end()


class Results(dict):
    """{step: metrics}, and the seconds of each, as `on_result` receives them."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def add(self, step, metrics, seconds):
        self[step] = metrics
        self.seconds.append(seconds)


def assert_same_numbers(metrics, expected):
    """Both as JSON."""
    for name in NUMBERS:
        assert metrics[name] == pytest.approx(expected[name], abs=1e-6)
    for name in ("tar_at_far", "num_pairs", "missing", "accuracy_bounds"):
        assert metrics[name] == expected[name]
    for fold, other in zip(metrics["folds"], expected["folds"], strict=True):
        assert (fold["fold"], fold["accuracy"]) == (other["fold"], other["accuracy"])


@pytest.mark.slow
def test_numbers_are_those_of_the_evaluation(faces, dataset, tmp_path):
    backbone, results = normalized_network(), Results()
    callback = PairVerification(dataset, backbone, 2, batch_size=11, on_result=results.add)
    fit(backbone, [callback], epochs=1)
    model = saved_model.export_savedmodel(backbone, tmp_path / "export")
    (expected,) = evaluate(config(faces, model=str(model), out=str(tmp_path / "out")))
    assert_same_numbers(as_json(results[4]), as_json(expected.verification))
    assert results[2].folds != results[4].folds
    assert all(seconds > 0 for seconds in results.seconds)


@pytest.mark.slow
def test_fit_verifies_every_few_steps_and_at_the_end(dataset, tmp_path):
    backbone, out, results = normalized_network(), tmp_path / "runs" / "pairs.csv", Results()
    callback = PairVerification(dataset, backbone, 3, out=out, on_result=results.add)
    model = fit(backbone, [callback])
    assert list(results) == [3, 6, 8]
    fit(backbone, [callback], epochs=1, model=model)  # steps are counted on
    assert list(results) == [3, 6, 8, 9, 12]
    table = pd.read_csv(out)
    assert tuple(table.columns) == ROW_FIELDS
    assert table["step"].tolist() == list(results)
    for name in (*NUMBERS, "num_pairs"):
        expected = [getattr(metrics, name) for metrics in results.values()]
        np.testing.assert_allclose(table[name], expected, rtol=1e-5)
    np.testing.assert_allclose(table["seconds"], results.seconds, rtol=1e-5)


@pytest.mark.slow
def test_several_steps_in_one_call_are_not_overlooked(dataset):
    backbone, results = normalized_network(), Results()
    callback = PairVerification(dataset, backbone, 3, on_result=results.add)
    fit(backbone, [callback], steps_per_execution=2)
    assert sorted(results) == [4, 6, 8]


@pytest.mark.slow
def test_a_run_that_continues_drops_the_rows_after_its_step(dataset, tmp_path):
    backbone, out = normalized_network(), tmp_path / "pairs.csv"
    callback = PairVerification(dataset, backbone, 2, out=out)
    run_loop(callback, 0, 5)
    assert pd.read_csv(out)["step"].tolist() == [2, 4, 5]
    run_loop(PairVerification(dataset, backbone, 2, out=out), 3, 7)
    assert pd.read_csv(out)["step"].tolist() == [2, 4, 6, 7]
    run_loop(PairVerification(dataset, backbone, 5, out=out), 0, 5)
    assert pd.read_csv(out)["step"].tolist() == [5]


@pytest.mark.slow
def test_model_checkpoint_sees_the_accuracy(dataset, tmp_path):
    backbone, results = normalized_network(), Results()
    path = str(tmp_path / "epoch-{epoch}-{verification_accuracy:.4f}.weights.h5")
    fit(
        backbone,
        [
            PairVerification(dataset, backbone, 4, on_result=results.add),
            keras.callbacks.ModelCheckpoint(
                path, "verification_accuracy", mode="max", save_weights_only=True
            ),
        ],
    )
    names = [f"epoch-{i}-{results[4 * i].accuracy_mean:.4f}.weights.h5" for i in (1, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_an_epoch_without_verification_gets_no_accuracy(dataset):
    callback = PairVerification(dataset, normalized_network(), 2)
    callback.on_train_begin()
    for epoch in (0, 1):
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_end(1 + epoch)
        logs = {}
        callback.on_epoch_end(epoch, logs)
        callback.on_epoch_end(epoch, None)
        assert ("verification_accuracy" in logs) == (epoch == 0)


@pytest.mark.slow
def test_nothing_of_the_training_changes(dataset):
    weights = []
    for verified in (False, True):
        backbone = normalized_network()
        model = fit(backbone, [PairVerification(dataset, backbone, 3)] if verified else [])
        weights.append(model.get_weights())
    for without, with_callback in zip(*weights, strict=True):
        np.testing.assert_array_equal(with_callback, without)


def test_each_image_is_loaded_once_and_one_shape_is_compiled(dataset):
    loaded = collections.Counter()

    def load(key):
        loaded[key] += 1
        return dataset.faces.load(key)

    counting = dataset._replace(faces=Faces(load))
    callback = PairVerification(counting, normalized_network(), 2, batch_size=16)
    run_loop(callback, 0, 5)
    run_loop(callback, 5, 7)
    assert sorted(loaded) == dataset.keys()
    assert set(loaded.values()) == {1}
    assert len(loaded) % 16
    assert callback.embed.experimental_get_tracing_count() == 1


def without(dataset, missing):
    def load(key):
        if key in missing:
            raise MissingFaceError("no such image")
        return dataset.faces.load(key)

    return dataset._replace(faces=Faces(load))


def cut(dataset):
    load = dataset.faces.load
    return dataset._replace(faces=Faces(lambda key: load(key)[:96]))


def test_missing_faces_give_one_warning_and_are_left_out(dataset):
    key, results = dataset.pairs.first[0], Results()
    incomplete = without(dataset, {key})
    callback = PairVerification(incomplete, normalized_network(), 2, on_result=results.add)
    both = zip(dataset.pairs.first, dataset.pairs.second, strict=True)
    affected = sum(key in pair for pair in both)
    message = f"leaves out {affected} of 56 pairs, because 1 image is missing"
    with pytest.warns(UserWarning, match=message) as warned:
        run_loop(callback, 0, 4)
    assert len(warned) == 1
    assert {results[step].num_pairs for step in (2, 4)} == {56 - affected}
    assert results[4].missing == {key: "no such image"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, {*s.pairs.first}), "No pair has both of its faces"),
        (lambda s: s._replace(pairs=s.pairs.in_folds((1,))), "at least 2 folds"),
        (cut, "must take the images as they are, 96 x 96.*Received: .* images of 112 x 96"),
    ],
)
def test_unusable_pairs_are_refused_before_training(dataset, change, message):
    callback = PairVerification(change(dataset), normalized_network(), 2)
    for _ in range(2):  # a second attempt is refused like the first
        with pytest.raises(ValueError, match=message):
            callback.on_train_begin()


@pytest.mark.parametrize("argument", ["every_steps", "batch_size"])
def test_bad_arguments_are_refused(dataset, argument):
    arguments = {"every_steps": 1, argument: 0}
    with pytest.raises(ValueError, match=f"Received: {argument}=0"):
        PairVerification(dataset, normalized_network(), **arguments)


@pytest.mark.parametrize(
    "change", [{"faces": None}, {"templates": {"Ann": [("Ann/1.jpg", "")]}}], ids=str
)
def test_pairs_without_images_are_refused(dataset, change):
    with pytest.raises(ValueError, match="must hold pairs of images"):
        PairVerification(dataset._replace(**change), normalized_network(), 2)


@pytest.mark.parametrize(("value", "received"), [(np.nan, "nan or infinity"), (0.0, "zero")])
def test_useless_embeddings_give_a_warning_and_the_training_goes_on(
    dataset, tmp_path, value, received
):
    backbone, out = normalized_network(), tmp_path / "pairs.csv"
    callback = PairVerification(dataset, backbone, 2, out=out)
    good = backbone.get_weights()
    callback.on_train_begin()
    backbone.set_weights([np.full_like(weight, value) for weight in good])
    callback.on_train_batch_end(0)
    with pytest.warns(UserWarning, match=f"Step 2: no verification.*{received}"):
        callback.on_train_batch_end(1)
    backbone.set_weights(good)
    for batch in (2, 3):
        callback.on_train_batch_end(batch)
    assert pd.read_csv(out)["step"].tolist() == [4]


@pytest.mark.slow
def test_a_model_that_scales_pixels_is_verified_as_it_is_exported(faces, dataset, tmp_path):
    backbone, results = normalized_network(), Results()
    inputs = keras.Input((*SIZE, 3), dtype="uint8")
    model = keras.Model(inputs, ASoftmax(7)(backbone(FacePreprocessing()(inputs))))
    callback = PairVerification(dataset, model, 2, on_result=results.add)
    callback.on_train_begin()
    for batch in range(2):
        callback.on_train_batch_end(batch)
    folder = saved_model.export_savedmodel(model, tmp_path / "export")
    (expected,) = evaluate(config(faces, model=str(folder), out=str(tmp_path / "out")))
    assert_same_numbers(as_json(results[2]), as_json(expected.verification))
    plain = Results()
    callback = PairVerification(dataset, backbone, 1, on_result=plain.add)
    callback.on_train_begin()
    callback.on_train_batch_end(0)
    assert_same_numbers(as_json(results[2]), as_json(plain[1]))


def test_equal_embeddings_are_a_warning(dataset):
    backbone, results = normalized_network(), Results()
    callback = PairVerification(dataset, backbone, 1, on_result=results.add)
    callback.on_train_begin()
    kernel, bias = backbone.layers[-1].get_weights()
    backbone.layers[-1].set_weights([0 * kernel, bias + 1])
    with pytest.warns(UserWarning, match="Step 1: the embeddings of all 65 faces are equal"):
        callback.on_train_batch_end(0)
    assert results[1].accuracy_mean < 0.6


# Replicas whose batches differ, so that their batch-normalization statistics do.
REPLICAS = """
import json, sys, numpy as np, tensorflow as tf
faces, out, kind, index = sys.argv[1:]
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = (
    tf.distribute.MultiWorkerMirroredStrategy() if kind == "workers"
    else tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
from pathlib import Path
from keras_sphereface.callbacks import PairVerification
from keras_sphereface.export import export_savedmodel
from keras_sphereface.reporting.metrics_file import as_json
from keras_sphereface.utils.compat import tf_variable
from tests.callbacks import test_pair_verification as test
with strategy.scope():
    backbone = test.normalized_network()
dataset, results = test.dataset_of(Path(faces)), test.Results()
callback = PairVerification(dataset, backbone, 2, batch_size=13, on_result=results.add)

def batch_of_replica(context):
    return tf.constant(test.images(4, seed=context.replica_id_in_sync_group)) * (
        1.0 + context.replica_id_in_sync_group)

@tf.function
def step(batches):
    strategy.run(lambda batch: backbone(batch, training=True), (batches,))

def statistics():
    return [copy.numpy() for weight in backbone.non_trainable_weights
            for copy in strategy.experimental_local_results(tf_variable(weight))]

callback.on_train_begin()
batches = strategy.experimental_distribute_values_from_function(batch_of_replica)
for number in range(4):
    step(batches)
    before = statistics()
    callback.on_train_batch_end(number)
    np.testing.assert_equal(statistics(), before)
callback.on_train_end()
assert callback.embed.experimental_get_tracing_count() == 1
model = export_savedmodel(backbone, out + "/export" + index)
mean = tf_variable(backbone.non_trainable_weights[0])
written = {"means": [copy.numpy().tolist() for copy in strategy.experimental_local_results(mean)],
           **{step: as_json(metrics) for step, metrics in results.items()}}
Path(out, index + ".json").write_text(json.dumps(written))
"""


def run_replicas(faces, out, kind, environments):
    """The results of a process for each of `environments`, run side by side."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REPLICAS, str(faces), str(out), kind, str(index)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index, environment in enumerate(environments)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    return [json.loads((out / f"{i}.json").read_text()) for i in range(len(processes))]


def assert_replicas_match_the_export(results, faces, out):
    model = out / "export0"
    (expected,) = evaluate(config(faces, model=str(model), out=str(out / "evaluation")))
    first, second = np.concatenate([result["means"] for result in results])
    assert np.abs(first - second).max() > 1e-3
    for result in results:
        assert set(result) == {"2", "4", "means"}
        assert_same_numbers(result["4"], as_json(expected.verification))


@pytest.mark.slow
def test_two_devices_verify_the_exported_network(faces, tmp_path):
    results = run_replicas(faces, tmp_path, "devices", [os.environ])
    assert_replicas_match_the_export(results, faces, tmp_path)


@pytest.mark.full
def test_two_workers_verify_the_exported_network(faces, tmp_path):
    results = run_replicas(faces, tmp_path, "workers", worker_environments(2))
    assert_replicas_match_the_export(results, faces, tmp_path)


@pytest.mark.slow
def test_real_faces_give_the_numbers_of_the_evaluation(real_faces, tmp_path):
    backbone, results = normalized_network(), Results()
    all_pairs = dataset_of(real_faces / "lfw_dev", folds=(6, 7))
    chosen = np.arange(len(all_pairs.pairs.first)) % 4 == 0
    some = all_pairs._replace(pairs=all_pairs.pairs.select(chosen))
    callback = PairVerification(some, backbone, 4, on_result=results.add)
    fit(backbone, [callback], epochs=1)
    network = runtime.open_network(saved_model.export_savedmodel(backbone, tmp_path / "export"))
    embeddings = embed_faces(some.keys(), some.faces.load, network.both_views, 32)
    expected = verify_pairs(some.pairs, embeddings).metrics
    assert results[4].num_pairs == 300
    assert_same_numbers(as_json(results[4]), as_json(expected))
