"""The benchmark of convolutions: its operations agree, its speeds are right."""

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks import convolutions


def test_usual_and_fast_operations_compute_the_same():
    made = convolutions._operations(2, (5, 4, 3), 0)
    for usual, fast in (
        (convolutions.FORWARD, convolutions.FAST_FORWARD),
        (convolutions.BY_KERNEL, convolutions.FAST_BY_KERNEL),
    ):
        expected, received = made[usual]().numpy(), made[fast]().numpy()
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert made[convolutions.BY_INPUT]().shape == (2, 5, 4, 3)


def test_speeds_are_work_over_seconds():
    names = [
        convolutions.FORWARD,
        convolutions.BY_INPUT,
        convolutions.BY_KERNEL,
        convolutions.FAST_FORWARD,
        convolutions.FAST_BY_KERNEL,
    ]
    seconds = {
        f"{size} {name}": [1.0 + place, 1.0 + place]
        for size in convolutions.MAPS
        for place, name in enumerate(names)
    }
    seconds[convolutions.PRODUCT] = [1.0, 1.0]
    text = convolutions.describe_convolutions(pd.DataFrame(seconds), 32)
    # 2 x 32 x 56 x 48 x 9 x 64 x 64 operations: 6.3 GFLOP, in 1 to 5 seconds. The ratio
    # is (1 + 2 + 3) / (4 + 4 + 5).
    assert "| 56 x 48 x 64 | 6 | 3 | 2 | 2 | 1 | 0.46 (0.46 to 0.46) |" in text
    assert "2,048 x 2,048 numbers: 17 GFLOP/s" in text
