"""Any Keras model from images to vectors, as a network of the same images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.models import (
    EmbeddingNetwork,
    InputContract,
    embedding_network,
    sphereface4,
)
from keras_sphereface.models.embedding_network import (
    adapt_pixels,
    are_equal,
    contract_of,
    embed_pixels,
    probe_images,
)
from tests.helpers import own_networks

SIZE, EMBEDDING_SIZE = (28, 24), 8
PIXELS = np.random.default_rng(1).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
IMAGES = preprocessing.normalize(PIXELS)
# Kinds that embed gray images, or average over the whole image, give other embeddings.
SAME_BODY = [kind for kind in own_networks.KINDS if kind.__name__ not in ("gray", "of_any_size")]


def make(kind):
    return kind((*SIZE, 3), EMBEDDING_SIZE, seed=3)


def reference():
    network = make(own_networks.functional)
    return network, np.asarray(network(IMAGES))


@pytest.mark.parametrize("kind", own_networks.KINDS)
def test_every_kind_takes_the_same_images_and_states_its_shapes(kind):
    network = embedding_network(make(kind), SIZE)
    assert network.input_shape == (None, *SIZE, 3)
    assert network.output_shape == (None, EMBEDDING_SIZE)
    assert contract_of(network).describe() == f"28 x 24 {own_networks.KINDS[kind]}"
    embeddings = np.asarray(network(IMAGES, training=False))
    assert embeddings.shape == (3, EMBEDDING_SIZE)
    np.testing.assert_allclose(embed_pixels(network, PIXELS), embeddings, rtol=1e-4, atol=1e-5)
    traced = tf.function(lambda images: network(images, training=False))
    np.testing.assert_allclose(traced(IMAGES), embeddings, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SAME_BODY)
def test_every_scaling_ends_in_the_same_embeddings(kind):
    _, expected = reference()
    if kind is own_networks.of_unit_norm:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    network = embedding_network(make(kind), SIZE)
    np.testing.assert_allclose(network(IMAGES, training=False), expected, rtol=1e-4, atol=1e-5)


def test_gray_images_are_weighted_as_the_eye_does():
    network = embedding_network(make(own_networks.gray))
    weighted = np.asarray(IMAGES) @ np.array([[0.299], [0.587], [0.114]])
    expected = network.network(weighted.astype(np.float32))
    np.testing.assert_allclose(network(IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", own_networks.KINDS)
def test_dropout_and_batch_normalization_know_that_they_are_trained(kind):
    network = embedding_network(make(kind), SIZE)
    before = network.get_weights()
    one, two = (np.asarray(network(IMAGES, training=True)) for _ in range(2))
    assert np.abs(one - two).max() > 1e-3
    statistics = zip(before, network.get_weights(), strict=True)
    is_changed = any(np.any(old != new) for old, new in statistics)
    assert is_changed == (kind is not own_networks.frozen)


def test_a_network_that_takes_such_images_already_stays_as_it_is():
    for network in (sphereface4(width=0.05), make(own_networks.functional)):
        assert embedding_network(network) is network
    adapted = embedding_network(make(own_networks.scaled))
    assert embedding_network(adapted) is adapted


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_pixels_keep_their_digits_under_a_mixed_policy(policy, monkeypatch):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        network = embedding_network(make(own_networks.preprocessed_floats))
    finally:
        keras.mixed_precision.set_global_policy(before)
    taken = []
    monkeypatch.setattr(network, "network", lambda images, training: taken.append(images))
    pixels = PIXELS * np.float32(0.99)  # as augmentation gives them; whole ones would be exact
    network(preprocessing.normalize(pixels))
    np.testing.assert_allclose(taken[0], pixels, atol=1e-4)


def test_augmented_pixels_are_rounded_for_a_network_of_integers():
    contract = InputContract(SIZE, dtype="uint8", input_range="raw")
    pixels = adapt_pixels(np.array([[[[0.4, 99.6, 254.9]]]], np.float32), contract)
    assert pixels.dtype == tf.uint8
    assert pixels.numpy().ravel().tolist() == [0, 100, 255]


@pytest.mark.parametrize("kind", own_networks.REFUSED)
def test_what_cannot_serve_is_refused_in_a_sentence(kind):
    error = TypeError if kind is own_networks.no_network else ValueError
    with pytest.raises(error, match=own_networks.REFUSED[kind]) as raised:
        embedding_network(make(kind), SIZE)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_collapsed_network_is_taken_where_that_is_asked_for():
    network = make(own_networks.constant)
    assert embedding_network(network, must_differ=False) is network


def test_a_network_of_any_size_needs_one():
    with pytest.raises(ValueError, match=r"`image_size`.*must be given.*Received: image_size=None"):
        embedding_network(make(own_networks.of_any_size))
    with pytest.raises(ValueError, match=r"`image_size`.*must be given"):
        embedding_network(make(own_networks.subclassed))
    called = make(own_networks.subclassed)
    called(IMAGES)
    assert embedding_network(called).input_shape == (None, *SIZE, 3)


@pytest.mark.parametrize(
    "kind",
    [
        own_networks.preprocessed,
        own_networks.gray,
        own_networks.subclassed,
        own_networks.states_raw,
    ],
)
def test_an_adapted_network_is_saved_and_loaded(kind, tmp_path):
    network = embedding_network(make(kind), SIZE)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    assert isinstance(loaded, EmbeddingNetwork)
    assert contract_of(loaded) == contract_of(network)
    np.testing.assert_allclose(loaded(IMAGES), network(IMAGES), atol=1e-6)


def test_probes_differ_at_every_size():
    for size in ((1, 1), (28, 24), (113, 7)):
        images = probe_images(size)
        assert images.shape == (4, *size, 3)
        assert not are_equal(images.reshape(4, -1).astype(np.float32))
