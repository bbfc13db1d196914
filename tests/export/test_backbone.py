"""The backbone of a `.keras` file, with its head removed."""

import zipfile

import keras
import numpy as np
import pytest

from keras_sphereface.config.choices import HEADS
from keras_sphereface.data import preprocessing
from keras_sphereface.export.backbone import load_backbone, without_head
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.embedding_classifier import EmbeddingClassifier
from keras_sphereface.heads.registry import make_head
from keras_sphereface.layers import FacePreprocessing
from keras_sphereface.models import InputContract
from keras_sphereface.models.embedding_network import contract_of
from tests.helpers.small_training import one_layer

SIZE = (112, 96, 3)


def functional(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, ASoftmax(5)(backbone(inputs)))


def with_softmax(backbone):
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, keras.layers.Softmax()(ASoftmax(5)(backbone(inputs))))


def classifier(backbone):
    model = EmbeddingClassifier(backbone, ASoftmax(5))
    model(np.zeros((1, *SIZE), np.float32))
    return model


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
        pytest.param(classifier, id="EmbeddingClassifier"),
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


def begins_with_scaling(backbone):
    scaling = FacePreprocessing()
    return keras.Sequential([keras.Input(SIZE, dtype="uint8"), scaling, backbone, ASoftmax(5)])


def within_another_model(backbone):
    inputs = keras.Input(SIZE, dtype="uint8")
    trained = keras.Sequential([keras.Input(SIZE), backbone, ASoftmax(5)])
    return keras.Model(inputs, trained(FacePreprocessing()(inputs)))


@pytest.mark.parametrize("make", [begins_with_scaling, within_another_model])
def test_a_keras_file_that_takes_pixels_is_a_network_that_scales_them(make, tmp_path):
    network = one_layer(SIZE, 6, seed=3)
    make(network).save(tmp_path / "network.keras")
    backbone = load_backbone(tmp_path / "network.keras")
    assert contract_of(backbone).dtype == "uint8"
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    images = preprocessing.normalize(pixels)
    np.testing.assert_allclose(backbone(images), network(images), atol=1e-6)


def test_a_network_that_serves_two_models_has_the_embeddings_of_this_one():
    network, head = one_layer(SIZE, 6, seed=3), ASoftmax(5)
    for _ in range(2):  # the head has two places in a graph
        inputs = keras.Input(SIZE)
        model = keras.Model(inputs, head(network(inputs)))
    images = np.random.default_rng(0).uniform(-1, 1, (3, *SIZE)).astype(np.float32)
    np.testing.assert_allclose(without_head(model)(images), network(images), atol=1e-6)


def test_a_sequential_that_is_not_built_loses_its_last_layer():
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(6)]
    assert without_head(keras.Sequential([*layers, ASoftmax(5)])).layers == layers


class WithHead(keras.Model):
    """A subclass, of which Keras knows neither inputs nor outputs."""

    def __init__(self):
        super().__init__()
        self.net, self.head = keras.layers.GlobalAveragePooling2D(name="pool"), ASoftmax(5)

    def call(self, images):
        return self.head(self.net(images))


def test_the_head_of_a_subclass_cannot_be_left_out():
    model = WithHead()
    model(np.zeros((2, *SIZE), np.float32))
    with pytest.raises(ValueError, match=r"give the network alone.*Received: .*WithHead of pool"):
        without_head(model)


def test_a_keras_file_of_another_model_is_refused(tmp_path):
    inputs = keras.Input(SIZE)
    keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs)).save(tmp_path / "map.keras")
    with pytest.raises(ValueError, match=r"must give vectors.*\(None, 56, 48, 3\)"):
        load_backbone(tmp_path / "map.keras")


@pytest.mark.parametrize("given", ["raw", "unit"])
def test_size_and_range_that_a_file_does_not_show_are_given(given, tmp_path):
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    network.save(tmp_path / "any.keras")
    backbone = load_backbone(tmp_path / "any.keras", (28, 24), given)
    assert contract_of(backbone) == InputContract((28, 24), input_range=given)
    images = np.full((1, 28, 24, 3), 0.5, np.float32)
    expected = 0.5 * 128 + 127.5 if given == "raw" else 0.5
    np.testing.assert_allclose(backbone(images), np.full((1, 3), expected), rtol=1e-6)


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


@pytest.mark.parametrize("wrap", [functional, classifier])
@pytest.mark.parametrize(("steps", "is_short"), [(0, False), (108, True), (1659, False)])
def test_a_network_that_hardly_saw_the_margin_is_told(wrap, steps, is_short, tmp_path, recwarn):
    model = wrap(one_layer(SIZE, 4, seed=0))
    head = next(layer for layer in model._flatten_layers() if isinstance(layer, ASoftmax))
    head.step.assign(steps)
    model.save(tmp_path / "net.keras")
    load_backbone(tmp_path / "net.keras")
    told = [str(one.message) for one in recwarn if "lambda" in str(one.message)]
    assert bool(told) == is_short
    if is_short:
        assert (
            "net.keras was trained with little of the margin: lambda is 71.6 at step 108" in told[0]
        )
        assert "`total_steps=`" in told[0]
