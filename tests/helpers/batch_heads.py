"""A batch with several images of some identities, for the heads that compare images."""

import numpy as np
import tensorflow as tf

from keras_sphereface.heads import PlainSoftmax

C, D = 6, 5
LABELS = np.array([0, 0, 0, 2, 2, 5, 5, 5, 1])


def clustered_embeddings():
    """Embeddings (9, D) near the unit vectors of their `LABELS`, float32."""
    rng = np.random.default_rng(4)
    return (2.0 * rng.normal(size=(len(LABELS), D)) + np.eye(C, D)[LABELS]).astype(np.float32)


def built(head):
    head.build((None, D))
    return head


def losses_of(head, embeddings, labels=LABELS, training=True):
    return head.compute_losses(tf.constant(embeddings), tf.constant(labels), training=training)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax_losses(head, embeddings):
    """The same class weights without a further term."""
    plain = built(PlainSoftmax(C))
    weights = [*head.kernels, *head.biases]
    for weight, value in zip([*plain.kernels, *plain.biases], weights, strict=True):
        weight.assign(value)
    return losses_of(plain, embeddings).losses.numpy()
