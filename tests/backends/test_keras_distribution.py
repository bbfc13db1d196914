"""On JAX `keras.distribution` spreads batches, or class weights, over devices, without our code."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_sphereface.backend import BACKEND

pytestmark = [
    pytest.mark.xdist_group("keras_distribution"),
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "jax", reason="`keras.distribution` is for JAX"),
]
ROOT = Path(__file__).resolve().parent.parent.parent
HEADS = ("asoftmax", "sphereface2", "softmax+contrastive", "softmax+center")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """Losses and weights of each layout."""
    folder = tmp_path_factory.mktemp("trained")
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-m", "tests.helpers.keras_distribution_process", str(folder)]
    settings = {"cwd": ROOT, "env": environment, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, layout], **settings) for layout in ("one", "data", "classes")
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("layout", ["data", "classes"])
def test_two_devices_train_as_one(trained, layout, kind):
    for name in ("loss", "kernel", "backbone", "step"):
        np.testing.assert_allclose(
            trained[layout][f"{kind} {name}"], trained["one"][f"{kind} {name}"], atol=1e-5
        )
    assert trained["one"][f"{kind} step"] == 6


@pytest.mark.parametrize("kind", HEADS)
def test_each_device_holds_half_of_the_class_weights_where_these_are_spread(trained, kind):
    widths = {layout: trained[layout][f"{kind} widths"].tolist() for layout in trained}
    assert widths == {"one": [10], "data": [10, 10], "classes": [5, 5]}
