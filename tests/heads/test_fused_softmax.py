"""`target_and_negatives` against the plain way to compute the same, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.functional import norms
from keras_sphereface.heads import _fused_softmax, _reductions
from tests.heads.conftest import C


def split(sizes, *tensors):
    return [tf.split(tensor, sizes, axis=-1) for tensor in tensors]


def plainly(data, reduce_negatives, normalize, bias, weights=None):
    """Target logit and negatives, written for the reader and left to automatic differentiation."""
    kernel = data["kernel"]
    if normalize:
        kernel = kernel / tf.norm(kernel, axis=0, keepdims=True)
    z = tf.matmul(data["rows"], kernel)
    z = z + data["bias"] if bias else z
    is_target = tf.one_hot(data["labels"], C, dtype=z.dtype)
    return tf.reduce_sum(z * is_target, axis=1), reduce_negatives(z, 1.0 - is_target)


def log_sum_exp(z, is_negative):
    return tf.math.log(tf.reduce_sum(tf.exp(z) * is_negative, axis=1))


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
                _reductions.Block(
                    kernel,
                    _reductions.target_class(data["labels"], int(start), size, len(sizes) == 1),
                    offset if bias else None,
                    inverse=tf.stop_gradient(norms.inverse_norms(kernel)) if normalize else None,
                )
                for kernel, offset, size, start in zip(kernels, biases, sizes, starts, strict=True)
            ]
            target, negatives, highest = _fused_softmax.target_and_negatives(
                data["rows"], blocks, _reductions.LogSumExp()
            )
            sum_ = tf.reduce_sum(target * data["by_target"] + negatives * data["by_negatives"])
        return target, negatives, highest, *tape.gradient(sum_, sources)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        target, negatives = plainly(data, log_sum_exp, normalize, bias)
        sum_ = tf.reduce_sum(target * data["by_target"] + negatives * data["by_negatives"])
    expected = [target, negatives, *tape.gradient(sum_, sources)]
    target, negatives, highest, *gradients = tf.function(ours)() if compiled else ours()
    for actual, value in zip([target, negatives, *gradients], expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-10, atol=1e-12)
    _, expected = plainly(
        data,
        lambda z, is_negative: tf.reduce_max(tf.where(is_negative > 0, z, -np.inf), axis=1),
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
                    _reductions.Block(
                        kernel,
                        _reductions.target_class(data["labels"], start, size, False),
                        inverse=tf.stop_gradient(norms.inverse_norms(kernel)),
                    )
                    for kernel, size, start in zip(kernels, sizes, [0, sizes[0]], strict=False)
                ]
                target, negatives, _ = _fused_softmax.target_and_negatives(
                    data["rows"], blocks, _reductions.WeightedSum(entry, [a, b])
                )
            else:
                target, negatives = plainly(
                    data,
                    lambda z, is_negative: tf.reduce_sum(entry(z, a, b) * is_negative, axis=1),
                    normalize=True,
                    bias=False,
                )
            sum_ = tf.reduce_sum(target * data["by_target"] + negatives * data["by_negatives"])
        results.append([target, negatives, *tape.gradient(sum_, sources)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", [[3], [1, 2], [1, 1, 1]])
def test_a_target_logit_far_above_the_others_does_not_hide_them(sizes):
    """exp of the others, relative to the target logit, would be 0 in float32."""
    rows = tf.constant([[300.0, 0.0], [0.0, 300.0]])
    kernel = tf.constant([[1.0, 0.0, -1.0], [0.0, 1.0, 0.1]])
    (kernels,) = split(sizes, kernel)
    starts = np.cumsum([0, *sizes[:-1]])
    blocks = [
        _reductions.Block(
            k, _reductions.target_class(tf.constant([0, 1]), int(s), n, len(sizes) == 1)
        )
        for k, s, n in zip(kernels, starts, sizes, strict=True)
    ]
    target, negatives, highest = _fused_softmax.target_and_negatives(
        rows, blocks, _reductions.LogSumExp()
    )
    np.testing.assert_allclose(target, [300.0, 300.0])
    np.testing.assert_allclose(negatives, [0.0, 30.0], atol=1e-5)
    np.testing.assert_allclose(highest, [0.0, 30.0], atol=1e-5)
