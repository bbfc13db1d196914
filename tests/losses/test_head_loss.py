"""`HeadLoss` gets the outputs of its head, and refuses others."""

import gc
import weakref

import keras
import pytest
import tensorflow as tf

from keras_sphereface import ASoftmax, ASoftmaxLoss
from tests.losses.conftest import NUM_CLASSES, SIZE


def test_a_loss_with_another_m_than_the_head_is_refused(batch):
    outputs = ASoftmax(NUM_CLASSES, m=4)(batch[0])
    with pytest.raises(ValueError, match=r"use `loss=head.loss`. Received: m=3 in the loss"):
        ASoftmaxLoss(m=3)(batch[1], outputs)


def test_a_loss_of_something_else_than_the_heads_outputs_is_refused(batch):
    head = ASoftmax(NUM_CLASSES)
    with pytest.raises(ValueError, match="the very tensor that the head returned"):
        head.loss(batch[1], head(batch[0]).numpy())


def test_outputs_that_crossed_into_another_function_are_refused_when_it_runs(batch):
    head = ASoftmax(NUM_CLASSES)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the very tensor"):
        tf.function(head.loss.__call__)(batch[1], head(batch[0]))


def test_a_layer_after_the_head_is_refused_when_it_is_trained(batch):
    head = ASoftmax(NUM_CLASSES)
    model = keras.Sequential([keras.Input((SIZE,)), head, keras.layers.Softmax()])
    model.compile("sgd", loss=head.loss)
    with pytest.raises(ValueError, match="a layer behind the head changes its logits"):
        model.fit(*batch, verbose=0)


@pytest.mark.slow
def test_outputs_are_freed_when_no_one_holds_them(batch):
    outputs = ASoftmax(NUM_CLASSES)(batch[0])
    freed = weakref.ref(outputs)
    del outputs
    gc.collect()
    assert freed() is None
