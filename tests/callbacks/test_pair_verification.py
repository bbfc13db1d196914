"""Pairs are verified during training, with the numbers of the evaluation, and leave no trace."""

import collections
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from keras_sphereface import ASoftmax
from keras_sphereface.callbacks.pair_verification import ROW_FIELDS, PairVerification
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.distribute.launcher import worker_environments
from keras_sphereface.evaluation import embeddings, face_pairs, verification
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.export import runtime, saved_model
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


def face_set_of(folder, folds=()):
    names = {"images": "images", "pairs": "pairs.txt", "landmarks": "landmarks.txt"}
    paths = face_pairs.PairSources(**{name: str(folder / file) for name, file in names.items()})
    return face_pairs.face_set(paths, SIZE, folds)


@pytest.fixture
def face_set(faces):
    return face_set_of(faces)


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


def assert_same_numbers(metrics, expected):
    assert metrics["accuracy_per_fold"] == expected["accuracy_per_fold"]
    for name in NUMBERS:
        assert metrics[name] == pytest.approx(expected[name], abs=1e-6)
    for name in ("folds", "tar_at_far", "num_pairs", "missing", "accuracy_bounds"):
        assert metrics[name] == expected[name]


def test_numbers_are_those_of_the_evaluation(faces, face_set, tmp_path):
    backbone, seen = normalized_network(), {}
    callback = PairVerification(face_set, backbone, 2, batch_size=11, on_result=seen.__setitem__)
    fit(backbone, [callback], epochs=1)
    model = saved_model.export_savedmodel(backbone, tmp_path / "export")
    (expected,) = evaluate(config(faces, model=str(model), out=str(tmp_path / "out")))
    assert_same_numbers(seen[4], expected)
    of_files = {"model", "set", "criterion", "variants", "doubts"}
    assert set(seen[4]) == {*expected, "seconds"} - of_files
    assert seen[2]["thresholds"] != seen[4]["thresholds"]


def test_fit_verifies_every_few_steps_and_at_the_end(face_set, tmp_path):
    backbone, out, seen = normalized_network(), tmp_path / "runs" / "pairs.csv", []
    callback = PairVerification(
        face_set, backbone, 3, out=out, on_result=lambda step, metrics: seen.append(step)
    )
    model = fit(backbone, [callback])
    assert seen == [3, 6, 8]
    fit(backbone, [callback], epochs=1, model=model)  # steps are counted on
    assert seen == [3, 6, 8, 9, 12]
    table = pd.read_csv(out)
    assert tuple(table.columns) == ROW_FIELDS
    assert table["step"].tolist() == seen
    assert set(table["num_pairs"]) == {56}
    assert (table["seconds"] > 0).all()


def test_several_steps_in_one_call_are_not_overlooked(face_set):
    backbone, seen = normalized_network(), {}
    callback = PairVerification(face_set, backbone, 3, on_result=seen.__setitem__)
    fit(backbone, [callback], steps_per_execution=2)
    assert sorted(seen) == [4, 6, 8]


def test_a_run_that_continues_drops_the_rows_after_its_step(face_set, tmp_path):
    backbone, out = normalized_network(), tmp_path / "pairs.csv"
    callback = PairVerification(face_set, backbone, 2, out=out)
    run_loop(callback, 0, 5)
    assert pd.read_csv(out)["step"].tolist() == [2, 4, 5]
    run_loop(PairVerification(face_set, backbone, 2, out=out), 3, 7)
    assert pd.read_csv(out)["step"].tolist() == [2, 4, 6, 7]
    run_loop(PairVerification(face_set, backbone, 5, out=out), 0, 5)
    assert pd.read_csv(out)["step"].tolist() == [5]


