"""ElasticFace: the margins that are drawn."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ArcFace, CosFace, ElasticFace

C, D = 5, 4


def test_the_margins_are_normal():
    scipy = pytest.importorskip("scipy.stats")
    drawn = ElasticFace(C, m=0.5, margin_std=0.05, dtype="float64").draw_margins(4000, 7).numpy()
    assert scipy.kstest((drawn - 0.5) / 0.05, "norm").pvalue > 0.01


def test_steps_seeds_and_rows_have_margins_of_their_own():
    draws = [
        ElasticFace(C, seed=seed).draw_margins(50, step).numpy()
        for seed, step in ((0, 1), (0, 2), (1, 1))
    ]
    assert len(np.unique(np.concatenate(draws))) == 150
    again = ElasticFace(C, seed=0).draw_margins(50, 1).numpy()
    np.testing.assert_array_equal(again, draws[0])


def built(make, **settings):
    head = make(C, scale=9.0, dtype="float64", **settings)
    head.build((None, D))
    head.kernel.assign(np.random.default_rng(1).normal(size=(D, C)))
    return head


def batch():
    return np.random.default_rng(0).normal(size=(12, D)), np.arange(12) % C


@pytest.mark.parametrize(("kind", "make"), [("arc", ArcFace), ("cos", CosFace)])
def test_without_training_the_margin_is_its_mean(kind, make):
    head = built(ElasticFace, kind=kind, margin_std=0.3)
    expected = built(make, m=head.m).compute_losses(*batch()).losses
    np.testing.assert_allclose(head.compute_losses(*batch()).losses, expected, atol=1e-12)


def test_sorted_margins_are_larger_the_farther_the_sample_is():
    x, labels = batch()
    plain, ordered = (
        built(ElasticFace, kind="cos", margin_std=0.3, sort_margins=by) for by in (False, True)
    )
    drawn = plain.draw_margins(12, 3).numpy()
    margins = ordered.with_state(ordered.context(x, 3, training=True), labels).state[0].numpy()
    np.testing.assert_allclose(np.sort(margins), np.sort(drawn))
    kernel = tf.convert_to_tensor(ordered.kernel).numpy()
    units = x / np.linalg.norm(x, axis=1, keepdims=True), kernel / np.linalg.norm(kernel, axis=0)
    cosines = np.sum(units[0] * units[1][:, labels].T, axis=1)
    assert (np.diff(margins[np.argsort(-cosines)]) >= 0).all()


@pytest.mark.parametrize("wrong", [{"kind": "sphere"}, {"margin_std": -1.0}, {"m": 4.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        ElasticFace(C, **wrong)
