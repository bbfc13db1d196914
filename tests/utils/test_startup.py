"""Lean starts, and the lines of TensorFlow's start that nobody needs."""

import contextlib
import os
import subprocess
import sys

import pytest

from keras_sphereface.utils import startup
from tests.conftest import ROOT

HEAVY = "[m for m in ('tensorflow', 'keras', 'pandas', 'matplotlib', 'cv2') if m in sys.modules]"


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_lean_process_imports_nothing_that_takes_long():
    code = f"import sys, keras_sphereface.commands.main; print({HEAVY})"
    result = python("-c", code, **{startup.DATA_ONLY: "1"})
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_the_command_answers_without_tensorflow(flag):
    result = python("-X", "importtime", "-m", "keras_sphereface", flag)
    assert result.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "keras_sphereface.commands.registry" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "cv2"}


@pytest.mark.slow
def test_a_lean_process_becomes_whole_on_demand():
    code = (
        "import keras_sphereface; from keras_sphereface.utils import startup\n"
        "assert not hasattr(keras_sphereface, 'ASoftmax')\n"
        "startup.import_whole_package()\n"
        "import keras\n"
        "name = 'keras_sphereface>ASoftmax'\n"
        "print(keras.saving.get_registered_object(name) is keras_sphereface.ASoftmax)\n"
    )
    result = python("-c", code, **{startup.DATA_ONLY: "1"})
    assert result.stdout == "True\n", result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/bin/sphereface", "train"], True),
        (["C:\\Scripts\\sphereface.exe"], os.name == "nt"),
        (["sphereface.exe"], True),
        (["train.py", "sphereface"], False),
        (["my-sphereface"], False),
        ([""], False),
        ([], False),
    ],
)
def test_the_program_is_known_by_its_name(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", words)
    assert startup.is_lean() == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-m", "keras_sphereface", "train"], True),
        (["python", "-X", "dev", "-m", "keras_sphereface"], True),
        (["python", "-m", "keras_sphereface.experiments.compare_losses.single"], False),
        (["python", "-m", "pytest", "keras_sphereface"], False),
        (["python", "-m"], False),
    ],
)
def test_python_m_is_known_by_its_module(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "orig_argv", words)
    assert startup.is_lean() == expected


NOISE = "I0000 00:00:1795966699.658967    2678 port.cc:153] oneDNN custom operations are on."
WARNING = "W0000 00:00:1795966699.65    2678 cpu_allocator_impl.cc:83] Allocation exceeds 10%"


def write_past_python(text):
    os.write(2, f"{text}\n".encode())


def test_lines_of_the_start_are_kept_back_and_warnings_are_not(monkeypatch, capfd):
    monkeypatch.setenv(startup.QUIET, "1")
    with startup.without_start_up_lines():
        write_past_python(NOISE)
        write_past_python(WARNING)
        assert capfd.readouterr().err == ""
    write_past_python("later")
    assert capfd.readouterr().err == f"{WARNING}\nlater\n"


def test_an_error_at_the_start_shows_everything(monkeypatch, capfd):
    monkeypatch.setenv(startup.QUIET, "1")
    with contextlib.suppress(ImportError), startup.without_start_up_lines():
        write_past_python(NOISE)
        raise ImportError("libcudart is missing")
    assert capfd.readouterr().err == f"{NOISE}\n"


def test_without_the_variable_nothing_is_kept_back(monkeypatch, capfd):
    monkeypatch.delenv(startup.QUIET, raising=False)
    with startup.without_start_up_lines():
        write_past_python(NOISE)
        assert capfd.readouterr().err == f"{NOISE}\n"


def test_a_gpu_that_is_not_used_is_told_where_there_is_one(monkeypatch):
    line = "W0000 1 gpu_device.cc:2342] Cannot dlopen some GPU libraries."
    for there in (True, False):
        monkeypatch.setattr(startup.Path, "exists", lambda path, there=there: there)
        assert startup.says_nothing(line) != there


@pytest.mark.parametrize("missing", ["keras", "tensorflow"])
def test_what_a_command_misses_is_told_and_without_keras_the_package_is_lean(missing, monkeypatch):
    monkeypatch.delenv(startup.DATA_ONLY, raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(startup.sys, "argv", ["script.py"])
    startup.check_backend()
    assert not startup.is_lean()
    monkeypatch.setattr(
        startup.importlib.util, "find_spec", lambda name: None if name == missing else "found"
    )
    assert startup.is_lean() == (missing == "keras")
    with pytest.raises(ImportError, match=f"Received: an environment without {missing}$"):
        startup.check_backend()


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_asked_for_unless_the_environment_says_otherwise(monkeypatch, given, expected):
    monkeypatch.setattr(os, "environ", {} if given is None else {startup.ONEDNN: given})
    startup.use_onednn()
    assert os.environ == {startup.ONEDNN: expected}
