"""Training steps as XLA programs, and the script that runs them elsewhere."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.benchmarks import hlo
from tests.conftest import ROOT

RECIPE = [
    {"shape": [5, 3], "dtype": "float32", "scale": 2.0},
    {"shape": [4], "dtype": "int32", "below": 5},
]


@pytest.fixture
def program(tmp_path):
    def function(x, labels):
        return tf.reduce_mean(tf.gather(tf.square(x), labels)), 2.0 * x

    hlo.write_program(tmp_path / "small", function, RECIPE, seed=3)
    return tmp_path / "small.hlo"


def test_a_program_is_written_with_its_expected_result(program):
    description = json.loads(program.with_suffix(".json").read_text())
    assert description["arguments"] == RECIPE
    x, labels = hlo.draw_arguments(RECIPE, 3)
    assert (x.dtype, labels.dtype) == (np.float32, np.int32)
    assert description["first_result"] == pytest.approx(np.mean(x[labels] ** 2), rel=1e-6)


def run_hlo(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_hlo.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.full
def test_jax_runs_a_program_and_checks_its_result(program, tmp_path):
    pytest.importorskip("jax")
    shutil.copy(program, tmp_path / "wrong.hlo")
    result = run_hlo(program, program, "--repeats", 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("times small.hlo") == 2
    description = json.loads(program.with_suffix(".json").read_text())
    description["first_result"] *= 1.01
    (tmp_path / "wrong.json").write_text(json.dumps(description))
    result = run_hlo(tmp_path / "wrong.hlo")
    assert result.returncode == 2
    assert "wrong.hlo gives" in result.stderr
    result = run_hlo(tmp_path / "absent.hlo")
    assert result.returncode == 2
    assert "there is no such file" in result.stderr
