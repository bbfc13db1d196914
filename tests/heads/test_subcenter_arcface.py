"""Sub-center ArcFace: the nearest class weight counts, in blocks and of sampled classes too."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ArcFace, SubCenterArcFace

C, D, K = 6, 4, 3
KERNEL = np.random.default_rng(1).normal(size=(D, C * K))
EMBEDDINGS = np.random.default_rng(2).normal(size=(9, D))
LABELS = np.array([0, 3, 5, 1, 3, 0, 2, 5, 5])


def built(**settings):
    head = SubCenterArcFace(C, scale=9.0, num_centers=K, dtype="float64", **settings)
    head.build((None, D))
    start = 0
    for kernel in head.kernels:
        stop = start + int(kernel.shape[1])
        kernel.assign(KERNEL[:, start:stop])
        start = stop
    return head


def loss_and_gradient(head, training=False):
    x = tf.constant(EMBEDDINGS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = head.compute_losses(x, LABELS, training, None if training else 1)
        loss = tf.reduce_sum(output.losses)
    by_x, *by_kernels = tape.gradient(loss, [x, *head.trainable_variables])
    return float(loss), by_x.numpy(), np.concatenate([g.numpy() for g in by_kernels], axis=1)


def test_with_one_center_it_is_arcface():
    heads = [ArcFace(C), SubCenterArcFace(C, num_centers=1)]
    for head in heads:
        head.build((None, D))
        head.kernel.assign(KERNEL[:, :C])
    losses = [head.compute_losses(EMBEDDINGS, LABELS).losses for head in heads]
    np.testing.assert_array_equal(*losses)


def test_the_nearest_center_of_a_class_gives_the_logit():
    units = KERNEL / np.linalg.norm(KERNEL, axis=0)
    rows = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    expected = 9.0 * (rows @ units).reshape(9, C, K).max(axis=2)
    for block_size in (None, 4):
        np.testing.assert_allclose(built(block_size=block_size)(EMBEDDINGS), expected)


def test_only_the_nearest_centers_get_a_gradient():
    units = KERNEL / np.linalg.norm(KERNEL, axis=0)
    nearest = (EMBEDDINGS[:1] @ units).reshape(C, K).argmax(axis=1)
    head, x = built(), tf.constant(EMBEDDINGS[:1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(head.compute_losses(x, LABELS[:1], step=1).losses)
    by_kernel = tape.gradient(loss, head.trainable_variables)[0].numpy().reshape(D, C, K)
    has_gradient = np.abs(by_kernel).max(axis=0) > 0
    np.testing.assert_array_equal(has_gradient, np.arange(K) == nearest[:, None])


@pytest.mark.parametrize("block_size", [None, 1, 4])
def test_where_all_classes_are_sampled_nothing_changes(block_size):
    """With more images than classes Partial FC draws them all, in another order."""
    expected = loss_and_gradient(built())
    actual = loss_and_gradient(built(sample_rate=0.1, block_size=block_size), training=True)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-11)


def test_sampled_classes_bring_all_of_their_centers():
    head = SubCenterArcFace(50, scale=9.0, num_centers=K, sample_rate=0.1, dtype="float64")
    head.build((None, D))
    with tf.GradientTape() as tape:
        losses = head.compute_losses(EMBEDDINGS[:2], [7, 31], training=True).losses
        loss = tf.reduce_sum(losses)
    by_kernel = tape.gradient(loss, head.trainable_variables)[0].numpy().reshape(D, 50, K)
    touched = np.flatnonzero(np.abs(by_kernel).max(axis=(0, 2)) > 0)
    assert len(touched) == 5
    assert {7, 31} <= set(touched.tolist())


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="`num_centers` must be an int >= 1"):
        SubCenterArcFace(C, num_centers=0)
