"""`sphereface import-weights`: turn weights of Caffe or PyTorch into a network of Keras."""

from pathlib import Path

from keras_sphereface.config.export import ImportWeightsConfig
from keras_sphereface.export.weights import import_weights
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.text import counted


def run_import_weights(config: ImportWeightsConfig) -> None:
    """Import, write the network and print what it is."""
    network = import_weights(config.weights, config.color_order)
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as partial:
        network.save(partial)
    height, width = network.input_shape[1:3]
    print(
        f"{network.name}: RGB faces of {height} x {width}, embeddings of "
        f"{network.output_shape[-1]}, {counted(network.count_params(), 'weight')}"
    )
    print(f"written to {config.out}")
