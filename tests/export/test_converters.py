"""A SavedModel as TensorFlow Lite and ONNX files."""

import functools
import importlib.util
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.choices import FORMATS as CHOICES
from keras_sphereface.export import converters
from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.converters import write_format
from keras_sphereface.export.runtime import open_network

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="ONNX is an extra",
)
FORMATS = [
    *(pytest.param(name, id=name) for name in CHOICES if name != "onnx"),
    pytest.param("onnx", marks=needs_onnx),
]
# The largest difference of an embedding, as a share of the largest number in the embeddings.
TOLERANCE = {"tflite": 1e-5, "tflite-float16": 2e-3, "tflite-int8": 0.1, "onnx": 1e-5}


@pytest.fixture(scope="module")
def converted(savedmodel, fixed_batch, images, tmp_path_factory):
    """The file of a format, written when it is first asked for: (format, batch size) -> path."""
    sources = {None: savedmodel, 3: fixed_batch}
    folder = tmp_path_factory.mktemp("converted")
    calibration = np.concatenate([images, images[:, :, ::-1]])

    @functools.cache
    def convert(name, batch_size):
        return write_format(sources[batch_size], folder / str(batch_size), name, calibration)

    return convert


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gives_the_embeddings_of_the_backbone(
    converted, images, both_views, name, batch_size
):
    path = converted(name, batch_size)
    assert path.name == CHOICES[name].file
    network = open_network(path)
    assert (network.image_size, network.embedding_size) == ((112, 96), 8)
    assert network.batch_size == batch_size
    tolerance = TOLERANCE[name] * np.abs(both_views).max()
    for count in (1, 3, 7):
        embeddings = network.both_views(images[:count])
        np.testing.assert_allclose(embeddings, both_views[:count], atol=tolerance)


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "onnx"])
def test_a_tflite_file_runs_without_this_package(converted, images, both_views, name):
    path = converted(name, None)
    with quiet():
        interpreter = tf.lite.Interpreter(model_path=str(path))
        signatures = interpreter.get_signature_list()
        embeddings = interpreter.get_signature_runner("serving_default")(images=images)
    assert signatures == {"serving_default": {"inputs": ["images"], "outputs": ["embeddings"]}}
    tolerance = TOLERANCE[name] * np.abs(both_views).max()
    np.testing.assert_allclose(embeddings["embeddings"], both_views[:, :8], atol=tolerance)


@needs_onnx
def test_an_onnx_file_runs_without_this_package(converted, images, both_views):
    path = converted("onnx", None)
    with quiet():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(["embeddings"], {"images": images})
    assert [node.name for node in session.get_outputs()] == ["embeddings"]
    np.testing.assert_allclose(embeddings, both_views[:, :8], atol=1e-5)


def tensors_of(path):
    with quiet():
        interpreter = tf.lite.Interpreter(model_path=str(path))
    return interpreter.get_tensor_details()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("tflite", np.float32), ("tflite-float16", np.float16), ("tflite-int8", np.int8)],
)
def test_the_weights_have_the_precision(converted, name, dtype):
    # Of the embedding layer: all that is left of the image in, 8 numbers out.
    kernels = {
        tensor["dtype"]
        for tensor in tensors_of(converted(name, None))
        if len(tensor["shape"]) == 2 and min(tensor["shape"]) == 8 and max(tensor["shape"]) > 1000
    }
    assert dtype in kernels


def test_int8_computes_in_integers(converted):
    """Floats are the image before it is quantized and the embeddings, nothing between."""
    floats = [
        tensor
        for tensor in tensors_of(converted("tflite-int8", None))
        if tensor["dtype"] == np.float32
    ]
    assert sorted(tuple(tensor["shape"]) for tensor in floats) == [(1, 8), (1, 112, 96, 3)]


def test_files_are_smaller_the_coarser_the_precision(converted):
    names = ("tflite", "tflite-float16", "tflite-int8")
    sizes = [converted(name, None).stat().st_size for name in names]
    assert sizes[0] > 1.5 * sizes[1]
    assert sizes[1] > 1.2 * sizes[2]


