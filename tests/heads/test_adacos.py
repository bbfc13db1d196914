"""AdaCos: the scale, and `scale="auto"` of the other heads."""

import numpy as np
import pytest

from keras_sphereface import AdaCos, NormFace
from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads import make_head
from keras_sphereface.heads.adacos import adapted_scale

C, D = 30, 6
KERNEL = np.random.default_rng(1).normal(size=(D, C))


def built(make=AdaCos, **settings):
    head = make(C, dtype="float64", **settings)
    head.build((None, D))
    start = 0
    for kernel in head.kernels:
        stop = start + int(kernel.shape[1])
        kernel.assign(KERNEL[:, start:stop])
        start = stop
    return head


def batch(spread, seed=0):
    labels = np.arange(12) % C
    noise = np.random.default_rng(seed).normal(size=(12, D))
    return KERNEL[:, labels].T + spread * noise, labels


def test_at_the_start_the_scale_is_fixed_and_that_of_auto():
    x, labels = batch(1.0)
    expected = built(NormFace, scale="auto").compute_losses(x, labels).losses
    np.testing.assert_allclose(built().compute_losses(x, labels).losses, expected, atol=1e-12)


@pytest.mark.parametrize("block_size", [None, 7])
@pytest.mark.parametrize("called_first", [False, True])
def test_the_loss_of_a_step_is_at_its_own_scale(block_size, called_first):
    x, labels = batch(1.0)
    head = built(block_size=block_size)
    if called_first:
        losses = head.loss.call(labels, head(x, training=True))
    else:
        losses = head.compute_losses(x, labels, training=True).losses
    scale = float(head.adaptive_scale)
    assert scale != pytest.approx(head.start_scale, rel=0.01)
    expected = built(NormFace, scale=scale).compute_losses(x, labels).losses
    np.testing.assert_allclose(losses, expected, atol=1e-12)


def test_as_angles_fall_the_scale_falls():
    scales = []
    for spread in (3.0, 0.5, 0.05):
        head = built()
        head.compute_losses(*batch(spread), training=True)
        scales.append(float(head.adaptive_scale))
    assert scales[0] > scales[1] > scales[2]


def test_the_median_of_an_even_batch_is_the_mean_of_the_middle_two():
    angles = np.array([0.1, 0.7, 0.3, 1.2])
    scale = float(adapted_scale(np.cos(angles), np.log([5.0, 7.0, 9.0, 11.0])))
    assert scale == pytest.approx(np.log(8.0) / np.cos(0.5))


def test_a_median_beyond_a_quarter_counts_as_a_quarter():
    scale = float(adapted_scale(np.cos([1.5, 1.4, 1.6]), np.log([8.0, 8.0, 8.0])))
    assert scale == pytest.approx(np.log(8.0) * np.sqrt(2.0))


FIXED = [kind for kind, head in HEADS.items() if head.settings.get("scale")]


@pytest.mark.parametrize("kind", FIXED)
def test_auto_is_the_fixed_scale_of_adacos_where_it_holds(kind):
    if kind in ("circle", "uniface"):
        with pytest.raises(ValueError, match="must be a number in"):
            make_head(kind, 4069, scale="auto")
        return
    head = make_head(kind, 4069, scale="auto")
    assert head.get_config()["scale"] == pytest.approx(11.7534, abs=1e-4)
    assert type(head).from_config(head.get_config()).get_config() == head.get_config()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NormFace(2, scale="auto"), "at least 3 classes"),
        (lambda: NormFace(9, scale="large"), '`scale` must be a number above 0, or "auto"'),
        (lambda: AdaCos(2), "at least 3 classes"),
        (lambda: AdaCos(9, scale=16.0), "`scale` must be None in AdaCos"),
    ],
)
def test_wrong_scales_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
