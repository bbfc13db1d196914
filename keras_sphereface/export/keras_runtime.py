"""`.keras` files, opened and run with Keras, without a head at their end."""

from pathlib import Path

import numpy as np

from keras_sphereface.export.backbone import load_backbone
from keras_sphereface.export.network import Network, network_of
from keras_sphereface.export.signature import INPUT, OUTPUT, TensorInfo
from keras_sphereface.models.embedding_network import embed_pixels


def open_keras(path: Path) -> Network:
    """Open a .keras file; see `export.runtime.open_network`."""
    backbone = load_backbone(path)
    inputs = TensorInfo("uint8", tuple(backbone.input_shape))
    outputs = TensorInfo("float32", tuple(backbone.output_shape))

    def run(batch: np.ndarray) -> np.ndarray:
        return np.asarray(embed_pixels(backbone, batch))

    return network_of(path, {INPUT: inputs}, {OUTPUT: outputs}, run)
