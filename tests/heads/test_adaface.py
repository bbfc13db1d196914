"""AdaFace: what the norms of the batches do to the margin."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import AdaFace, ArcFace, CosFace

C, D = 5, 4


def embeddings_of(norms):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(norms), D))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * np.array(norms)[:, None]


def built(make, **settings):
    head = make(C, scale=9.0, dtype="float64", kernel_initializer="lecun_uniform", **settings)
    head.build((None, D))
    head.kernel.assign(np.random.default_rng(1).normal(size=(D, C)))
    return head


@pytest.mark.parametrize(("norm", "other"), [(10.0, "arcface"), (20.0, "cosface")])
def test_a_poor_image_has_the_margin_of_arcface_and_an_average_one_that_of_cosface(norm, other):
    head = built(AdaFace, m=0.4)
    head.norm_std.assign(1.0)
    x, labels = embeddings_of([norm] * 4), [0, 1, 2, 4]
    make = ArcFace if other == "arcface" else CosFace
    expected = built(make, m=0.4).compute_losses(x, labels).losses
    np.testing.assert_allclose(head.compute_losses(x, labels).losses, expected, atol=1e-12)


def test_the_statistics_are_moving_averages_and_only_training_moves_them():
    head = built(AdaFace, norm_rate=0.25)
    x = embeddings_of([1.0, 2.0, 6.0, 500.0])  # the last counts as 100
    head.compute_losses(x, [0, 1, 2, 3])
    assert (float(head.norm_mean), float(head.norm_std)) == (20.0, 100.0)
    for _ in range(2):
        head.compute_losses(x, [0, 1, 2, 3], training=True)
    norms = [1.0, 2.0, 6.0, 100.0]
    mean, std = np.mean(norms), np.std(norms, ddof=1)
    assert float(head.norm_mean) == pytest.approx(mean + (20.0 - mean) * 0.75**2)
    assert float(head.norm_std) == pytest.approx(std + (100.0 - std) * 0.75**2)


def test_no_gradient_makes_embeddings_longer():
    head, labels = built(AdaFace), [0, 1, 2]
    head.norm_std.assign(1.0)
    x = tf.constant(embeddings_of([19.5, 20.0, 20.5]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(head.compute_losses(x, labels, step=1).losses)
    along = tf.reduce_sum(tape.gradient(loss, x) * x, axis=1)
    np.testing.assert_allclose(along, 0.0, atol=1e-9)


def test_a_batch_of_one_has_a_spread_of_zero():
    head = built(AdaFace, norm_rate=1.0)
    output = head.compute_losses(embeddings_of([3.0]), [0], training=True)
    assert float(head.norm_std) == 0.0
    assert np.isfinite(output.losses.numpy()).all()


@pytest.mark.parametrize("wrong", [{"m": -0.1}, {"h": 0.0}, {"norm_rate": 1.5}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        AdaFace(C, **wrong)
