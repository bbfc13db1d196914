"""Pairs of faces through a SavedModel to `metrics.json`."""

import json
import pickle
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import (
    alignment,
    backbones,
    evaluation,
    export,
    images,
    lfw,
    lists,
    preprocessing,
    verification,
)
from keras_sphereface.config import EvaluateConfig


@pytest.fixture(scope="module")
def network():
    return backbones.sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    return export.export_savedmodel(network, tmp_path_factory.mktemp("model") / "export")


@pytest.fixture
def settings(model, faces, tmp_path):
    return {
        "model": str(model),
        "out": str(tmp_path / "out"),
        "images": str(faces / "images"),
        "pairs": str(faces / "pairs.txt"),
        "landmarks": str(faces / "landmarks.txt"),
        "batch_size": 16,
    }


def evaluate(settings, **changes):
    return evaluation.evaluate(EvaluateConfig(**{**settings, **changes}))


def expected_results(network, faces, folds=()):
    """The protocol on embeddings taken straight from the network, a picture at a time."""
    pairs = lfw.read_pairs(faces / "pairs.txt").in_folds(folds)
    landmarks = lists.read_landmarks(faces / "landmarks.txt")

    def feature(key):
        image = images.decode((faces / "images" / key).read_bytes())
        face = preprocessing.normalize(alignment.align(image, landmarks[key]))[None]
        return np.concatenate([network(face)[0], network(face[:, :, ::-1])[0]])

    first, second = ([feature(key) for key in side] for side in (pairs.first, pairs.second))
    return verification.k_fold_accuracy(first, second, pairs.is_same, pairs.folds), pairs


def test_metrics_are_those_of_the_protocol(settings, network, faces, tmp_path):
    metrics = evaluate(settings)
    results, pairs = expected_results(network, faces)
    assert metrics["accuracy_per_fold"] == [result.accuracy for result in results]
    np.testing.assert_allclose(metrics["thresholds"], [r.threshold for r in results], atol=1e-4)
    assert metrics["accuracy_mean"] == pytest.approx(np.mean(metrics["accuracy_per_fold"]))
    assert metrics["accuracy_std"] == pytest.approx(np.std(metrics["accuracy_per_fold"]))
    assert metrics["num_pairs"] == len(pairs.first) == 56
    assert metrics["num_pairs_left_out"] == 0
    assert set(metrics["tar_at_far"]) == {"0.1", "0.01", "0.001"}
    # 28 mismatched pairs carry no false accept rate of 1 %.
    assert metrics["tar_at_far"]["0.01"] is None
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    for picture in ("roc.png", "similarities.png"):
        assert images.decode((tmp_path / "out" / picture).read_bytes()).std() > 10
    assert "too few pairs" in evaluation.summary(metrics)


def test_only_the_folds_asked_for_are_evaluated(settings, network, faces):
    metrics = evaluate(settings, folds=(6, 7))
    results, _ = expected_results(network, faces, (6, 7))
    assert metrics["folds"] == [6, 7]
    assert metrics["num_pairs"] == 16
    assert metrics["accuracy_per_fold"] == [result.accuracy for result in results]


def test_missing_pictures_and_landmarks_are_said_with_their_effect(settings, faces, tmp_path):
    shutil.copytree(faces / "images", tmp_path / "images")
    pairs = lfw.read_pairs(faces / "pairs.txt")
    gone, without = pairs.first[0], pairs.second[-1]
    (tmp_path / "images" / gone).unlink()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(without)]
    (tmp_path / "landmarks.txt").write_text("\n".join(kept))
    metrics = evaluate(
        settings, images=str(tmp_path / "images"), landmarks=str(tmp_path / "landmarks.txt")
    )
    affected = sum(
        bool({gone, without} & {a, b}) for a, b in zip(pairs.first, pairs.second, strict=True)
    )
    assert metrics["num_pairs_left_out"] == affected > 0
    assert metrics["num_pairs"] == 56 - affected
    assert metrics["missing"] == {gone: "no such picture", without: "no landmarks"}
    low, high = metrics["accuracy_bounds"]
    assert high - low == pytest.approx(affected / 56)
    text = evaluation.summary(metrics)
    assert text.startswith(f"WARNING: {affected} pairs are left out")
    assert "no landmarks; no such picture" in text


