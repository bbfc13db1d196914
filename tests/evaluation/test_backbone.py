"""The backbone of a `.keras` file, with its head removed."""

import zipfile

import keras
import numpy as np
import pytest

from keras_sphereface.config.choices import HEADS
from keras_sphereface.data import preprocessing
from keras_sphereface.evaluation.backbone import load_backbone, without_head
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.registry import make_head
from keras_sphereface.layers import face_preprocessing
from tests.helpers.small_training import one_layer

SIZE = (112, 96, 3)


def functional(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, ASoftmax(5)(backbone(inputs)))


def with_softmax(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, keras.layers.Softmax()(ASoftmax(5)(backbone(inputs))))


def of_two_outputs(backbone):
    inputs = keras.Input(SIZE)
    embeddings = backbone(inputs)
    return keras.Model(inputs, [embeddings, ASoftmax(5)(embeddings)])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda backbone: backbone, id="backbone"),
        pytest.param(functional, id="functional"),
        pytest.param(with_softmax, id="with softmax"),
        pytest.param(of_two_outputs, id="two outputs"),
        *(
            pytest.param(
                lambda backbone, kind=kind: keras.Sequential(
                    [keras.Input(SIZE), backbone, make_head(kind, 5)]
                ),
                id=kind,
            )
            for kind in HEADS
        ),
    ],
)
def test_a_keras_file_is_its_network_without_the_head(make, tmp_path):
    network = one_layer(SIZE, 6, seed=3)
    make(network).save(tmp_path / "network.keras")
    backbone = load_backbone(tmp_path / "network.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    images = preprocessing.normalize(pixels)
    np.testing.assert_allclose(backbone(images), network(images), atol=1e-6)


def images_of(dtype, shape=SIZE):
    inputs = keras.Input(shape, dtype=dtype)
    scaled = keras.layers.Rescaling(1 / 128)(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(scaled)))


def of_two_inputs():
    inputs = [keras.Input(SIZE), keras.Input(SIZE)]
    pooled = [keras.layers.GlobalAveragePooling2D()(one) for one in inputs]
    return keras.Model(inputs, keras.layers.Add()(pooled))


@keras.saving.register_keras_serializable(package="tests")
class NoGraph(keras.Model):
    """A subclass, of which Keras knows neither inputs nor outputs."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, images):
        return self.pool(images)


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: images_of("uint8"), r"\[\(None, 112, 96, 3\)\] of \['uint8'\] ->"),
        (lambda: images_of("float32", (112, 96, 1)), r"\(None, 112, 96, 1\)"),
        (lambda: images_of("float32", (3, 112, 96)), r"\(None, 3, 112, 96\)"),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]), r"\(None, 8\)"),
        (
            lambda: keras.Sequential([keras.Input(SIZE), keras.layers.AveragePooling2D(2)]),
            r"-> \[\(None, 56, 48, 3\)\]",
        ),
        (of_two_inputs, r"\[\(None, 112, 96, 3\), \(None, 112, 96, 3\)\]"),
        (NoGraph, ""),
    ],
    ids=["uint8", "gray", "channels first", "vectors in", "images out", "two inputs", "subclass"],
)
def test_a_model_that_is_no_network_of_faces_is_refused(make, received):
    message = r"must take float images \(N, H, W, 3\) and give embeddings \(N, D\). Received: .*"
    with pytest.raises(ValueError, match=message + received):
        without_head(make())


def test_a_model_that_scales_by_itself_is_refused():
    scaling = face_preprocessing.FacePreprocessing()
    model = keras.Sequential([keras.Input(SIZE), scaling, one_layer(SIZE, 4, seed=0), ASoftmax(5)])
    with pytest.raises(ValueError, match=r"must come without `FacePreprocessing`.* Received: "):
        without_head(model)


@pytest.mark.parametrize("spoil", ["empty", "text", "truncated", "damaged", "emptied"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path, spoil):
    path = tmp_path / "bad.keras"
    one_layer(SIZE, 4, seed=0).save(path)
    whole = path.read_bytes()
    if spoil == "emptied":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", "{}")
    else:
        damaged = whole[:100] + b"\0" * 50 + whole[150:]
        contents = {"empty": b"", "text": b"text", "truncated": whole[: len(whole) // 2]}
        path.write_bytes(contents.get(spoil, damaged))
    with pytest.raises(ValueError, match=r"bad\.keras cannot be loaded. Received: "):
        load_backbone(path)


def test_other_files_are_refused(tmp_path):
    message = "`model` must be a SavedModel folder or a .keras file. Received: "
    for name in ("absent.keras", "absent"):
        with pytest.raises(FileNotFoundError, match=f"{message}{name}"):
            load_backbone(name)
    with pytest.raises(ValueError, match=f"{message}.*py$"):
        load_backbone(__file__)
