"""Faces as a network sees them and their embeddings, once for all tests of this folder."""

import numpy as np
import pytest

from keras_sphereface.data import alignment, images, landmarks, preprocessing
from keras_sphereface.data.pairs import lfw
from keras_sphereface.models import sphereface4
from tests.helpers.identification import identity_of, save_views


@pytest.fixture(scope="package")
def network():
    """The network of the fixture `savedmodel`."""
    return sphereface4(embedding_size=8, width=0.05, seed=0)


@pytest.fixture(scope="package")
def aligned(faces, tmp_path_factory):
    """The faces of `faces` as the network should see them."""
    root = tmp_path_factory.mktemp("aligned")
    for key, points in landmarks.read_landmarks(faces / "landmarks.txt").items():
        face = alignment.align(images.decode((faces / "images" / key).read_bytes()), points)
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_bytes(images.encode_png(face))
    return root


@pytest.fixture(scope="package")
def views(network, aligned):
    """{key: (2, D)}, computed straight from the network."""
    paths = sorted(aligned.glob("*/*"))
    faces = preprocessing.normalize(np.stack([images.decode(p.read_bytes()) for p in paths]))
    both = np.stack([network(faces), network(faces[:, :, ::-1])], axis=1)
    return {f"{p.parent.name}/{p.name}": pair for p, pair in zip(paths, both, strict=True)}


@pytest.fixture(scope="package")
def saved(views, tmp_path_factory):
    """An .npz file of all of them."""
    return save_views(tmp_path_factory.mktemp("saved") / "by hand.npz", views)


@pytest.fixture
def settings(savedmodel, faces, tmp_path):
    return {
        "model": (str(savedmodel),),
        "out": str(tmp_path / "out"),
        "images": str(faces / "images"),
        "landmarks": str(faces / "landmarks.txt"),
        "batch_size": 16,
    }


@pytest.fixture
def quick(saved, tmp_path):
    """The same from embeddings, which need no network."""
    return {"embeddings": (str(saved),), "out": str(tmp_path / "out")}


@pytest.fixture
def distractors(views, faces, tmp_path):
    """The identities to train on as distractors: an .npz file of 30 images."""
    probes = lfw.read_pairs(faces / "pairs.txt").identities()
    others = {key: view for key, view in views.items() if identity_of(key) not in probes}
    path = save_views(tmp_path / "distractors.npz", others)
    return {"pairs": str(faces / "pairs.txt"), "distractors": str(path)}
