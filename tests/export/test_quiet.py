"""Noise of libraries is suppressed while they work, and only then."""

import logging
import os
import warnings

import pytest

from keras_sphereface.export._quiet import quiet
from keras_sphereface.utils.progress import progress_bar


def test_noise_is_suppressed_only_inside(capfd):
    def fail_noisily():
        os.write(2, b"native code\n")
        warnings.warn("a library's", UserWarning, stacklevel=1)
        assert not logging.getLogger("absl").isEnabledFor(logging.WARNING)
        raise KeyError

    with pytest.raises(KeyError), quiet():
        fail_noisily()
    assert logging.getLogger("absl").isEnabledFor(logging.WARNING)
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_our_progress_is_shown_meanwhile(capfd):
    with quiet(), progress_bar(range(2), desc="converting", unit="layer") as bar:
        os.write(2, b"native code\n")
        bar.update(2)
    assert capfd.readouterr().err.startswith("converting: layer 2 of 2 (100 %), ")
