"""Contrastive losses against their definition and TensorFlow Addons."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.losses.contrastive import ContrastiveLoss, contrastive_losses
from tests.helpers.addons import addons_module


@pytest.fixture(scope="module")
def addons():
    return addons_module("losses")


@pytest.mark.parametrize("column", [False, True])
def test_contrastive_losses_are_those_of_the_definition(column):
    is_same, distances = [1, 1, 0, 0, 0, 1], [0.0, 0.5, 0.0, 0.4, 0.8, 3.0]
    expected = [0.0, 0.25, 0.7**2, 0.3**2, 0.0, 9.0]
    arrays = [np.array(is_same), np.array(distances)]
    arrays = [array[:, None] for array in arrays] if column else arrays
    np.testing.assert_allclose(contrastive_losses(*arrays, margin=0.7), expected, atol=1e-15)
    mixed = contrastive_losses(np.array(is_same)[:, None] == 1, distances, 0.7)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_returned_as_it_came(dtype):
    assert contrastive_losses([1, 0], tf.cast([1, 2], dtype)).dtype == dtype


def test_a_compiled_step_gives_the_definition():
    call = tf.function(ContrastiveLoss(0.5).call)
    losses = call(tf.constant([1.0, 0.0]), tf.constant([0.3, 0.1]))
    np.testing.assert_allclose(losses, [0.09, 0.16], atol=1e-6)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_that_is_no_number_from_0_on_is_refused(margin):
    with pytest.raises(ValueError, match="Received: margin="):
        ContrastiveLoss(margin=margin)


def test_the_class_has_the_arguments_and_defaults_of_tensorflow_addons(addons):
    ours, theirs = ContrastiveLoss().get_config(), addons.ContrastiveLoss().get_config()
    assert ours.keys() == theirs.keys()
    assert ours["margin"] == theirs["margin"]


def value_and_gradient(loss, is_same, distances):
    with tf.GradientTape() as tape:
        tape.watch(distances)
        losses = loss.call(tf.convert_to_tensor(is_same), distances)
    return losses.numpy(), tape.gradient(losses, distances).numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("labels", ["float32", "int32", "bool"])
def test_contrastive_losses_equal_those_of_tensorflow_addons(addons, dtype, labels):
    rng = np.random.default_rng(0)
    is_same = rng.integers(0, 2, 30).astype(labels)
    distances = tf.cast(rng.uniform(0, 3, 30), dtype)
    for margin in (0.5, 1.0):
        theirs = value_and_gradient(addons.ContrastiveLoss(margin), is_same, distances)
        ours = value_and_gradient(ContrastiveLoss(margin), is_same, distances)
        for our, their in zip(ours, theirs, strict=True):
            assert our.dtype == their.dtype
            assert our.shape == their.shape == (30,)
            np.testing.assert_allclose(np.float64(our), np.float64(their), rtol=1e-6, atol=1e-7)
