"""Labels that a head refuses, and forms of labels that it takes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import ASoftmax
from tests.losses.conftest import NUM_CLASSES, SIZE


@pytest.mark.slow
@pytest.mark.parametrize("bad", [NUM_CLASSES, -1])
@pytest.mark.parametrize("eager", [True, False])
def test_labels_out_of_range_are_refused(batch, bad, eager):
    head = ASoftmax(NUM_CLASSES)
    labels = np.where(np.arange(64) == 7, bad, batch[1])

    def losses(embeddings, labels):
        return head.loss(labels, head(embeddings))

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"below num_classes(.|\n)*Received"):
        (losses if eager else tf.function(losses))(batch[0], labels)


def test_the_error_names_the_bad_label_wherever_it_stands():
    head = ASoftmax(NUM_CLASSES)
    outputs = head(np.ones((300, SIZE), np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Received labels from(.|\n)*77"):
        head.loss(np.where(np.arange(300) == 200, 77, 0), outputs)


@pytest.mark.parametrize("bad", [0.5, -0.2, float("nan"), 2**32])
def test_labels_that_are_no_whole_numbers_are_refused(batch, bad):
    head = ASoftmax(NUM_CLASSES)
    labels = np.where(np.arange(64) == 7, bad, batch[1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="whole numbers"):
        head.loss(labels, head(batch[0]))


@pytest.mark.slow
def test_labels_out_of_range_give_nan_where_assertions_do_not_run(batch):
    head = ASoftmax(NUM_CLASSES)
    labels = np.where(np.arange(64) == 7, NUM_CLASSES, batch[1])
    compiled = tf.function(lambda x, y: head.loss.call(y, head(x)), jit_compile=True)
    losses = compiled(batch[0], labels)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(64) == 7)


def test_one_hot_labels_are_refused(batch):
    head = ASoftmax(NUM_CLASSES)
    with pytest.raises(
        ValueError, match=r"not one-hot\..*np\.argmax.*Received: labels.shape=\(64, 5\)"
    ):
        head.loss(np.eye(NUM_CLASSES)[batch[1]], head(batch[0]))


def test_fewer_labels_than_outputs_are_refused(batch):
    head = ASoftmax(NUM_CLASSES)
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many labels as embeddings"):
        head.loss(batch[1][:1], head(batch[0]))


def test_labels_of_unknown_shape_are_taken(batch):
    head = ASoftmax(NUM_CLASSES)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)])
    def loss(labels):
        return head.loss(labels, head(batch[0]))

    np.testing.assert_allclose(loss(batch[1][:, None]), head.loss(batch[1], head(batch[0])))
