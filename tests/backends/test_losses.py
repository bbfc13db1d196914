"""Losses and gradients of every head in float64, against the formulas of the papers."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_sphereface.backend import value_of
from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads import make_head
from keras_sphereface.heads._partial_fc import sample_classes
from tests.helpers.backends import array, double_precision, losses_and_gradients
from tests.helpers.head_reference import (
    CASES,
    STEP_NUMBER,
    Weights,
    angles_of,
    cross_entropy,
    of_target,
    slopes,
    unit,
)

B, D, C = 9, 4, 6
# Class 5 is not there, and class 3 three times.
LABELS = np.array([0, 3, 1, 3, 4, 0, 3, 2, 1])
# float64 has 2e-16; the sums of a loss and its gradients lose two digits or three.
TOLERANCE = 1e-12
# One of each way through the blocks.
IN_BLOCKS = (
    *("softmax", "normface projected", "asoftmax m 4", "asoftmax caffe", "sphereface+"),
    *("sphereface-r-v2", "sphereface2", "softmax+center", "subcenter-arcface", "curricularface"),
    *("circle", "uniface", "adacos"),
)


def draw(case: str) -> tuple[np.ndarray, Weights]:
    """Embeddings near and far from their class weights, of several lengths, and weights."""
    rng = np.random.default_rng(5)
    count = CASES[case].num_centers
    kernel = rng.normal(size=(D, C * count))
    if "projected" in case:
        kernel = unit(kernel, 0)
    bias = {"sphereface2": np.array(-20.0), "uniface": np.array(2.0)}.get(case, rng.normal(size=C))
    embeddings = 1.5 * rng.normal(size=(B, D)) + unit(kernel, 0)[:, LABELS * count].T
    return embeddings, Weights(kernel, bias, rng.normal(size=(C, D)), CASES[case].state)


def built(case: str, weights: Weights, **settings):
    """A float64 head with these weights."""
    head = make_head(CASES[case].kind, C, dtype="float64", **CASES[case].settings, **settings)
    head.build((None, D))
    start = 0
    for i, kernel in enumerate(getattr(head, "kernels", [])):
        end = start + kernel.shape[1]
        kernel.assign(weights.kernel[:, start:end])
        if head.biases:
            head.biases[i].assign(weights.bias[start:end])
        start = end
    for name in ("bias", "centers"):
        if hasattr(head, name):
            getattr(head, name).assign(getattr(weights, name))
    for name, value in weights.state.items():
        getattr(head, name).assign(value)
    return head


def expected_gradients(case: str, embeddings: np.ndarray, weights: Weights) -> list[np.ndarray]:
    """By embeddings, class weights and bias, as far as the head has them."""
    losses = CASES[case].losses
    gradients = [slopes(lambda x: losses(x, LABELS, weights), embeddings)]
    if HEADS[CASES[case].kind].has_class_weights:
        for name in ("kernel", "bias"):

            def moved(value, name=name):
                return losses(embeddings, LABELS, dataclasses.replace(weights, **{name: value}))

            gradients.append(slopes(moved, getattr(weights, name)))
    return gradients


@pytest.mark.parametrize(
    ("case", "block_size"), [*((case, None) for case in CASES), *((case, 4) for case in IN_BLOCKS)]
)
def test_losses_and_gradients_are_those_of_the_paper(case, block_size):
    has_classes = HEADS[CASES[case].kind].has_class_weights
    embeddings, weights = draw(case)
    with double_precision():
        head = built(case, weights, block_size=block_size) if has_classes else built(case, weights)
        losses, (by_embeddings, *by_weights) = losses_and_gradients(
            head, embeddings, LABELS, STEP_NUMBER
        )
    assert losses.dtype == by_embeddings.dtype == np.float64
    expected = CASES[case].losses(embeddings, LABELS, weights)
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE, atol=TOLERANCE)
    by_embeddings_there, *by_weights_there = expected_gradients(case, embeddings, weights)
    np.testing.assert_allclose(by_embeddings, by_embeddings_there, rtol=TOLERANCE, atol=TOLERANCE)
    if not has_classes:
        return
    count = len(head.kernels)
    by_kernel = np.concatenate(by_weights[:count], axis=1)
    np.testing.assert_allclose(by_kernel, by_weights_there[0], rtol=TOLERANCE, atol=TOLERANCE)
    if by_weights[count:]:
        by_bias = np.concatenate([np.ravel(g) for g in by_weights[count:]])
        expected = np.ravel(by_weights_there[1])
        np.testing.assert_allclose(by_bias, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("case", ["softmax", "cosface"])
def test_of_sampled_classes_each_stands_for_its_share(case):
    """Three of six classes: those of the batch count once, the others drawn for all others."""
    embeddings, weights = draw(case)
    x, labels = embeddings[:2], LABELS[:2]
    with double_precision():
        head = built(case, weights, sample_rate=0.5, seed=7)
        tensor = keras.ops.convert_to_tensor(labels.astype("int32"))
        _, chosen = sample_classes(value_of(head.kernel), tensor, 0, 0.5, (7, STEP_NUMBER))
        losses, gradients = losses_and_gradients(head, x, labels, STEP_NUMBER, training=True)
    counts = np.zeros(C)
    counts[array(chosen)] = 4.0
    counts[labels] = 1.0
    assert counts.sum() == C

    def sampled(x: np.ndarray) -> np.ndarray:
        if case == "softmax":
            logits = x @ weights.kernel + weights.bias
            return cross_entropy(of_target(logits, labels), logits, labels, counts)
        logits = 9.0 * np.cos(angles_of(x, weights.kernel))
        return cross_entropy(of_target(logits, labels) - 9.0 * 0.35, logits, labels, counts)

    np.testing.assert_allclose(losses, sampled(x), rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(gradients[0], slopes(sampled, x), rtol=TOLERANCE, atol=TOLERANCE)


def test_every_head_has_a_formula():
    assert {case.kind for case in CASES.values()} == set(HEADS)
