"""Small images for the tests of training, and runs without what takes long at their end."""

import importlib

import pytest
from matplotlib.figure import Figure

from keras_sphereface.training import summary
from tests.conftest import convert_training_identities

train_module = importlib.import_module("keras_sphereface.training.train")


@pytest.fixture(scope="session")
def records_folder(faces, tmp_path_factory):
    """The records of the 5 identities to train on: 30 images of 28 x 24 in 3 shards."""
    folder = tmp_path_factory.mktemp("small_records") / "records"
    return convert_training_identities(faces, folder, 3, height=28, width=24)


@pytest.fixture
def no_curves(monkeypatch):
    """Runs draw no curves."""
    monkeypatch.setattr(summary, "draw_curves", lambda *_: Figure(figsize=(1, 1)))


@pytest.fixture
def no_export(monkeypatch, no_curves):
    """Runs draw no curves and leave an empty export."""

    def export_nothing(network, folder):
        folder.mkdir(exist_ok=True)

    monkeypatch.setattr(train_module.saved_model, "export_savedmodel", export_nothing)


@pytest.fixture(scope="session")
def verified(faces):
    """A function from `verify_steps` to the settings of a verification of generated faces."""
    return lambda steps: {
        "verify_steps": steps,
        "verify_images": str(faces / "images"),
        "verify_pairs": str(faces / "pairs.txt"),
        "verify_landmarks": str(faces / "landmarks.txt"),
    }
