"""The networks of the paper give the same embeddings from the same weights on every backend."""

import numpy as np
import pytest

from keras_sphereface import sphereface10
from keras_sphereface.models import embedding_network
from tests.helpers.backends import array

SHAPE = (21, 18, 3)  # odd and even, so that a wrong padding shows


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Sums of products over 3 x 3 pixels, one pixel of zeros around the image."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows[:, ::stride, ::stride], kernel)


def embed_in_numpy(weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """SphereFace-10 of Table 2: stages of a convolution with stride 2 and 0, 1, 2, 0 blocks."""
    x = images

    def prelu(x: np.ndarray, name: str) -> np.ndarray:
        return np.where(x > 0, x, x * weights[f"relu{name}/alpha"])

    for stage, blocks in enumerate((0, 1, 2, 0), start=1):
        first = f"{stage}_1"
        x = convolve(x, weights[f"conv{first}/kernel"], 2) + weights[f"conv{first}/bias"]
        x = prelu(x, first)
        for block in range(blocks):
            y = x
            for name in (f"{stage}_{2 * block + 2}", f"{stage}_{2 * block + 3}"):
                y = prelu(convolve(y, weights[f"conv{name}/kernel"], 1), name)
            x = x + y
    return x.reshape(len(x), -1) @ weights["fc1/kernel"] + weights["fc1/bias"]


@pytest.fixture(scope="module")
def network():
    """A narrow network with weights of which none is at its start value."""
    model = sphereface10(input_shape=SHAPE, width=0.1, embedding_size=8)
    rng = np.random.default_rng(6)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) in (2, 4) else 4.0
        weight.assign(rng.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def test_embeddings_are_those_of_the_formulas(network):
    images = np.random.default_rng(1).uniform(-1, 1, (3, *SHAPE)).astype("float32")
    weights = {
        "/".join((getattr(w, "path", None) or w.name.split(":")[0]).split("/")[-2:]): array(w)
        for w in network.weights
    }
    expected = embed_in_numpy(weights, images)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(network.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_a_network_of_pixels_gets_the_same_images(network):
    adapted = embedding_network(network, input_range="raw")
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype("float32")
    embeddings = array(adapted((pixels - 127.5) / 128.0))
    np.testing.assert_allclose(embeddings, network.predict(pixels, verbose=0), rtol=1e-4, atol=1e-3)
