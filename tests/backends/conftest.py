"""The tests of this folder run on every backend, also where TensorFlow is not installed.

`make test` runs them on TensorFlow, and `make test-backends` on JAX and PyTorch. There
`--confcutdir` leaves out the fixtures of the other tests, which need TensorFlow.
"""

import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
