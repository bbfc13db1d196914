"""Networks of the user, of every kind, are trained, verified and exported in their own range."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from keras_sphereface.config import EvaluateConfig
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.export import open_network
from keras_sphereface.models.embedding_network import embed_pixels, probe_images
from keras_sphereface.training.train import train
from tests.conftest import convert_training_identities
from tests.helpers import own_networks
from tests.helpers.small_training import small_config, trained_in_memory


@pytest.mark.slow
@pytest.mark.parametrize("kind", own_networks.KINDS)
def test_every_kind_is_trained(records_folder, kind):
    start = trained_in_memory(records_folder, kind, steps=0)
    trainer = trained_in_memory(records_folder, kind, steps=3)
    assert trainer.is_finite
    weights = zip(*(one.backbone.trainable_variables for one in (start, trainer)), strict=True)
    assert all(np.any(np.asarray(old) != np.asarray(new)) for old, new in weights)
    statistics = zip(start.backbone.get_weights(), trainer.backbone.get_weights(), strict=True)
    num_changed = sum(bool(np.any(old != new)) for old, new in statistics)
    num_trained = len(trainer.backbone.trainable_variables)
    has_statistics = kind is not own_networks.frozen
    assert num_changed >= num_trained + 2 * has_statistics


@pytest.mark.slow
def test_the_scaling_of_the_network_changes_nothing_of_the_training(records_folder):
    """The same network in [-1, 1), of pixels, and as a subclass ends with the same weights."""
    kinds = (own_networks.functional, own_networks.scaled_uint8, own_networks.subclassed)
    settings = {"shift": 0.0}  # pixels between pixels are rounded for integers
    trainers = [trained_in_memory(records_folder, kind, **settings) for kind in kinds]
    kernels = [trainer.backbone.trainable_variables[-2] for trainer in trainers]
    for kernel in kernels[1:]:
        np.testing.assert_allclose(np.asarray(kernel), np.asarray(kernels[0]), atol=1e-3)


class Keep(keras.callbacks.Callback):
    """Keeps the network of a run."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [own_networks.preprocessed, own_networks.needs_training, own_networks.gray]
)
def test_what_is_trained_is_verified_and_exported(
    records_folder, faces, verified, tmp_path, no_curves, capfd, kind
):
    keep, workdir = Keep(), tmp_path / "run"
    config = small_config(records_folder, workdir, total_steps=2, **verified(2))
    folder = train(config, kind, [keep])
    pixels = probe_images((28, 24))
    expected = embed_pixels(keep.model, pixels)
    np.testing.assert_allclose(open_network(folder)(pixels), expected, rtol=1e-4, atol=1e-5)
    (evaluated,) = evaluate(
        EvaluateConfig(
            out=str(tmp_path / "out"),
            model=str(folder),
            images=str(faces / "images"),
            pairs=str(faces / "pairs.txt"),
            landmarks=str(faces / "landmarks.txt"),
            bootstrap=0,
        )
    )
    in_run = pd.read_csv(workdir / "verification.csv").iloc[-1]
    np.testing.assert_allclose(in_run["auc"], evaluated.verification.auc, atol=1e-6)
    takes = own_networks.KINDS[kind]
    summary = (workdir / "summary.md").read_text()
    assert f"28 x 24 {takes} (chosen; --input-range); gives 16 values" in summary
    stated = json.loads((folder / "assets.extra" / "network.json").read_text())
    settings = yaml.safe_load((workdir / "config.yaml").read_text())
    assert settings["input_range"] == stated["input_range"]
    assert settings["bias_rule"] == "plain"
    train(config, kind)  # continues: there is nothing left to train
    assert "continuing from step 2" in capfd.readouterr().err


@pytest.mark.slow
# In two steps the averages of batch normalization do not get far from their start.
@pytest.mark.filterwarnings("ignore:.*equal embeddings.*batch normalization")
def test_a_network_of_keras_is_trained_and_exported(faces, tmp_path, no_curves):
    records = convert_training_identities(faces, tmp_path / "records", 1, height=40, width=40)
    keep, workdir = Keep(), tmp_path / "run"
    config = small_config(records, workdir, backbone="keras:MobileNetV3Small", total_steps=2)
    folder = train(config, callbacks=[keep])
    pixels = probe_images((40, 40))
    expected = embed_pixels(keep.model, pixels).numpy()
    np.testing.assert_allclose(open_network(folder)(pixels), expected, atol=1e-3 * expected.max())
    assert yaml.safe_load((workdir / "config.yaml").read_text())["input_range"] == "raw"


def test_a_network_that_cannot_serve_ends_the_run_before_its_first_step(records_folder, tmp_path):
    config = small_config(records_folder, tmp_path / "run")
    with pytest.raises(ValueError, match=r"equal embeddings, of backbone=tests.*:constant"):
        train(config, own_networks.constant)
    assert not list((tmp_path / "run").iterdir())
