"""The compiled PReLU and its gradients equal those of the layer."""

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.training.prelu import prelu
from keras_sphereface.utils.compat import tf_variable


def test_output_and_gradients_are_those_of_the_layer():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 4, 6)).astype(np.float32)
    x[0, 0, 0, :3] = 0.0  # where the slope is that of neither side
    x = tf.constant(x)
    alpha = tf.Variable(rng.uniform(-0.5, 1, (1, 1, 6)).astype(np.float32))
    upstream = tf.constant(rng.standard_normal(x.shape).astype(np.float32))
    layer = keras.layers.PReLU(shared_axes=[1, 2])
    layer.build(x.shape)
    layer.alpha.assign(alpha)
    cases = [(layer, tf_variable(layer.trainable_variables[0])), (lambda x: prelu(x, alpha), alpha)]
    results = []
    for call, slopes in cases:
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = call(x)
        results.append([output, *tape.gradient(output, [x, slopes], upstream)])
    (expected, by_inputs, by_slopes), received = results
    np.testing.assert_array_equal(received[0], expected)
    np.testing.assert_array_equal(received[1], by_inputs)
    np.testing.assert_allclose(received[2], by_slopes, rtol=0, atol=1e-5)
