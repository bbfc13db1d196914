"""Fixtures of all tests: quiet TensorFlow, a tiny generated data set, and real faces if any."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, synthetic
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import read_landmarks

# The first call of a compiled function takes longer than the usual deadline.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

ROOT = Path(__file__).resolve().parent.parent
# Written by the first version of the code, before modules and arguments got their present names.
OLD_FILES = ROOT / "tests" / "old_files"


def convert_training_identities(faces: Path, out: Path, num_shards: int, **settings: int) -> Path:
    """The records of the 5 training identities of `faces`: 30 aligned images."""
    make_records(
        ConvertConfig(
            source=str(faces / "images"),
            out=str(out),
            landmarks=str(faces / "landmarks.txt"),
            exclude=str(faces / "test_identities.txt"),
            num_shards=num_shards,
            **settings,
        )
    )
    return out


def read_lfw(real_faces: Path, count: int, seed: int):
    """Some real images of 176 x 176 and their points."""
    folder = real_faces / "lfw_dev"
    landmarks = read_landmarks(folder / "landmarks.txt")
    keys = np.random.default_rng(seed).choice(sorted(landmarks), count, replace=False)
    return [(images.decode((folder / "images" / k).read_bytes()), landmarks[k]) for k in keys]


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """5 training identities and 14 in pairs of 7 folds, 6 images each, in the form of LFW."""
    folder = tmp_path_factory.mktemp("faces")
    return synthetic.generate_faces(
        folder,
        num_identities=5,
        images_per_identity=6,
        num_test_identities=14,
        num_folds=7,
        pairs_per_class=4,
        seed=1,
    )


@pytest.fixture(scope="session")
def records_folder(faces, tmp_path_factory) -> Path:
    """The records of the 5 training identities: 30 images in 3 shards."""
    return convert_training_identities(faces, tmp_path_factory.mktemp("records") / "records", 3)


@pytest.fixture(scope="session")
def savedmodel(tmp_path_factory) -> Path:
    """The SavedModel of a small network, never trained: (112, 96) faces, embeddings of 8."""
    from keras_sphereface.export import export_savedmodel
    from keras_sphereface.models import sphereface4

    network = sphereface4(embedding_size=8, width=0.05, seed=0)
    return export_savedmodel(network, tmp_path_factory.mktemp("model") / "export")


@pytest.fixture(scope="session")
def trained_workdir(records_folder, tmp_path_factory) -> Path:
    """The folder of a training of 3 steps: log.csv, summary.md, checkpoints, export."""
    from keras_sphereface.config import TrainConfig
    from keras_sphereface.training import train

    workdir = tmp_path_factory.mktemp("trained") / "run"
    train(
        TrainConfig(
            data=str(records_folder),
            workdir=str(workdir),
            backbone="sphereface4",
            width=0.05,
            embedding_size=8,
            batch_size=10,
            total_steps=3,
            log_steps=1,
        )
    )
    return workdir


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """Real faces beside the checkout; what needs them is skipped where there are none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real faces beside this checkout")
    return folder


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server with pgvector; what needs it is skipped where there can be none."""
    from tests.helpers.postgres import running_server

    with running_server() as server:
        yield server
