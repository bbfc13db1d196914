"""CurricularFace: easy negatives, hard ones, and t."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ArcFace, CurricularFace

C, D = 3, 2


def built(make, angles, **settings):
    """A head whose class weights stand at these angles."""
    head = make(C, scale=4.0, dtype="float64", **settings)
    head.build((None, D))
    head.kernel.assign(np.stack([np.cos(angles), np.sin(angles)]))
    return head


def test_with_easy_negatives_it_is_arcface():
    x, labels = np.array([[2.0, 0.1]]), [0]
    heads = [built(make, [0.0, 2.0, 4.0]) for make in (CurricularFace, ArcFace)]
    losses = [head.compute_losses(x, labels).losses for head in heads]
    np.testing.assert_allclose(*losses, atol=1e-12)


@pytest.mark.parametrize("t", [0.0, 0.6])
def test_a_hard_negative_has_its_modulated_logit(t):
    head = built(CurricularFace, [-0.1, 0.2, 3.0], m=0.5)
    head.t.assign(t)
    negative = np.cos(0.2)
    sum_of_negatives = np.exp(4 * negative * (t + negative)) + np.exp(4 * np.cos(3.0))
    expected = np.log1p(sum_of_negatives / np.exp(4 * np.cos(0.1 + 0.5)))
    (loss,) = head.compute_losses(np.array([[1.0, 0.0]]), [0]).losses.numpy()
    assert loss == pytest.approx(expected, rel=1e-12)


def test_t_follows_the_mean_target_cosine_in_training_only():
    head = built(CurricularFace, [0.0, 1.5, 3.0], t_rate=0.5)
    x = np.array([[1.0, 0.0], [np.cos(1.0), np.sin(1.0)]])
    head.compute_losses(x, [0, 0])
    assert float(head.t) == 0.0
    mean = (1.0 + np.cos(1.0)) / 2
    for expected in (mean / 2, mean * 3 / 4):
        head.compute_losses(x, [0, 0], training=True)
        assert float(head.t) == pytest.approx(expected)


def test_a_prediction_is_right_by_the_cosines_though_a_far_negative_has_a_higher_logit():
    """N(0, cos) of a negative behind the embedding is its square."""
    head = built(CurricularFace, [1.4, np.pi - 0.01, 4.5], m=3.0)
    output = head.compute_losses(np.array([[1.0, 0.0]]), [0])
    assert output.correct.numpy().tolist() == [True]


def test_blocks_and_the_prediction_go_together():
    x, labels = np.random.default_rng(0).normal(size=(40, D)), np.arange(40) % C
    heads = [
        built(CurricularFace, [0.0, 2.0, 4.0]),
        CurricularFace(C, scale=4.0, block_size=2, dtype="float64"),
    ]
    heads[1].build((None, D))
    kernel = tf.convert_to_tensor(heads[0].kernel)
    heads[1].kernels[0].assign(kernel[:, :2])
    heads[1].kernels[1].assign(kernel[:, 2:])
    outputs = [head.compute_losses(x, labels, training=True) for head in heads]
    np.testing.assert_allclose(outputs[0].losses, outputs[1].losses, atol=1e-12)
    np.testing.assert_array_equal(outputs[0].correct, outputs[1].correct)
    assert 0 < np.sum(outputs[0].correct) < 40
