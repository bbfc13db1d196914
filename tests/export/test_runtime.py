"""Exported networks of every format, opened for evaluation."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.network import Network, network_name
from keras_sphereface.export.runtime import open_network
from keras_sphereface.utils import startup
from tests.conftest import ROOT

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="ONNX is an extra",
)


class Pooling(tf.Module):
    """A network that this project did not write: the mean color of each column, (N, 3 W)."""

    def __init__(self, shape=(None, 64, 48, 3), dtype=tf.uint8, out=None, **names):
        super().__init__()
        name, output = names.get("name", "images"), names.get("output", "embeddings")
        out = out or (lambda columns: tf.reshape(columns, (-1, 3 * 48)))
        self.shift = tf.Variable(1.0)

        def call(images):
            columns = tf.reduce_mean(tf.cast(images, tf.float32), axis=1) + self.shift
            return {output: out(columns)}

        spec = tf.TensorSpec(shape, dtype, name=name)
        self.call = tf.function(call, input_signature=[spec], autograph=False)

    def save(self, folder, key="serving_default"):
        tf.saved_model.save(self, str(folder), signatures={key: self.call})
        return folder


@pytest.mark.parametrize("count", [1, 7])
def test_a_savedmodel_gives_the_embeddings_of_the_backbone(savedmodel, images, both_views, count):
    network = open_network(str(savedmodel))
    assert (network.image_size, network.batch_size, network.embedding_size) == ((112, 96), None, 8)
    assert network.name.endswith("/export")
    embeddings = network(images[:count])
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (count, 8))
    np.testing.assert_allclose(embeddings, both_views[:count, :8], atol=1e-5)


def test_both_views_are_those_of_the_signature_embed(savedmodel, images):
    fused = tf.saved_model.load(str(savedmodel)).signatures["embed"](images=tf.constant(images))
    both = open_network(savedmodel).both_views(images)
    np.testing.assert_allclose(both, fused["embeddings"], atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_fixed_batch_takes_any_number_of_images(tmp_path, count):
    whole = Pooling().save(tmp_path / "whole")
    fixed = Pooling(shape=(3, 64, 48, 3)).save(tmp_path / "fixed")
    network = open_network(fixed)
    assert network.batch_size == 3
    images = np.random.default_rng(1).integers(0, 256, (count, 64, 48, 3), dtype=np.uint8)
    expected = open_network(whole)(images)
    np.testing.assert_allclose(network(images), expected, rtol=1e-6)
    assert network.both_views(images).shape == (count, 2 * 3 * 48)


def test_the_last_image_fills_a_fixed_batch():
    seen = []

    def run(batch):
        seen.append(batch[:, 0, 0, 0].tolist())
        return batch[:, 0, 0, :1].astype(np.float32)

    network = Network("x", (2, 2), 3, 1, run)
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    assert network(images).tolist() == [[0], [1], [2], [3], [4], [5], [6]]
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    seen.clear()
    dataclasses.replace(network, batch_size=None)(images)
    assert seen == [[0, 1, 2, 3, 4, 5, 6]]


def test_any_savedmodel_with_the_signature_is_opened(tmp_path):
    network = open_network(Pooling().save(tmp_path / "pooling" / "export"))
    assert (network.name, network.image_size) == ("pooling/export", (64, 48))
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)
    left, right = np.split(network.both_views(images), 2, axis=1)
    mirrored = right.reshape(2, 48, 3)[:, ::-1]
    np.testing.assert_allclose(left.reshape(2, 48, 3), mirrored, rtol=1e-6)
    np.testing.assert_allclose(left.reshape(2, 48, 3), images.mean(1) + 1, rtol=1e-5)


def test_a_savedmodel_of_tensorflow_1_is_opened(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.uint8, (None, 4, 5, 3))
        embeddings = tf.reduce_max(tf.cast(images, tf.float32), axis=(1, 2))
        with quiet():
            tf.compat.v1.saved_model.simple_save(
                session, str(tmp_path / "old"), {"images": images}, {"embeddings": embeddings}
            )
    network = open_network(tmp_path / "old")
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network(images), images.max((1, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "faces"}, "Rename its input `faces` to `images`. Received: `faces` uint8 "),
        ({"output": "features"}, "Rename its output `features` to `embeddings`. Received: "),
        (
            {"name": "faces", "output": "features"},
            "Rename its input `faces` to `images`. Rename its output `features` to `embeddings`. ",
        ),
        ({"name": "faces", "dtype": tf.float32}, r"Received: `faces` float32 \(\?, 64, 48, 3\)"),
        ({"dtype": tf.float32}, r"Received: `images` float32 \(\?, 64, 48, 3\) -> `embeddings` "),
        ({"shape": (None, None, 48, 3)}, r"Received: `images` uint8 \(\?, \?, 48, 3\)"),
        ({"shape": (None, 64, 48, 1)}, r"Received: `images` uint8 \(\?, 64, 48, 1\)"),
        ({"shape": (0, 64, 48, 3)}, r"Received: `images` uint8 \(0, 64, 48, 3\)"),
        ({"shape": (48, 48, 3)}, r"Received: `images` uint8 \(48, 48, 3\)"),
        ({"shape": None}, r"Received: `images` uint8 \(of any rank\)"),
        ({"out": lambda columns: columns}, r"-> `embeddings` float32 \(\?, 48, 3\) in "),
        (
            {"out": lambda columns: tf.cast(tf.reshape(columns, (-1, 144)), tf.float16)},
            r"-> `embeddings` float16 \(\?, 144\) in ",
        ),
    ],
)
def test_another_signature_is_refused(tmp_path, arguments, message):
    folder = Pooling(**arguments).save(tmp_path / "other")
    expected = r"must be `images` uint8 \(N, H, W, 3\), H and W fixed -> `embeddings` .*"
    with pytest.raises(ValueError, match=expected + message) as caught:
        open_network(folder)
    assert ("Rename" in str(caught.value)) == ("Rename" in message)


def test_a_signature_of_another_name_is_refused(tmp_path):
    folder = Pooling().save(tmp_path / "other", key="predict")
    with pytest.raises(ValueError, match=r"signature serving_default.*signatures \['predict'\]"):
        open_network(folder)


def test_other_files_than_networks_are_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"")
    allowed = "A network must be a SavedModel folder"
    with pytest.raises(FileNotFoundError, match=f"{allowed}.*absent.tflite, which does not exist"):
        open_network(tmp_path / "absent.tflite")
    with pytest.raises(FileNotFoundError, match=f"{allowed}.*a folder without saved_model.pb"):
        open_network(tmp_path)
    with pytest.raises(ValueError, match=rf"{allowed}.*\.tflite or \*\.onnx.*weights.h5"):
        open_network(tmp_path / "weights.h5")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 112, 96, 3), np.float32),
        np.zeros((112, 96, 3), np.uint8),
        np.zeros((1, 96, 112, 3), np.uint8),
        np.zeros((0, 112, 96, 3), np.uint8),
        [[1]],
    ],
)
def test_other_images_are_refused(images):
    network = Network("x", (112, 96), None, None, lambda batch: np.zeros((1, 8)))
    with pytest.raises(ValueError, match=r"uint8 \(N, 112, 96, 3\) with N >= 1. Received: "):
        network(images)


@pytest.mark.parametrize("shape", [(2,), (2, 4, 1), (1, 4), (3, 4), (2, 5)])
def test_embeddings_of_another_shape_are_refused(shape):
    network = Network("casia", (2, 2), None, 4, lambda batch: np.zeros(shape))
    expected = r"of casia must be of shape \(2, 4\) for 2 images. Received: shape "
    with pytest.raises(ValueError, match=expected):
        network(np.zeros((2, 2, 2, 3), np.uint8))


def test_an_open_output_is_checked_when_it_comes(tmp_path):
    def flat(columns):
        return tf.reshape(columns, tf.range(1, 2) * tf.size(columns))

    def of_any_rank(columns):
        return tf.py_function(flat, [columns], tf.float32)

    network = open_network(Pooling(out=of_any_rank).save(tmp_path / "other"))
    assert network.embedding_size is None
    with pytest.raises(ValueError, match=r"of shape \(1, D\) for 1 images.*shape \(144,\)"):
        network(np.zeros((1, 64, 48, 3), np.uint8))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/casia/export", "casia/export"),
        ("runs/casia/export/", "casia/export"),
        ("runs/casia/export/model-int8.tflite", "casia/export/model-int8.tflite"),
        ("runs/casia/model.onnx", "casia/model.onnx"),
        ("runs/casia/exports/../export", "casia/export"),
        ("downloads/mobilefacenet.onnx", "mobilefacenet.onnx"),
        ("facenet/saved_model/1", "facenet/saved_model/1"),
        ("runs/m4-export", "m4-export"),
        ("/export", "export"),
    ],
)
def test_a_network_is_called_by_the_end_of_its_path(path, name):
    assert network_name(path) == name


def test_a_name_comes_from_the_folders_above_too(tmp_path, monkeypatch):
    (tmp_path / "casia" / "export").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "casia" / "export")
    assert network_name(".") == "casia/export"


def tflite_of(network, folder, signatures=True):
    """A TensorFlow Lite file as others write them."""
    with quiet():
        if signatures:
            tf.saved_model.save(network, str(folder / "other"), signatures=network.call)
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "other"))
        else:
            function = network.call.get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        (folder / "other.tflite").write_bytes(converter.convert())
    return folder / "other.tflite"


class Largest(tf.Module):
    """The largest of each color: no variables, which old files cannot hold."""

    def __init__(self, name="images"):
        super().__init__()
        spec = tf.TensorSpec((None, 4, 5, 3), tf.uint8, name=name)
        largest = lambda x: {"embeddings": tf.reduce_max(tf.cast(x, tf.float32), axis=(1, 2))}  # noqa: E731
        self.call = tf.function(largest, input_signature=[spec], autograph=False)


@pytest.mark.slow
def test_a_foreign_tflite_file_is_opened(tmp_path):
    written = tflite_of(Largest(), tmp_path)
    network = open_network(written.rename(tmp_path / "OTHER.TFLITE"))
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network(images), images.max((1, 2)))


@pytest.mark.slow
def test_a_tflite_file_with_another_signature_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Rename its input `faces` to `images`\. Received: "):
        open_network(tflite_of(Largest(name="faces"), tmp_path))
    with pytest.raises(ValueError, match=r"other.tflite with signatures \[\]"):
        open_network(tflite_of(Largest(), tmp_path, signatures=False))


def test_a_broken_tflite_file_is_refused(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"no flat buffer of networks")
    with pytest.raises(ValueError, match=r"broken.tflite is not a TensorFlow Lite network: "):
        open_network(tmp_path / "broken.tflite")


def foreign_onnx(path, name="images", rank_known=True):
    """Images (2, 2, 2, 3) as 12 numbers, made with ONNX's own tools."""
    with quiet():
        from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["embeddings"]),
    ]
    info = helper.make_tensor_value_info(name, TensorProto.UINT8, [2, 2, 2, 3])
    shape = ["images", 12] if rank_known else None
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "foreign", [info], [output])
    opset = [helper.make_opsetid("", 13)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


@needs_onnx
@pytest.mark.parametrize("rank_known", [True, False])
def test_a_foreign_onnx_file_of_fixed_batch_is_opened(tmp_path, rank_known):
    network = open_network(foreign_onnx(tmp_path / "flat.onnx", rank_known=rank_known))
    assert (network.batch_size, network.image_size) == (2, (2, 2))
    images = np.random.default_rng(1).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network(images), images.reshape(5, 12))