def test_model_checkpoint_sees_the_accuracy(face_set, tmp_path):
    backbone, seen = normalized_network(), {}
    path = str(tmp_path / "epoch-{epoch}-{verification_accuracy:.4f}.weights.h5")
    fit(
        backbone,
        [
            PairVerification(face_set, backbone, 4, on_result=seen.__setitem__),
            keras.callbacks.ModelCheckpoint(
                path, "verification_accuracy", mode="max", save_weights_only=True
            ),
        ],
    )
    names = [f"epoch-{i}-{seen[4 * i]['accuracy_mean']:.4f}.weights.h5" for i in (1, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_an_epoch_without_verification_gets_no_accuracy(face_set):
    callback = PairVerification(face_set, normalized_network(), 2)
    callback.on_train_begin()
    for epoch in (0, 1):
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_end(1 + epoch)
        logs = {}
        callback.on_epoch_end(epoch, logs)
        callback.on_epoch_end(epoch, None)
        assert ("verification_accuracy" in logs) == (epoch == 0)


def test_nothing_of_the_training_changes(face_set):
    kept = []
    for verified in (False, True):
        backbone = normalized_network()
        model = fit(backbone, [PairVerification(face_set, backbone, 3)] if verified else [])
        kept.append(model.get_weights())
    for without, with_callback in zip(*kept, strict=True):
        np.testing.assert_array_equal(with_callback, without)


def test_each_image_is_loaded_once_and_one_shape_is_compiled(face_set):
    loaded = collections.Counter()

    def load(key):
        loaded[key] += 1
        return face_set.faces.load(key)

    counting = face_set._replace(faces=face_pairs.Faces(load))
    callback = PairVerification(counting, normalized_network(), 2, batch_size=16)
    run_loop(callback, 0, 5)
    run_loop(callback, 5, 7)
    assert sorted(loaded) == face_set.keys()
    assert set(loaded.values()) == {1}
    assert len(loaded) % 16
    assert callback.embed.experimental_get_tracing_count() == 1


def without(face_set, gone):
    def load(key):
        if key in gone:
            raise face_pairs.MissingFaceError("no such image")
        return face_set.faces.load(key)

    return face_set._replace(faces=face_pairs.Faces(load))


def cut(face_set):
    load = face_set.faces.load
    return face_set._replace(faces=face_pairs.Faces(lambda key: load(key)[:96]))


def test_missing_faces_are_said_once_and_left_out(face_set):
    gone, seen = face_set.pairs.first[0], {}
    incomplete = without(face_set, {gone})
    callback = PairVerification(incomplete, normalized_network(), 2, on_result=seen.__setitem__)
    affected = sum(gone in pair for pair in zip(*face_set.pairs[:2], strict=True))
    with pytest.warns(
        UserWarning, match=f"^{affected} of 56 pairs .* 1 images are missing"
    ) as said:
        run_loop(callback, 0, 4)
    assert len(said) == 1
    assert {seen[step]["num_pairs"] for step in (2, 4)} == {56 - affected}
    assert seen[4]["missing"] == {gone: "no such image"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, {*s.pairs.first}), "No pair has both of its faces"),
        (lambda s: s._replace(pairs=s.pairs.in_folds((1,))), "at least 2 folds"),
        (cut, r"Received: .*\(96, 96, 3\)"),
    ],
)
def test_what_cannot_be_verified_is_refused_before_training(face_set, change, message):
    callback = PairVerification(change(face_set), normalized_network(), 2)
    for _ in range(2):  # a second attempt is refused like the first
        with pytest.raises(ValueError, match=message):
            callback.on_train_begin()


@pytest.mark.parametrize("argument", ["every_steps", "batch_size"])
def test_bad_arguments_are_refused(face_set, argument):
    arguments = {"every_steps": 1, argument: 0}
    with pytest.raises(ValueError, match=f"Received: {argument}=0"):
        PairVerification(face_set, normalized_network(), **arguments)


