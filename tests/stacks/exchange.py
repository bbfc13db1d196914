"""Files that one stack writes and the other reads: a small network and its head after five steps.

    python tests/stacks/exchange.py write FOLDER
    python tests/stacks/exchange.py read FOLDER

`write` saves them in every format, with the numbers they give; `read` prints as JSON how far what
it reads is from these numbers, or the error that it met, by format.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import keras_sphereface
from keras_sphereface.data import preprocessing
from keras_sphereface.export import saved_model

NUM_CLASSES = 5
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 112, 96, 3), dtype=np.uint8)


class Trained:
    """A network, its head in one piece or in blocks, and the two as one model."""

    def __init__(self, seed: int, block_size: int | None):
        self.network = keras_sphereface.sphereface4(width=0.05, embedding_size=8, seed=seed)
        self.head = keras_sphereface.ASoftmax(NUM_CLASSES, m=4, base=10.0, block_size=block_size)
        self.model = keras.Sequential([self.network, self.head])
        self.model.compile("sgd", loss=self.head.loss)
        self.images = np.asarray(preprocessing.normalize(IMAGES))
        self.model(self.images[:1])  # makes the head's weights

    def fit(self) -> None:
        labels = np.arange(len(IMAGES)) % NUM_CLASSES
        self.model.fit(self.images, labels, batch_size=2, epochs=1, verbose=0)

    def numbers(self) -> dict[str, np.ndarray]:
        embeddings = self.network(self.images, training=False)
        return {
            "embeddings": np.asarray(embeddings),
            "logits": np.asarray(self.head(embeddings)),
            "step": np.asarray(int(self.head.step)),
            "annealing_lambda": np.asarray(float(self.head.annealing_lambda)),
        }


def read_keras_file(trained: Trained, folder: Path) -> None:
    trained.network = keras.models.load_model(folder / "network.keras")


def read_weights_file(trained: Trained, folder: Path) -> None:
    trained.model.load_weights(folder / "model.weights.h5")


def read_arrays(trained: Trained, folder: Path) -> None:
    with np.load(folder / "arrays.npz") as arrays:
        trained.model.set_weights([arrays[name] for name in arrays.files])


READERS = {".keras": read_keras_file, ".weights.h5": read_weights_file, ".npz": read_arrays}


def write(folder: Path, block_size: int | None) -> None:
    trained = Trained(0, block_size)
    trained.fit()
    folder.mkdir(parents=True)
    np.savez(folder / "numbers.npz", **trained.numbers())
    saved_model.export_savedmodel(trained.network, folder / "savedmodel")
    trained.network.save(folder / "network.keras")
    trained.model.save_weights(folder / "model.weights.h5")
    np.savez(folder / "arrays.npz", *trained.model.get_weights())


def read(folder: Path, block_size: int | None) -> dict[str, dict | str]:
    """{format: {number: largest difference}}, or {format: error}."""
    differences: dict[str, dict | str] = {}
    with np.load(folder / "numbers.npz") as written:
        for name, reader in READERS.items():
            trained = Trained(1, block_size)
            try:
                reader(trained, folder)
            except (TypeError, ValueError, OSError) as error:
                differences[name] = f"{type(error).__name__}: {error}"
                continue
            numbers = trained.numbers()
            differences[name] = {k: float(np.abs(numbers[k] - written[k]).max()) for k in numbers}
            trained.fit()
            differences[name]["next_step"] = int(trained.head.step)
    return differences


def main(mode: str, folder: str) -> None:
    for name, block_size in (("whole", None), ("blocks", 2)):
        if mode == "write":
            write(Path(folder) / name, block_size)
        else:
            print(name, json.dumps(read(Path(folder) / name, block_size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
