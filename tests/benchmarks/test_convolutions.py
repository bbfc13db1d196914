"""The benchmark of convolutions: its operations agree, its speeds are right."""

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks import convolutions


def test_both_gradients_by_the_kernel_are_the_same():
    made = convolutions._operations(2, (5, 4, 3), 0)
    expected, received = (
        made[name]().numpy() for name in (convolutions.BY_KERNEL, convolutions.FAST)
    )
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert made[convolutions.FORWARD]().shape == made[convolutions.BY_INPUT]().shape == (2, 5, 4, 3)


def test_speeds_are_work_over_seconds():
    names = [convolutions.FORWARD, convolutions.BY_INPUT, convolutions.BY_KERNEL, convolutions.FAST]
    seconds = {
        f"{size} {name}": [1.0 + place, 1.0 + place]
        for size in convolutions.MAPS
        for place, name in enumerate(names)
    }
    seconds[convolutions.PRODUCT] = [1.0, 1.0]
    text = convolutions.describe_convolutions(pd.DataFrame(seconds), 32)
    # 2 x 32 x 56 x 48 x 9 x 64 x 64 operations: 6.3 GFLOP, in 1, 2, 3 and 4 seconds.
    assert "| 56 x 48 x 64 | 6 | 3 | 2 | 2 | 0.75 (0.75 to 0.75) |" in text
    assert "2,048 x 2,048 numbers: 17 GFLOP/s" in text
