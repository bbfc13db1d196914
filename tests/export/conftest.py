"""A small network, exported once for all tests of this folder."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.models import sphereface4


@pytest.fixture(scope="session")
def backbone():
    """The network of the fixture `savedmodel`."""
    return sphereface4(embedding_size=8, width=0.05, seed=0)


@pytest.fixture(scope="session")
def images():
    """Squares of one color: noise would be the same gray to every filter."""
    colors = np.random.default_rng(0).integers(0, 256, (9, 7, 6, 3), dtype=np.uint8)
    return colors.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="session")
def both_views(backbone, images):
    """The embeddings of `images` and of their mirror images, by the Keras model, (N, 16)."""
    views = [backbone(preprocessing.normalize(view)) for view in (images, images[:, :, ::-1])]
    return np.concatenate(views, axis=1)


class FixedBatch(tf.Module):
    """A backbone that takes three images and no other number."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        spec = tf.TensorSpec((3, 112, 96, 3), tf.uint8, name="images")

        def call(images):
            embeddings = backbone(preprocessing.normalize(images), training=False)
            # A second output, before `embeddings` in the alphabet.
            return {"embeddings": embeddings, "again": 2 * embeddings}

        self.call = tf.function(call, input_signature=[spec], autograph=False)


@pytest.fixture(scope="session")
def fixed_batch(backbone, tmp_path_factory):
    """A SavedModel of `backbone` for batches of 3."""
    folder = tmp_path_factory.mktemp("fixed") / "export"
    module = FixedBatch(backbone)
    tf.saved_model.save(module, str(folder), signatures=module.call)
    return folder
