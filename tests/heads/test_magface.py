"""MagFace: the margin and the reward by the norm."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ArcFace, MagFace

C, D = 5, 4


def built(make=MagFace, **settings):
    head = make(C, scale=9.0, dtype="float64", **settings)
    head.build((None, D))
    head.kernel.assign(np.random.default_rng(1).normal(size=(D, C)))
    return head


def margins_at(*norms, **settings):
    head = built(**settings)
    rows = np.eye(len(norms), D) * np.array(norms)[:, None]
    return head.margins_of(head.context(rows)).numpy()


def test_the_margin_rises_between_the_bounds_and_stays_beyond():
    margins = margins_at(1.0, 10.0, 60.0, 200.0)
    np.testing.assert_allclose(margins, [0.45, 0.45, 0.625, 0.8])


def test_with_one_margin_and_no_reward_it_is_arcface():
    x, labels = np.random.default_rng(0).normal(size=(6, D)), [0, 1, 2, 3, 4, 0]
    head = built(m=0.5, m_max=0.5, term_weight=0.0)
    expected = built(ArcFace, m=0.5).compute_losses(x, labels).losses
    np.testing.assert_allclose(head.compute_losses(x, labels).losses, expected, atol=1e-12)


def test_the_reward_of_a_long_embedding_has_its_end_at_the_upper_bound():
    """g falls up to norm_max and has no slope beyond."""
    head = built(m=0.5, m_max=0.5, norm_min=1.0, norm_max=4.0, term_weight=1.0)
    x = tf.constant(np.eye(4, D) * np.array([0.5, 2.0, 3.9, 5.0])[:, None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(head.compute_losses(x, [0, 1, 2, 3], step=1).losses)
    along = np.diag(tape.gradient(loss, x).numpy())
    expected = [0.0, -1 / 4 + 1 / 16, -1 / 3.9**2 + 1 / 16, 0.0]
    np.testing.assert_allclose(along, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"m": 0.9}, "`m` must be <= `m_max`"),
        ({"norm_min": 120.0}, "`norm_min` must be below `norm_max`"),
        ({"term_weight": -1.0}, "`term_weight` must be"),
        ({"gradient": "detached"}, "`gradient` must be one of exact"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        MagFace(C, **wrong)
