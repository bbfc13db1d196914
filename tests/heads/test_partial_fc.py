"""`sample_classes`: the classes of the batch and a sample of the others."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.heads import _fused_softmax, _partial_fc, _reductions
from tests.heads.conftest import C, D
from tests.heads.test_fused_softmax import plainly


def sampled_sum(data, rate, seed, rows, kernel):
    block, chosen = _partial_fc.sample_classes(
        kernel,
        data["labels"],
        0,
        rate,
        (0, seed),
    )
    target, negatives, _ = _fused_softmax.target_and_negatives(
        rows, [block], _reductions.LogSumExp()
    )
    return target, tf.exp(negatives), chosen


@pytest.mark.slow
def test_sampled_classes_hold_the_batch_and_estimate_the_sum_without_bias(data):
    rng = np.random.default_rng(1)
    kernel = tf.constant(rng.normal(size=(D, 200)))
    rows = data["rows"] / 3.0
    sample = tf.function(lambda seed: sampled_sum(data, 0.2, seed, rows, kernel))
    z = rows @ (kernel / tf.norm(kernel, axis=0))
    is_target = tf.one_hot(data["labels"], 200, dtype=z.dtype)
    expected = tf.reduce_sum(tf.exp(z) * (1 - is_target), axis=1)
    estimates, counts = [], np.zeros(200)
    for seed in range(600):
        target, total, chosen = sample(tf.constant(seed))
        assert len(set(chosen.numpy())) == 40
        assert set(data["labels"].numpy()) <= set(chosen.numpy())
        counts[chosen.numpy()] += 1
        estimates.append(total)
    np.testing.assert_allclose(target, tf.reduce_sum(z * is_target, axis=1), rtol=1e-12)
    standard_error = np.std(estimates, axis=0) / np.sqrt(600)
    assert np.all(np.abs(np.mean(estimates, axis=0) - expected) < 4 * standard_error)
    assert np.all(standard_error < 0.02 * expected)  # the test above is a narrow one
    others = np.delete(counts, data["labels"].numpy())
    assert np.all(np.abs(others - 600 * 34 / 194) < 5 * np.sqrt(600 * 0.175 * 0.825))


def test_the_gradient_of_a_sample_is_that_of_the_sampled_classes(data):
    kernel, rows = data["kernel"], data["rows"]
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        target, total, chosen = sampled_sum(data, 0.6, 5, rows, kernel)
        sum_ = tf.reduce_sum(target + tf.math.log(total))
    by_kernel = tape.gradient(sum_, kernel).numpy()
    chosen = chosen.numpy()
    absent = np.setdiff1d(np.arange(C), chosen)
    assert len(absent) == 3
    np.testing.assert_array_equal(by_kernel[:, absent], 0.0)
    # The same by hand: the weights on the exponentials, then automatic differentiation.
    num_targets = len(set(data["labels"].numpy()))
    share = (C - num_targets) / (len(chosen) - num_targets)
    weights = np.where(np.isin(np.arange(C), data["labels"]), 1.0, share)
    weights[absent] = 0.0
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        target, total = plainly(
            data,
            lambda z, is_negative: tf.reduce_sum(tf.exp(z) * is_negative * weights, 1),
            True,
            False,
        )
        sum_ = tf.reduce_sum(target + tf.math.log(total))
    np.testing.assert_allclose(by_kernel, tape.gradient(sum_, kernel), rtol=1e-10, atol=1e-12)


def test_sampling_repeats_with_its_seed_and_changes_with_another(data):
    picks = [
        sampled_sum(data, 0.7, seed, data["rows"], data["kernel"])[2].numpy().tolist()
        for seed in (1, 1, 2)
    ]
    assert picks[0] == picks[1] != picks[2]
