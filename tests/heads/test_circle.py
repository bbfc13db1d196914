"""The Circle loss: its boundary and the ends of its weights."""

import numpy as np
import pytest

from keras_sphereface import Circle

M, GAMMA = 0.25, 32.0


def loss_at(own, other):
    """The loss of an embedding with these cosines to its own of two classes and to the other."""
    head = Circle(2, m=M, scale=GAMMA, dtype="float64")
    head.build((None, 3))
    third = [np.sqrt(1 - own**2), np.sqrt(1 - other**2)]
    head.kernel.assign(np.array([[own, other], [third[0], 0.0], [0.0, third[1]]]))
    return float(head.compute_losses(np.array([[2.0, 0.0, 0.0]]), [0]).losses[0])


@pytest.mark.parametrize("angle", [0.3, 0.8, 1.2])
def test_on_the_circle_the_loss_is_that_of_a_draw(angle):
    """(1 - s_y)^2 + s_j^2 = 2 m^2."""
    radius = np.sqrt(2) * M
    own, other = 1 - radius * np.cos(angle), radius * np.sin(angle)
    assert loss_at(own, other) == pytest.approx(np.log(2.0), abs=1e-9)
    assert loss_at(own - 0.05, other) > np.log(2.0) > loss_at(own + 0.05, other)


def test_a_negative_farther_than_its_optimum_does_not_count():
    assert loss_at(0.9, -M) == pytest.approx(loss_at(0.9, -0.9), abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": "auto"}, "`scale` must be a number in Circle"),
        ({"m": 1.5}, "`m` must be"),
        ({"gradient": "detached"}, "`gradient` must be one of exact"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Circle(3, **wrong)
