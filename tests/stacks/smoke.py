"""Smoke test of an installed package, in any folder: `python -I tests/stacks/smoke.py`.

Generated faces, records, five steps of A-Softmax, the SavedModel, and the verification of pairs of
identities never trained on. It prints `smoke test passed: VERSIONS` last.
"""

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_sphereface
from keras_sphereface.config import ConvertConfig, EvaluateConfig, TrainConfig
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.synthetic import generate_faces
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.training.train import train


def train_by_hand() -> None:
    """Five steps of `fit`, as the README's first lines do it."""
    network = keras_sphereface.sphereface4(width=0.05, embedding_size=8, seed=0)
    head = keras_sphereface.ASoftmax(num_classes=3, m=4)
    model = keras.Sequential([network, head])
    model.compile("sgd", loss=head.loss)
    images = np.random.default_rng(0).normal(size=(10, 112, 96, 3)).astype("float32")
    history = model.fit(images, np.arange(10) % 3, batch_size=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert int(head.step) == 5


def run_the_whole_job(folder: Path) -> None:
    faces = generate_faces(folder / "faces", 3, 4, 6, 2, 3, seed=1)
    shared = {"landmarks": str(faces / "landmarks.txt")}
    make_records(
        ConvertConfig(
            source=str(faces / "images"),
            out=str(folder / "records"),
            exclude=str(faces / "test_identities.txt"),
            workers=1,
            **shared,
        )
    )
    settings = {"backbone": "sphereface4", "width": 0.05, "embedding_size": 8, "batch_size": 4}
    model = train(
        TrainConfig(
            data=str(folder / "records"), workdir=str(folder / "run"), total_steps=5, **settings
        )
    )
    evaluate(
        EvaluateConfig(
            out=str(folder / "evaluation"),
            model=(str(model),),
            pairs=(str(faces / "pairs.txt"),),
            images=(str(faces / "images"),),
            landmarks=(shared["landmarks"],),
            bootstrap=10,
        )
    )
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics
    assert (folder / "evaluation" / "report.html").is_file()


def main() -> None:
    installed = importlib.metadata.version("keras-sphereface")
    assert installed == keras_sphereface.__version__, installed
    train_by_hand()
    with tempfile.TemporaryDirectory() as folder:
        run_the_whole_job(Path(folder))
    print(f"the package lies in {Path(keras_sphereface.__file__).parent}")
    print(
        f"smoke test passed: Python {sys.version.split()[0]}, TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}, NumPy {np.__version__}"
    )


if __name__ == "__main__":
    main()
