"""The benchmark beside PyTorch: programs of another interpreter as cases."""

import importlib.util
import sys

import pytest

from keras_sphereface.benchmarks.pytorch import PYTORCH_MODES, ScriptCase
from tests.conftest import ROOT

ANSWERS = "import sys\nfor count, _ in enumerate(sys.stdin):\n    print(count + 0.5, flush=True)"


def test_a_program_is_asked_once_for_each_round(tmp_path):
    with ScriptCase("a program", tmp_path, [sys.executable, "-c", ANSWERS]) as case:
        assert [case.run_round() for _ in range(3)] == [0.5, 1.5, 2.5]
    assert case.process.returncode is not None


def test_a_program_that_fails_names_the_file_with_its_error(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no PyTorch here')"]
    with ScriptCase("PyTorch, eager", tmp_path, command) as case:
        with pytest.raises(RuntimeError, match="'PyTorch, eager' ended; its output is in"):
            case.run_round()
        case.process.wait()
    assert case.log.read_text().strip() == "no PyTorch here"


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_the_script_takes_steps(tmp_path):
    script = str(ROOT / "tools" / "pytorch_step.py")
    command = [sys.executable, script, "--batch-size", "2", "--num-classes", "5", "--steps", "1"]
    with ScriptCase("PyTorch", tmp_path, [*command, "--mode", PYTORCH_MODES[1]]) as case:
        assert 0 < case.run_round() < 60
