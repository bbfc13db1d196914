"""Heads by name, and settings that a head refuses."""

import pytest

from keras_sphereface.heads import SoftmaxCenter, SoftmaxContrastive, Triplet, make_head

C = 6


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: SoftmaxContrastive(C, m=2.5), "m=2.5"),
        (lambda: SoftmaxContrastive(C, term_weight=-1.0), "term_weight=-1.0"),
        (lambda: SoftmaxCenter(C, term_weight=-1.0), "term_weight=-1.0"),
        (lambda: SoftmaxCenter(C, center_rate=1.5), "center_rate=1.5"),
        (lambda: Triplet(C, m=-0.1), "m=-0.1"),
        (lambda: Triplet(C, m=2.5, mining="hard"), "m=2.5"),
        (lambda: Triplet(C, mining="soft"), "mining='soft'"),
        (lambda: Triplet(1), "num_classes=1"),
        (lambda: make_head("triplet", C, sample_rate=0.5), "sample_rate=0.5"),
        (lambda: make_head("softmax", C, m=4), "m=4"),
        (lambda: make_head("foo", C), "head='foo'"),
    ],
)
def test_bad_settings_are_refused(make, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        make()
