"""Class weights of new identities: the mean of their faces."""

import numpy as np
import pytest

from keras_sphereface.data import images, records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.models.embedding_network import embed_pixels
from keras_sphereface.training import imprinting
from keras_sphereface.training.build import build_trainer
from tests.helpers.small_training import small_config
from tests.training.test_class_weights import kernel_of


@pytest.fixture
def expected(records_folder):
    """A function from a network and a number of images to the weights (D, C), one by one."""

    def means(network, count):
        rows = []
        for label in range(5):
            faces = [r.image for r in records.read_folder(records_folder) if r.label == label]
            pixels = np.stack([images.decode(face) for face in faces[:count]])
            embeddings = np.asarray(embed_pixels(network, pixels))
            mean = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).mean(axis=0)
            rows.append(mean / np.linalg.norm(mean))
        return np.stack(rows, axis=-1)

    return means


@pytest.mark.parametrize(
    ("settings", "centers"),
    [
        ({"block_size": 2}, 1),
        ({"shard_classes": True}, 1),
        ({"head": "subcenter-arcface", "num_centers": 2, "gamma": None}, 2),
    ],
)
def test_new_classes_begin_at_the_mean_of_their_faces(
    records_folder, expected, monkeypatch, settings, centers
):
    monkeypatch.setattr(imprinting, "IMAGES_OF_AN_IDENTITY", 4)
    monkeypatch.setattr(imprinting, "BATCH_SIZE", 7)
    config = small_config(records_folder, "", **settings)
    trainer = build_trainer(config, records.read_info(records_folder), make_strategy())
    before = kernel_of(trainer)
    assert imprinting.imprint_class_weights(trainer, records_folder, {0, 3, 4}) == 3
    after, means = kernel_of(trainer), expected(trainer.backbone, 4)
    firsts = np.array([0, 3, 4]) * centers
    np.testing.assert_allclose(after[:, firsts], means[:, [0, 3, 4]], atol=1e-5)
    others = np.setdiff1d(np.arange(5 * centers), firsts)
    np.testing.assert_array_equal(after[:, others], before[:, others])