@pytest.mark.parametrize(
    "change", [{"faces": None}, {"templates": {"Ann": [("Ann/1.jpg", "")]}}], ids=str
)
def test_pairs_without_images_are_refused(face_set, change):
    with pytest.raises(ValueError, match="must be pairs of images"):
        PairVerification(face_set._replace(**change), normalized_network(), 2)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan or infinity"), (0.0, "zero")])
def test_useless_embeddings_are_said_and_the_training_goes_on(face_set, tmp_path, value, said):
    backbone, out = normalized_network(), tmp_path / "pairs.csv"
    callback = PairVerification(face_set, backbone, 2, out=out)
    good = backbone.get_weights()
    callback.on_train_begin()
    backbone.set_weights([np.full_like(weight, value) for weight in good])
    callback.on_train_batch_end(0)
    with pytest.warns(UserWarning, match=f"Step 2: no verification.*{said}"):
        callback.on_train_batch_end(1)
    backbone.set_weights(good)
    for batch in (2, 3):
        callback.on_train_batch_end(batch)
    assert pd.read_csv(out)["step"].tolist() == [4]


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
from keras_sphereface import export
from keras_sphereface.compat import tf_variable
from keras_sphereface.launch import worker_environments
from keras_sphereface.pair_verification import PairVerification
from tests.callbacks import test_pair_verification as test
with strategy.scope():
    backbone = test.normalized_network()
face_set, seen = test.face_set_of(Path(faces)), {}
callback = PairVerification(face_set, backbone, 2, batch_size=13, on_result=seen.__setitem__)

def part(context):
    return tf.constant(test.images(4, seed=context.replica_id_in_sync_group)) * (
        1.0 + context.replica_id_in_sync_group)

@tf.function
def step(parts):
    strategy.run(lambda part: backbone(part, training=True), (parts,))

def statistics():
    return [copy.numpy() for weight in backbone.non_trainable_weights
            for copy in strategy.experimental_local_results(tf_variable(weight))]

callback.on_train_begin()
parts = strategy.experimental_distribute_values_from_function(part)
for batch in range(4):
    step(parts)
    before = statistics()
    callback.on_train_batch_end(batch)
    np.testing.assert_equal(statistics(), before)
callback.on_train_end()
assert callback.embed.experimental_get_tracing_count() == 1
model = export.export_savedmodel(backbone, out + "/export" + index)
mean = tf_variable(backbone.non_trainable_weights[0])
seen["means"] = [copy.numpy().tolist() for copy in strategy.experimental_local_results(mean)]
Path(out, index + ".json").write_text(json.dumps(seen))
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
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
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
        assert_same_numbers(result["4"], expected)


@pytest.mark.slow
def test_two_devices_verify_what_is_exported(faces, tmp_path):
    results = run_replicas(faces, tmp_path, "devices", [os.environ])
    assert_replicas_match_the_export(results, faces, tmp_path)


@pytest.mark.slow
def test_two_workers_verify_what_is_exported(faces, tmp_path):
    results = run_replicas(faces, tmp_path, "workers", worker_environments(2))
    assert_replicas_match_the_export(results, faces, tmp_path)


def test_real_faces_give_the_numbers_of_the_evaluation(real_faces, tmp_path):
    backbone, seen = normalized_network(), {}
    all_pairs = face_set_of(real_faces / "lfw_dev", folds=(6, 7))
    chosen = np.arange(len(all_pairs.pairs.first)) % 4 == 0
    some = all_pairs._replace(pairs=all_pairs.pairs.select(chosen))
    callback = PairVerification(some, backbone, 4, on_result=seen.__setitem__)
    fit(backbone, [callback], epochs=1)
    network = runtime.open_network(saved_model.export_savedmodel(backbone, tmp_path / "export"))
    known = embeddings.embed(some.keys(), some.faces.load, network.both_views, 32)
    expected = verification.verify(some.pairs, known)
    assert seen[4]["num_pairs"] == 300
    assert_same_numbers(seen[4], expected.metrics)
