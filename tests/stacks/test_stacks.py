"""Two stacks, one code: few differences, in one place, and files that either reads of the other.

`make test-addons` names the interpreter of the other stack in SPHEREFACE_OTHER_PYTHON. Without it
the tests that need both are skipped.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.helpers.addons import addons_module
from tests.stacks.exchange import IMAGES

SWITCHES = 13
# They report versions and decide nothing by them.
REPORTING = {
    "keras_sphereface/training/run_config.py",
    "keras_sphereface/utils/environment.py",
    "keras_sphereface/benchmarks/backends.py",
}
EXCHANGE = ROOT / "tests" / "stacks" / "exchange.py"
COMPAT = ("keras_sphereface/backend/__init__.py", "keras_sphereface/utils/compat.py")
WITHOUT_THE_PACKAGE = """
import sys
from pathlib import Path
sys.modules["keras_sphereface"] = None  # importing it would fail
import numpy as np, tensorflow as tf
folder = Path(sys.argv[1])
images = tf.constant(np.load(sys.argv[2]))
loaded = tf.saved_model.load(str(folder / "savedmodel"))
embeddings = loaded.signatures["serving_default"](images=images)["embeddings"]
written = np.load(folder / "numbers.npz")["embeddings"]
print(float(np.abs(embeddings - written).max()))
"""


def switches(path):
    """Lines of a module that ask which Keras or TensorFlow it runs on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id="KERAS_3") | ast.alias(name="KERAS_3") | ast.Attribute(attr="KERAS_3"):
                yield node.lineno
            case (
                ast.Attribute(value=ast.Name(id=library), attr="__version__" | "version")
                | ast.Call(func=ast.Name(id="hasattr"), args=[ast.Name(id=library), _])
            ) if library in ("keras", "tf", "tensorflow"):
                yield node.lineno


@pytest.mark.skipif("SPHEREFACE_OTHER_PYTHON" not in os.environ, reason="it is the other stack")
def test_make_test_addons_runs_beside_tensorflow_addons():
    assert hasattr(addons_module("losses"), "TripletSemiHardLoss")


def test_only_compat_asks_which_keras_it_is():
    lines = []
    for folder in ("keras_sphereface", "examples", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name not in (*COMPAT, *REPORTING):
                lines += [f"{name}:{line}" for line in switches(path)]
    assert not lines, f"they belong in keras_sphereface/utils/compat.py: {', '.join(lines)}"


def test_the_differences_are_few():
    lines = [line for path in COMPAT for line in set(switches(ROOT / path))]
    assert 1 < len(lines) <= SWITCHES


@pytest.fixture(scope="session")
def other_python() -> str:
    path = os.environ.get("SPHEREFACE_OTHER_PYTHON", "")
    if not path:
        pytest.skip("SPHEREFACE_OTHER_PYTHON names no interpreter of the other stack")
    return path


def run(python, *words) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def exchange(other_python, tmp_path_factory) -> list[tuple[str, Path]]:
    """For each direction: who reads, and what the other stack has written."""
    folder = tmp_path_factory.mktemp("exchange")
    run(sys.executable, EXCHANGE, "write", folder / "this_stack")
    run(other_python, EXCHANGE, "write", folder / "other_stack")
    return [(other_python, folder / "this_stack"), (sys.executable, folder / "other_stack")]


@pytest.fixture(scope="session")
def readings(exchange) -> list[dict]:
    """Differences that each stack reads in the files of the other, by head and format."""
    return [
        {
            name: json.loads(differences)
            for name, differences in (
                line.split(" ", 1) for line in run(reader, EXCHANGE, "read", folder).splitlines()
            )
        }
        for reader, folder in exchange
    ]


@pytest.mark.slow
def test_a_savedmodel_is_read_by_the_other_stack_without_the_package(exchange, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    for reader, folder in exchange:
        printed = run(
            reader, "-I", "-c", WITHOUT_THE_PACKAGE, folder / "whole", tmp_path / "images.npy"
        )
        assert float(printed) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", [".weights.h5", ".npz"])
@pytest.mark.parametrize("head", ["whole", "blocks"])
def test_weights_continue_on_the_other_stack(readings, head, name):
    for reading in readings:
        differences = dict(reading[head][name])
        # Five steps a run: the count goes on, and lambda with it.
        assert differences.pop("next_step") == 10
        assert differences.pop("step") == differences.pop("annealing_lambda") == 0
        assert max(differences.values()) < 1e-5


@pytest.mark.slow
def test_a_keras_file_stays_on_its_stack(readings):
    for reading in readings:
        assert "deserialize" in reading["whole"][".keras"]