def test_a_bin_gives_the_numbers_of_the_same_pictures(settings, faces, model, tmp_path):
    pairs = lfw.read_pairs(faces / "pairs.txt")
    landmarks = lists.read_landmarks(faces / "landmarks.txt")
    (tmp_path / "aligned").mkdir()
    keys = [key for pair in zip(pairs.first, pairs.second, strict=True) for key in pair]
    encoded = []
    for key in keys:
        image = images.decode((faces / "images" / key).read_bytes())
        encoded.append(images.encode(alignment.align(image, landmarks[key])))
        (tmp_path / "aligned" / key).parent.mkdir(exist_ok=True)
        (tmp_path / "aligned" / key).write_bytes(encoded[-1])
    (tmp_path / "set.bin").write_bytes(pickle.dumps((encoded, pairs.is_same.tolist())))
    common = {"model": str(model), "batch_size": 16}
    from_bin = evaluate({**common, "bin": str(tmp_path / "set.bin"), "out": str(tmp_path / "b")})
    embedder = evaluation.Embedder(model)
    features = embedder(np.stack([images.decode(data) for data in encoded]))
    folds = np.arange(56) * 10 // 56
    results = verification.k_fold_accuracy(features[::2], features[1::2], pairs.is_same, folds)
    assert from_bin["accuracy_per_fold"] == [result.accuracy for result in results]


class OtherModel(tf.Module):
    """A SavedModel that this project did not write, without `embed`."""

    def __init__(self, dtype=tf.uint8, name="images", output="embeddings"):
        super().__init__()
        spec = tf.TensorSpec((None, 112, 96, 3), dtype, name=name)

        def call(pictures):
            pooled = tf.reduce_mean(tf.cast(pictures, tf.float32), axis=1)
            return {output: tf.reshape(pooled, (-1, 96 * 3))}

        self.call = tf.function(call, input_signature=[spec])


def test_any_savedmodel_with_the_signature_is_evaluated(settings, tmp_path):
    other = OtherModel()
    tf.saved_model.save(other, str(tmp_path / "other"), signatures=other.call)
    metrics = evaluate(settings, model=str(tmp_path / "other"))
    assert metrics["num_pairs"] == 56
    embedder = evaluation.Embedder(tmp_path / "other")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    left, right = np.split(embedder(pictures), 2, axis=1)
    np.testing.assert_allclose(left.reshape(2, 96, 3), right.reshape(2, 96, 3)[:, ::-1])


@pytest.mark.parametrize(
    "arguments", [{"dtype": tf.float32}, {"name": "faces"}, {"output": "features"}]
)
def test_a_savedmodel_with_another_signature_is_refused(settings, tmp_path, arguments):
    other = OtherModel(**arguments)
    tf.saved_model.save(other, str(tmp_path / "other"), signatures=other.call)
    with pytest.raises(ValueError, match=r"must be `images` uint8 .* Received: "):
        evaluate(settings, model=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "absent"}, FileNotFoundError, "SavedModel folder. Received: absent"),
        ({"bin": "set.bin"}, ValueError, "either `bin` alone, or `images` and `pairs`"),
        ({"pairs": ""}, ValueError, "either `bin` alone, or `images` and `pairs`"),
        ({"images": "absent"}, FileNotFoundError, "Received: absent"),
        ({"folds": (1, 9)}, ValueError, r"Received: \[9\]"),
        ({"folds": (1,)}, ValueError, "at least 2 folds"),
        ({"batch_size": 0}, ValueError, "Received: batch_size=0"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    settings, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        evaluate(settings, **changes)
    assert not (tmp_path / "out").exists()
