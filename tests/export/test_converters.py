"""A SavedModel as TensorFlow Lite and ONNX files."""

import importlib.util
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export import converters, runtime, saved_model
from keras_sphereface.models.sphereface import sphereface4

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="ONNX is an extra",
)
FORMATS = [
    *(pytest.param(name, id=name) for name in converters.FORMATS if name != "onnx"),
    pytest.param("onnx", marks=needs_onnx),
]
# The largest difference of an embedding, as a share of the largest number in the embeddings.
TOLERANCE = {"tflite": 1e-5, "tflite-float16": 2e-3, "tflite-int8": 0.1, "onnx": 1e-5}


@pytest.fixture(scope="module")
def backbone():
    return sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture(scope="module")
def pictures():
    """Squares of one color: noise would be the same gray to every filter."""
    colors = np.random.default_rng(0).integers(0, 256, (9, 7, 6, 3), dtype=np.uint8)
    return colors.repeat(16, axis=1).repeat(16, axis=2)


class FixedBatch(tf.Module):
    """A backbone that takes three images and no other number."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        spec = tf.TensorSpec((3, 112, 96, 3), tf.uint8, name="images")

        def call(images):
            embeddings = backbone(preprocessing.normalize(images), training=False)
            # A second output, before `embeddings` in the alphabet.
            return {"embeddings": embeddings, "again": 2 * embeddings}

        self.call = tf.function(call, input_signature=[spec], autograph=False)


@pytest.fixture(scope="module")
def savedmodels(backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable")
    fixed = FixedBatch(backbone)
    tf.saved_model.save(fixed, str(folder / "fixed"), signatures=fixed.call)
    return {3: folder / "fixed", None: saved_model.export_savedmodel(backbone, folder / "any")}


@pytest.fixture(scope="module")
def converted(savedmodels, pictures):
    """The file of a format, written when it is first asked for: (format, batch size) -> path."""
    paths = {}

    def convert(name, batch_size):
        source = savedmodels[batch_size]
        path = source.parent / "files" / source.name / converters.FORMATS[name]
        if path not in paths:
            kind = name.partition("-")[2] or "float32"
            calibration = pictures if kind == "int8" else None
            paths[path] = (
                converters.to_onnx(source, path)
                if name == "onnx"
                else converters.to_tflite(source, path, kind, calibration)
            )
        return paths[path]

    return convert


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gives_the_backbones_embeddings(
    converted, backbone, pictures, name, batch_size, count
):
    network = runtime.open_network(converted(name, batch_size))
    assert (network.image_size, network.embedding_size) == ((112, 96), 8)
    assert network.batch_size == batch_size
    embeddings = network(pictures[:count])
    expected = backbone(preprocessing.normalize(pictures[:count])).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=TOLERANCE[name] * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in converters.FORMATS if name != "onnx"])
def test_a_tflite_file_runs_without_this_package(converted, pictures, name):
    path = converted(name, None)
    with runtime.without_noise():
        interpreter = tf.lite.Interpreter(model_path=str(path))
        signatures = interpreter.get_signature_list()
        embeddings = interpreter.get_signature_runner("serving_default")(images=pictures)
    assert signatures == {"serving_default": {"inputs": ["images"], "outputs": ["embeddings"]}}
    expected = runtime.open_network(path)(pictures)
    # Integers are rounded otherwise by some kernels, and which run depends on the threads.
    tolerance = 0.05 if name == "tflite-int8" else 1e-5
    largest_difference = np.abs(embeddings["embeddings"] - expected).max()
    assert largest_difference < tolerance * np.abs(expected).max()


@needs_onnx
def test_an_onnx_file_runs_without_this_package(converted, pictures):
    path = converted("onnx", None)
    with runtime.without_noise():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(["embeddings"], {"images": pictures})
    assert [node.name for node in session.get_outputs()] == ["embeddings"]
    np.testing.assert_allclose(embeddings, runtime.open_network(path)(pictures), atol=1e-6)


def tensors_of(path):
    with runtime.without_noise():
        interpreter = tf.lite.Interpreter(model_path=str(path))
    return interpreter.get_tensor_details()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("tflite", np.float32), ("tflite-float16", np.float16), ("tflite-int8", np.int8)],
)
def test_the_kind_is_that_of_the_weights(converted, name, dtype):
    # Of the embedding layer: all that is left of the image in, 8 numbers out.
    kernels = {
        tensor["dtype"]
        for tensor in tensors_of(converted(name, None))
        if len(tensor["shape"]) == 2 and min(tensor["shape"]) == 8 and max(tensor["shape"]) > 1000
    }
    assert dtype in kernels


def test_int8_computes_in_integers(converted):
    """Floats are the image before it is quantised and the embeddings, nothing between."""
    floats = [
        tensor
        for tensor in tensors_of(converted("tflite-int8", None))
        if tensor["dtype"] == np.float32
    ]
    assert sorted(tuple(tensor["shape"]) for tensor in floats) == [(1, 8), (1, 112, 96, 3)]


def test_files_are_smaller_the_coarser_the_kind(converted):
    names = ("tflite", "tflite-float16", "tflite-int8")
    sizes = [converted(name, None).stat().st_size for name in names]
    assert sizes[0] > 1.5 * sizes[1]
    assert sizes[1] > 1.2 * sizes[2]


def test_calibration_sets_the_ranges(savedmodels, pictures, backbone, tmp_path):
    """Black images tell nothing of the activations of others."""
    expected = backbone(preprocessing.normalize(pictures)).numpy()
    errors = []
    for calibration in (pictures, np.zeros_like(pictures)):
        path = converters.to_tflite(savedmodels[None], tmp_path / "x.tflite", "int8", calibration)
        errors.append(np.abs(runtime.open_network(path)(pictures) - expected).max())
    assert errors[1] > 2 * errors[0]


@pytest.mark.parametrize("name", FORMATS)
def test_writing_makes_no_noise(savedmodels, pictures, tmp_path, capfd, name):
    kind = name.partition("-")[2] or "float32"
    if name == "onnx":
        converters.to_onnx(savedmodels[None], tmp_path / "model.onnx")
    else:
        calibration = pictures[:2] if kind == "int8" else None
        converters.to_tflite(savedmodels[None], tmp_path / "model.tflite", kind, calibration)
    assert capfd.readouterr() == ("", "")
    assert len(list(tmp_path.iterdir())) == 1


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


@pytest.mark.parametrize(
    ("name", "function", "operation"),
    [
        ("tflite", through_text, "AsString"),
        pytest.param("onnx", tf.math.lgamma, "Lgamma", marks=needs_onnx),
    ],
)
def test_what_a_format_cannot_express_is_said_and_the_old_file_stays(
    tmp_path, name, function, operation
):
    unusual = Unusual(function)
    tf.saved_model.save(unusual, str(tmp_path / "other"), signatures=unusual.call)
    path = tmp_path / converters.FORMATS[name]
    path.write_text("old")
    write = converters.to_onnx if name == "onnx" else converters.to_tflite
    with pytest.raises(ValueError, match=rf"cannot express .*{operation}.* Received: .*other$"):
        write(tmp_path / "other", path)
    assert path.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"other", path.name}


@pytest.mark.parametrize(
    "write", [converters.to_tflite, pytest.param(converters.to_onnx, marks=needs_onnx)]
)
def test_a_savedmodel_that_is_none_or_other_is_refused(tmp_path, write):
    path = tmp_path / ("x.onnx" if write is converters.to_onnx else "x.tflite")
    with pytest.raises(FileNotFoundError, match=r"without saved_model\.pb"):
        write(tmp_path, path)
    unusual = Unusual(tf.abs)
    tf.saved_model.save(unusual, str(tmp_path / "other"), signatures={"predict": unusual.call})
    with pytest.raises(ValueError, match=r"signature serving_default.*\['predict'\]"):
        write(tmp_path / "other", path)
    assert not path.exists()


def test_a_file_is_named_after_its_format(savedmodels, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in \.tflite. Received: .*x\.onnx"):
        converters.to_tflite(savedmodels[None], tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"`path` must end in \.onnx. Received: .*x\.tflite"):
        converters.to_onnx(savedmodels[None], tmp_path / "x.tflite")


FACES = np.zeros((2, 112, 96, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "calibration", "message"),
    [
        ("int4", None, r"one of \('float32', 'float16', 'int8'\). Received: kind='int4'"),
        ("int8", None, r"needed for kind='int8', and only there. Received: kind='int8' and no "),
        ("float16", FACES, r"only there. Received: kind='float16' and a `calibration`"),
        ("int8", FACES[0], r"uint8 \(N, 112, 96, 3\) with N >= 1. Received: uint8 \(112, 96, 3\)"),
        ("int8", FACES[:0], r"Received: uint8 \(0, 112, 96, 3\)"),
        ("int8", FACES.swapaxes(1, 2), r"Received: uint8 \(2, 96, 112, 3\)"),
        ("int8", FACES.astype(np.float32), r"Received: float32 \(2, 112, 96, 3\)"),
    ],
)
def test_other_arguments_are_refused(savedmodels, tmp_path, kind, calibration, message):
    with pytest.raises(ValueError, match=message):
        converters.to_tflite(savedmodels[None], tmp_path / "x.tflite", kind, calibration)
    assert not list(tmp_path.iterdir())


def test_onnx_without_tf2onnx_says_what_to_install(savedmodels, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install keras-sphereface\[onnx\]"):
        converters.to_onnx(savedmodels[None], tmp_path / "model.onnx")
