"""TensorFlow Addons as an oracle: only beside Keras 2.15, and only in tests."""

import importlib
import importlib.util
import warnings
from types import ModuleType

import pytest

from keras_sphereface.utils.compat import KERAS_3


def addons_module(name: str) -> ModuleType:
    """Return `tensorflow_addons.<name>`, or skip the test where it is not installed."""
    if KERAS_3 or importlib.util.find_spec("tensorflow_addons") is None:
        pytest.skip("TensorFlow Addons is not installed, or Keras is not 2.15")
    with warnings.catch_warnings():
        # It warns that it is no longer developed, and of versions it was not tested with.
        warnings.simplefilter("ignore")
        return importlib.import_module(f"tensorflow_addons.{name}")
