"""Activations that are computed again: the same step, other memory; what cannot be repeated."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.models import sphereface4, sphereface20
from keras_sphereface.training.recompute import recomputing, segments_of
from keras_sphereface.utils.compat import tf_variable
from tests.helpers.small_training import all_weights, trained_in_memory


def test_segments_end_where_branches_meet_and_give_the_network_together():
    network = sphereface20(input_shape=(32, 32, 3), width=0.05, embedding_size=8, seed=0)
    segments = segments_of(network)
    assert len(segments) == 9
    image = x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    for segment in segments:
        x = segment(x)
    np.testing.assert_array_equal(x, network(image))


def test_a_network_without_branches_is_divided_too():
    assert len(segments_of(sphereface4(width=0.05))) > 2


def test_gradients_are_the_same_and_the_segments_are_called_twice():
    network = sphereface20(input_shape=(32, 32, 3), width=0.05, embedding_size=8, seed=0)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    results, convolutions = [], []
    for call in (lambda x: network(x, training=True), recomputing(network)):

        @tf.function
        def gradients(x, call=call):
            with tf.GradientTape() as tape:
                embeddings = call(x)
            return tape.gradient(embeddings, list(map(tf_variable, network.trainable_variables)))

        results.append(gradients(images))
        graph = gradients.get_concrete_function(images).graph
        convolutions.append(sum(op.type == "Conv2D" for op in graph.get_operations()))
    assert convolutions == [20, 40]
    for plain, again in zip(*results, strict=True):
        scale = np.abs(plain).max()
        np.testing.assert_allclose(again, plain, rtol=0, atol=1e-6 * scale)


def small(input_shape, embedding_size, seed):
    return sphereface20(
        input_shape=input_shape, width=0.05, embedding_size=embedding_size, seed=seed
    )


@pytest.mark.slow
def test_recomputation_changes_no_weight(records_folder):
    plain, again = (
        all_weights(trained_in_memory(records_folder, small, precision="float64", remat=remat))
        for remat in (False, True)
    )
    np.testing.assert_allclose(again, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (keras.layers.Dropout(0.5, name="drops"), "drops, a Dropout"),
        (keras.layers.BatchNormalization(name="norm"), "norm, a BatchNormalization"),
        (
            keras.layers.Dense(4, activity_regularizer=keras.regularizers.L2(0.1), name="penal"),
            "penal, a Dense",
        ),
    ],
)
def test_layers_that_compute_something_else_the_second_time_are_refused(layer, named):
    inputs = keras.Input((8,))
    network = keras.Model(inputs, keras.layers.Dense(4)(layer(inputs)))
    with pytest.raises(ValueError, match=f"compute the same each time.*Received: {named}"):
        recomputing(network)


def test_batch_normalization_that_is_held_is_repeated():
    inputs = keras.Input((8,))
    norm = keras.layers.BatchNormalization()
    network = keras.Model(inputs, keras.layers.Dense(4)(norm(inputs)))
    norm.trainable = False
    assert recomputing(network)(tf.zeros((2, 8))).shape == (2, 4)


def test_networks_without_a_graph_or_with_shared_layers_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="needs a functional or Sequential model"):
        recomputing(Own())
    inputs = keras.Input((8,))
    shared = keras.layers.Dense(8, name="twice")
    with pytest.raises(ValueError, match=r"uses every layer once\. Received: twice"):
        recomputing(keras.Model(inputs, shared(shared(inputs))))
