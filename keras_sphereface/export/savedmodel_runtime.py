"""SavedModel folders, opened and run with TensorFlow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sphereface.export.network import Network, network_of
from keras_sphereface.export.saved_model import load_savedmodel, signature_tensors
from keras_sphereface.export.signature import INPUT, OUTPUT, SIGNATURE


def open_savedmodel(folder: Path) -> Network:
    """Open the folder of a SavedModel; see `export.runtime.open_network`."""
    model = load_savedmodel(folder)

    def run(batch: np.ndarray) -> np.ndarray:
        try:
            # Through `model`: the signature alone does not keep the variables alive.
            return model.signatures[SIGNATURE](**{INPUT: tf.constant(batch)})[OUTPUT].numpy()
        except tf.errors.OpError as error:
            raise RuntimeError(str(error)) from error

    return network_of(folder, *signature_tensors(model.signatures[SIGNATURE]), run)
