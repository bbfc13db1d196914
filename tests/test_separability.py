import numpy as np
import pytest

from keras_sphereface import separability


def at(*degrees):
    return np.array([(np.cos(np.radians(d)), np.sin(np.radians(d))) for d in degrees])


def test_angles_of_known_directions():
    lengths = np.array([[1.0], [5.0], [0.1], [2.0]])
    angles = separability.class_angles(lengths * at(0, 10, 50, 70), np.array([7, 7, 3, 3]))
    np.testing.assert_allclose(angles, (7.5, 20.0, 40.0), atol=1e-6)
    assert angles.criterion_holds
    overlapping = separability.class_angles(at(0, 50, 40, 70), np.array([0, 0, 1, 1]))
    assert not overlapping.criterion_holds


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_one_class_or_single_samples_are_refused(labels):
    with pytest.raises(ValueError, match="At least two classes"):
        separability.class_angles(at(0, 10, 50), np.array(labels))
