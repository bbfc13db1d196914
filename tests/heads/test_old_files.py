"""Models saved before modules and arguments got their present names still load.

`tests/old_files` was written by Keras 3.15, with `chunk_size` and `warm_start` for `block_size` and
`margin_warmup_steps`.
"""

import keras
import numpy as np
import pytest
from packaging.version import Version

from keras_sphereface.heads import ASoftmax
from keras_sphereface.layers import FacePreprocessing
from keras_sphereface.utils.compat import KERAS_3
from tests.conftest import OLD_FILES

pytestmark = pytest.mark.skipif(not KERAS_3, reason="Keras 2.15 reads no .keras file of Keras 3")
# Keras puts arguments of its own layers into the file that earlier versions do not know.
reads_keras_files = pytest.mark.skipif(
    Version(keras.__version__) < Version("3.15"), reason="The .keras files are of a later Keras"
)

HEADS = [
    *("softmax", "normface", "asoftmax", "blocks", "sphereface-plus", "sphereface-r"),
    *("sphereface2", "cosface", "arcface", "contrastive", "center", "triplet"),
]


@pytest.fixture(scope="module")
def expected():
    with np.load(OLD_FILES / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.slow
@reads_keras_files
@pytest.mark.parametrize("name", HEADS)
def test_an_old_keras_file_loads_and_continues(expected, name):
    model = keras.models.load_model(OLD_FILES / f"{name}.keras")
    head = model.layers[-1]
    outputs = model.predict(expected["x"], verbose=0)
    np.testing.assert_allclose(outputs, expected[name], rtol=1e-5, atol=1e-6)
    assert int(head.step.numpy()) == 3
    assert float(head.annealing_lambda) == pytest.approx(float(expected[f"{name}-lambda"]))
    model.fit(expected["x"], np.arange(4) % 3, verbose=0)
    assert int(head.step.numpy()) == 4


@reads_keras_files
def test_renamed_arguments_are_read_from_an_old_file():
    head = keras.models.load_model(OLD_FILES / "blocks.keras").layers[-1]
    assert (head.block_size, head.m, head.annealing.margin_warmup_steps) == (2, 3, 0)
    config = {"num_classes": 3, "chunk_size": 2, "warm_start": 7, "dtype": "float32"}
    assert ASoftmax.from_config(config).annealing.margin_warmup_steps == 7


@pytest.mark.parametrize(
    ("name", "settings"), [("asoftmax", {"m": 4}), ("blocks", {"m": 3, "block_size": 2})]
)
def test_old_weights_are_read_into_a_new_model(expected, name, settings):
    head = ASoftmax(3, **settings)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), head])
    model.compile(keras.optimizers.SGD(0.05), loss=head.loss)
    model.load_weights(OLD_FILES / f"{name}.weights.h5")
    outputs = model.predict(expected["x"], verbose=0)
    np.testing.assert_allclose(outputs, expected[name], rtol=1e-5, atol=1e-6)
    assert int(head.step.numpy()) == 3


@reads_keras_files
def test_an_old_file_with_preprocessing_loads(expected):
    model = keras.models.load_model(OLD_FILES / "preprocessing.keras")
    layer = model.layers[0]
    assert isinstance(layer, FacePreprocessing)
    assert layer.crop == 0.1
    outputs = model.predict(expected["pics"], verbose=0)
    np.testing.assert_allclose(outputs, expected["pre"], rtol=1e-4, atol=1e-5)
