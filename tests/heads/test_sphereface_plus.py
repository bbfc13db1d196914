import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import SphereFacePlus
from tests.heads.test_angular_head import B, D, values


@pytest.mark.slow
def test_the_energy_of_drawn_pairs_is_right_on_average():
    whole = SphereFacePlus(40, energy_classes=40)
    drawn = SphereFacePlus(40, energy_classes=15, block_size=9)
    for head in (whole, drawn):
        head.build((None, D))
    kernel, start = values(whole)[0], 0
    for block in drawn.kernels:
        block.assign(kernel[:, start : start + int(block.shape[1])])
        start += int(block.shape[1])
    x = np.random.default_rng(0).normal(size=(B, D)).astype(np.float32)

    @tf.function
    def energy(step):
        return drawn.energy(drawn.context(x, step, training=True))

    energies = [float(energy(tf.constant(step))) for step in range(300)]
    expected = float(whole.energy(whole.context(x)))
    assert np.std(energies) > 0
    assert abs(np.mean(energies) - expected) < 4 * np.std(energies) / np.sqrt(300)