@pytest.mark.slow
def test_calibration_sets_the_ranges(converted, savedmodel, images, both_views, tmp_path):
    """Black images do not show the activations of others."""
    black = write_format(savedmodel, tmp_path, "tflite-int8", np.zeros_like(images))
    errors = [
        np.abs(open_network(path)(images) - both_views[:, :8]).max()
        for path in (converted("tflite-int8", None), black)
    ]
    assert errors[1] > 2 * errors[0]


def through_text(numbers):
    return tf.strings.to_number(tf.strings.as_string(numbers))


class Unusual(tf.Module):
    """A network that not every runtime can express."""

    def __init__(self, function):
        super().__init__()
        spec = tf.TensorSpec((None, 4, 5, 3), tf.uint8, name="images")

        def call(images):
            numbers = function(tf.cast(images, tf.float32) + 1.0)
            return {"embeddings": tf.reshape(numbers, (-1, 60))}

        self.call = tf.function(call, input_signature=[spec], autograph=False)

    def save(self, folder, signature="serving_default"):
        tf.saved_model.save(self, str(folder), signatures={signature: self.call})
        return folder


@pytest.mark.parametrize("name", FORMATS)
def test_writing_makes_no_noise(tmp_path, capfd, name):
    small = Unusual(tf.abs).save(tmp_path / "small")
    capfd.readouterr()
    path = write_format(small, tmp_path / "files", name, np.zeros((2, 4, 5, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "function", "operation"),
    [
        ("tflite", through_text, "AsString"),
        pytest.param("onnx", tf.math.lgamma, "Lgamma", marks=needs_onnx),
    ],
)
def test_what_a_format_cannot_express_is_an_error_and_the_old_file_stays(
    tmp_path, name, function, operation
):
    Unusual(function).save(tmp_path / "other")
    path = tmp_path / CHOICES[name].file
    path.write_text("old")
    with pytest.raises(ValueError, match=rf"cannot express .*{operation}.* Received: .*other$"):
        write_format(tmp_path / "other", tmp_path, name)
    assert path.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"other", path.name}


@pytest.mark.parametrize(
    "write", [converters.to_tflite, pytest.param(converters.to_onnx, marks=needs_onnx)]
)
def test_a_savedmodel_that_is_none_or_other_is_refused(tmp_path, write):
    path = tmp_path / ("x.onnx" if write is converters.to_onnx else "x.tflite")
    with pytest.raises(FileNotFoundError, match=r"without saved_model\.pb"):
        write(tmp_path, path)
    Unusual(tf.abs).save(tmp_path / "other", "predict")
    with pytest.raises(ValueError, match=r"signature serving_default.*\['predict'\]"):
        write(tmp_path / "other", path)
    assert not path.exists()


def test_a_file_is_named_after_its_format(savedmodel, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in \.tflite. Received: .*x\.onnx"):
        converters.to_tflite(savedmodel, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"`path` must end in \.onnx. Received: .*x\.tflite"):
        converters.to_onnx(savedmodel, tmp_path / "x.tflite")


FACES = np.zeros((2, 112, 96, 3), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "calibration", "message"),
    [
        ("int4", None, r"one of \('float32', 'float16', 'int8'\). Received: precision='int4'"),
        ("int8", None, r"for precision='int8', and only there. Received: precision='int8' and no "),
        ("float16", FACES, r"only there. Received: precision='float16' and a `calibration`"),
        ("int8", FACES[0], r"uint8 \(N, 112, 96, 3\) with N >= 1. Received: uint8 \(112, 96, 3\)"),
        ("int8", FACES[:0], r"Received: uint8 \(0, 112, 96, 3\)"),
        ("int8", FACES.swapaxes(1, 2), r"Received: uint8 \(2, 96, 112, 3\)"),
        ("int8", FACES.astype(np.float32), r"Received: float32 \(2, 112, 96, 3\)"),
    ],
)
def test_other_arguments_are_refused(savedmodel, tmp_path, precision, calibration, message):
    with pytest.raises(ValueError, match=message):
        converters.to_tflite(savedmodel, tmp_path / "x.tflite", precision, calibration)
    assert not list(tmp_path.iterdir())


def test_onnx_without_tf2onnx_names_the_extra(savedmodel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[onnx\]'"):
        converters.to_onnx(savedmodel, tmp_path / "model.onnx")
