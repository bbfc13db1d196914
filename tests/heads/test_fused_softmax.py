"""`target_and_negatives` against the plain way to compute the same, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.functional import norms
from keras_sphereface.heads import _fused_softmax, _partial_fc

B, D, C = 9, 5, 13


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return {
        "rows": tf.constant(3 * rng.normal(size=(B, D))),
        "kernel": tf.constant(rng.normal(size=(D, C))),
        "bias": tf.constant(rng.normal(size=C)),
        # Class 3 three times, class 12 (the last) once, most classes not at all.
        "labels": tf.constant([3, 3, 12, 0, 7, 3, 8, 0, 5]),
        "by_own": tf.constant(rng.normal(size=B)),
        "by_rest": tf.constant(rng.normal(size=B)),
    }


def split(sizes, *tensors):
    return [tf.split(tensor, sizes, axis=-1) for tensor in tensors]


def plainly(data, rest_of, normalize, bias, weights=None):
    """Own logit and rest, written for the reader and left to automatic differentiation."""
    kernel = data["kernel"]
    if normalize:
        kernel = kernel / tf.norm(kernel, axis=0, keepdims=True)
    z = tf.matmul(data["rows"], kernel)
    z = z + data["bias"] if bias else z
    is_own = tf.one_hot(data["labels"], C, dtype=z.dtype)
    return tf.reduce_sum(z * is_own, axis=1), rest_of(z, 1.0 - is_own)


def log_sum_exp(z, is_other):
    return tf.math.log(tf.reduce_sum(tf.exp(z) * is_other, axis=1))


@pytest.mark.parametrize("sizes", [[13], [4, 4, 4, 1], [12, 1]])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_log_sum_exp_equals_the_plain_way(data, sizes, normalize, bias, compiled):
    sources = [data["rows"], data["kernel"], *([data["bias"]] if bias else [])]

    def ours():
        with tf.GradientTape() as tape:
            tape.watch(sources)
            kernels, biases = split(sizes, data["kernel"], data["bias"])
            starts = np.cumsum([0, *sizes[:-1]])
            blocks = [
                _fused_softmax.Block(
                    kernel,
                    _fused_softmax.target_class(data["labels"], int(start), size, len(sizes) == 1),
                    offset if bias else None,
                    inverse=tf.stop_gradient(norms.inverse_norms(kernel)) if normalize else None,
                )
                for kernel, offset, size, start in zip(kernels, biases, sizes, starts, strict=True)
            ]
            own, rest, highest = _fused_softmax.target_and_negatives(
                data["rows"], blocks, _fused_softmax.LogSumExp()
            )
            sum_ = tf.reduce_sum(own * data["by_own"] + rest * data["by_rest"])
        return own, rest, highest, *tape.gradient(sum_, sources)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        own, rest = plainly(data, log_sum_exp, normalize, bias)
        sum_ = tf.reduce_sum(own * data["by_own"] + rest * data["by_rest"])
    expected = [own, rest, *tape.gradient(sum_, sources)]
    own, rest, highest, *gradients = tf.function(ours)() if compiled else ours()
    for actual, value in zip([own, rest, *gradients], expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-10, atol=1e-12)
    _, expected = plainly(
        data,
        lambda z, is_other: tf.reduce_max(tf.where(is_other > 0, z, -np.inf), axis=1),
        normalize,
        bias,
    )
    np.testing.assert_allclose(highest, expected)


@pytest.mark.parametrize("sizes", [[13], [6, 7]])
def test_a_sum_over_classes_equals_the_plain_way(data, sizes):
    def entry(z, a, b):
        return tf.nn.softplus(a * z**3 + b)

    a, b = tf.constant(0.3, tf.float64), tf.constant(-0.2, tf.float64)
    sources = [data["rows"], data["kernel"], a, b]
    results = []
    for ours in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            if ours:
                (kernels,) = split(sizes, data["kernel"])
                blocks = [
                    _fused_softmax.Block(
                        kernel,
                        _fused_softmax.target_class(data["labels"], start, size, False),
                        inverse=tf.stop_gradient(norms.inverse_norms(kernel)),
                    )
                    for kernel, size, start in zip(kernels, sizes, [0, sizes[0]], strict=False)
                ]
                own, rest, _ = _fused_softmax.target_and_negatives(
                    data["rows"], blocks, _fused_softmax.WeightedSum(entry, [a, b])
                )
            else:
                own, rest = plainly(
                    data,
                    lambda z, is_other: tf.reduce_sum(entry(z, a, b) * is_other, axis=1),
                    normalize=True,
                    bias=False,
                )
            sum_ = tf.reduce_sum(own * data["by_own"] + rest * data["by_rest"])
        results.append([own, rest, *tape.gradient(sum_, sources)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", [[3], [1, 2], [1, 1, 1]])
def test_an_own_logit_far_above_the_others_does_not_hide_them(sizes):
    """exp of the others, relative to the own logit, would be 0 in float32."""
    rows = tf.constant([[300.0, 0.0], [0.0, 300.0]])
    kernel = tf.constant([[1.0, 0.0, -1.0], [0.0, 1.0, 0.1]])
    (kernels,) = split(sizes, kernel)
    starts = np.cumsum([0, *sizes[:-1]])
    blocks = [
        _fused_softmax.Block(
            k, _fused_softmax.target_class(tf.constant([0, 1]), int(s), n, len(sizes) == 1)
        )
        for k, s, n in zip(kernels, starts, sizes, strict=True)
    ]
    own, rest, highest = _fused_softmax.target_and_negatives(
        rows, blocks, _fused_softmax.LogSumExp()
    )
    np.testing.assert_allclose(own, [300.0, 300.0])
    np.testing.assert_allclose(rest, [0.0, 30.0], atol=1e-5)
    np.testing.assert_allclose(highest, [0.0, 30.0], atol=1e-5)


def sampled_sum(data, rate, seed, rows, kernel):
    block, chosen = _partial_fc.sample_classes(
        kernel,
        data["labels"],
        0,
        rate,
        tf.stack([0, seed]),
    )
    own, rest, _ = _fused_softmax.target_and_negatives(rows, [block], _fused_softmax.LogSumExp())
    return own, tf.exp(rest), chosen


def test_sampled_classes_hold_the_batch_and_estimate_the_sum_without_bias(data):
    rng = np.random.default_rng(1)
    kernel = tf.constant(rng.normal(size=(D, 200)))
    rows = data["rows"] / 3.0
    sample = tf.function(lambda seed: sampled_sum(data, 0.2, seed, rows, kernel))
    z = rows @ (kernel / tf.norm(kernel, axis=0))
    is_own = tf.one_hot(data["labels"], 200, dtype=z.dtype)
    expected = tf.reduce_sum(tf.exp(z) * (1 - is_own), axis=1)
    estimates, counts = [], np.zeros(200)
    for seed in range(600):
        own, total, chosen = sample(tf.constant(seed))
        assert len(set(chosen.numpy())) == 40
        assert set(data["labels"].numpy()) <= set(chosen.numpy())
        counts[chosen.numpy()] += 1
        estimates.append(total)
    np.testing.assert_allclose(own, tf.reduce_sum(z * is_own, axis=1), rtol=1e-12)
    standard_error = np.std(estimates, axis=0) / np.sqrt(600)
    assert np.all(np.abs(np.mean(estimates, axis=0) - expected) < 4 * standard_error)
    assert np.all(standard_error < 0.02 * expected)  # the test above is a narrow one
    others = np.delete(counts, data["labels"].numpy())
    assert np.all(np.abs(others - 600 * 34 / 194) < 5 * np.sqrt(600 * 0.175 * 0.825))


def test_the_gradient_of_a_sample_is_that_of_the_sampled_classes(data):
    kernel, rows = data["kernel"], data["rows"]
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        own, total, chosen = sampled_sum(data, 0.6, 5, rows, kernel)
        sum_ = tf.reduce_sum(own + tf.math.log(total))
    by_kernel = tape.gradient(sum_, kernel).numpy()
    chosen = chosen.numpy()
    rest = np.setdiff1d(np.arange(C), chosen)
    assert len(rest) == 3
    np.testing.assert_array_equal(by_kernel[:, rest], 0.0)
    # The same by hand: the weights on the exponentials, then automatic differentiation.
    num_own = len(set(data["labels"].numpy()))
    share = (C - num_own) / (len(chosen) - num_own)
    weights = np.where(np.isin(np.arange(C), data["labels"]), 1.0, share)
    weights[rest] = 0.0
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        own, total = plainly(
            data, lambda z, is_other: tf.reduce_sum(tf.exp(z) * is_other * weights, 1), True, False
        )
        sum_ = tf.reduce_sum(own + tf.math.log(total))
    np.testing.assert_allclose(by_kernel, tape.gradient(sum_, kernel), rtol=1e-10, atol=1e-12)


def test_sampling_repeats_with_its_seed_and_changes_with_another(data):
    picks = [
        sampled_sum(data, 0.7, seed, data["rows"], data["kernel"])[2].numpy().tolist()
        for seed in (1, 1, 2)
    ]
    assert picks[0] == picks[1] != picks[2]