@needs_onnx
def test_other_onnx_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Rename its input `faces` to .* uint8 \(2, 2, 2, 3\)"):
        open_network(foreign_onnx(tmp_path / "named.onnx", name="faces"))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"broken.onnx is not an ONNX network that can be run: "):
        open_network(tmp_path / "broken.onnx")


def test_onnx_without_onnxruntime_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[onnx\]'"):
        open_network(tmp_path / "model.onnx")


@pytest.mark.slow
def test_opening_and_running_make_no_noise(tmp_path, capfd):
    path = tflite_of(Largest(), tmp_path)
    capfd.readouterr()
    open_network(path)(np.zeros((2, 4, 5, 3), np.uint8))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(keras.Model, "export"), reason="Keras 2.12 and older")
def test_a_model_exported_by_keras_names_the_tensor_to_rename(tmp_path):
    images = keras.Input((4, 5, 3), dtype="uint8", name="images")
    pooled = keras.layers.GlobalMaxPooling2D()(keras.layers.Rescaling(1.0)(images))
    with quiet():
        keras.Model(images, pooled).export(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"Rename its output `output_0` to `embeddings`"):
        open_network(tmp_path / "other")


STUB = """
import numpy as np


class Runner:
    def get_input_details(self):
        return {"images": {"dtype": np.uint8, "shape_signature": [-1, 2, 2, 3]}}

    def get_output_details(self):
        return {"embeddings": {"dtype": np.float32, "shape_signature": [-1, 12]}}

    def __call__(self, images):
        return {"embeddings": images.reshape(-1, 12).astype(np.float32)}


class Interpreter:
    def __init__(self, model_path, num_threads):
        pass

    def allocate_tensors(self):
        pass

    def get_signature_list(self):
        return {"serving_default": {}}

    def get_signature_runner(self, name):
        return Runner()
"""
OPEN_AND_RUN = """
import sys

import numpy as np

from keras_sphereface.export import open_network

network = open_network(sys.argv[1])
print(network.image_size, network(np.ones((5, 2, 2, 3), np.uint8)).shape)
print(*sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)), "imported")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", [pytest.param(".onnx", marks=needs_onnx), pytest.param(".tflite")]
)
def test_onnx_and_tflite_files_are_run_without_tensorflow(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    if suffix == ".onnx":
        foreign_onnx(path)
    else:
        path.write_bytes(b"")
        (tmp_path / "ai_edge_litert").mkdir()
        (tmp_path / "ai_edge_litert" / "interpreter.py").write_text(STUB)
    lean = {**os.environ, startup.DATA_ONLY: "1", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-c", OPEN_AND_RUN, str(path)]
    result = subprocess.run(command, env=lean, capture_output=True, text=True)
    assert result.stdout == "(2, 2) (5, 12)\nimported\n", result.stderr


def test_a_tflite_file_without_what_runs_it_names_the_packages(tmp_path, monkeypatch):
    (tmp_path / "model.tflite").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"needs TensorFlow, or .*pip install ai-edge-litert"):
        open_network(tmp_path / "model.tflite")
