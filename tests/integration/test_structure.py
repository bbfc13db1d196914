"""Imports run downwards only, scripts only parse and call, and importing does no work."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "keras_sphereface"
MAX_MODULES_OF_SETTINGS = 9
# It runs where neither the package nor TensorFlow is.
STANDALONE = {"run_hlo.py", "pytorch_step.py"}


def test_the_contracts_on_imports_are_kept():
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.is_file():
        pytest.skip("import-linter is not installed beside this Python")
    result = subprocess.run(
        [str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    assert "2 kept, 0 broken" in result.stdout


def public_definitions(path):
    """The names of the public classes and functions that a module defines."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def test_no_public_name_is_defined_twice():
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "backend":  # the same functions for each backend, and those of Keras
            continue
        for name in public_definitions(path):
            places.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_every_package_lists_its_public_names():
    for path in PACKAGE.rglob("__init__.py"):
        names = [
            target.id
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in getattr(node, "targets", None) or [node.target]
            if isinstance(target, ast.Name)
        ]
        assert "__all__" in names, path


def test_settings_stay_near_their_door():
    """An entry point unpacks its settings: few modules ever see the object."""
    names = [
        node.name
        for path in sorted((PACKAGE / "config").glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
    ]
    assert len(names) > 10
    # Commands are the doors themselves.
    doors = ("config", "commands")
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name not in doors]
    texts = {path: path.read_text(encoding="utf-8") for path in modules}
    for name in names:
        seen = [path for path, text in texts.items() if re.search(rf"\b{name}\b", text)]
        assert len(seen) <= MAX_MODULES_OF_SETTINGS, (name, seen)


@pytest.mark.parametrize("folder", ["tools", "examples"])
def test_scripts_only_parse_and_call(folder):
    for path in (ROOT / folder).glob("*.py"):
        if path.name in STANDALONE:
            continue
        definitions = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        assert not definitions, f"{path.name}: what deserves a name belongs in the package"


@pytest.mark.slow
def test_importing_the_package_touches_no_device():
    program = (
        "import keras_sphereface\n"
        "from tensorflow.python.eager import context\n"
        "assert not context.context()._initialized\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
