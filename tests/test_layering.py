"""Imports run downwards only, every module is in its place, and importing does no work."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PACKAGE = "keras_sphereface"
LEVELS = [
    {"angular", "verification", "config", "version", "compat", "progress", "folders", "pictures"}
    | {"lists", "order", "names", "parts", "schedules", "lfw", "html_page"}
    | {"plots.style", "geometry"},
    {"images", "preprocessing", "alignment", "bins", "logits", "losses", "margins", "bootstrap"}
    | {"backbones", "separability", "records", "recordio", "parquet", "parallel"}
    | {"contact_sheet", "measuring", "command_line", "strategies", "launch", "tables"}
    | {"protocols", "identification", "pair_lists", "networks", "projector"}
    | {"figure_files", "metric_losses"}
    | {
        f"plots.{name}"
        for name in ("benchmarks", "features", "losses", "margins", "scores", "training")
    },
    {"base_head"},
    {
        "heads",
        "hlo",
        "augmentation",
        "balanced",
        "archives",
        "synthetic",
        "export",
        "detection",
        "doubts",
    }
    | {"exclusions", "plan", "least", "overview", "turns", "templates"}
    | {"plots", "sphere_page", "face_sets", "evaluation_report"},
    {"layers", "guard", "pipeline", "sources", "preparation", "preprocessing_layer"}
    | {
        "split_head",
        "run_settings",
        "run_summary",
        "embeddings",
        "set_doubts",
        "portable",
        "gallery_report",
    },
    {"description", "checkpoints", "pair_metrics", "systems", "galleries"},
    {"conversion", "evaluation_files", "gallery_inputs", "gallery_files"},
    {"beam", "evaluation", "gallery_evaluation"},
    {"datasets"},
    {"family", "pair_verification", "exporting"},
    {"batch_heads"},
    {"head_kinds"},
    {"head_settings"},
    {"trainer"},
    {"training_log"},
    {"report"},
    {"training"},
    {"sphere_training"},
    {"sphere_numbers"},
    {"sphere_figures"},
    {"spheres", "margin_figures", "benchmark_data", "benchmark_training", "benchmark_evaluation"},
    {"benchmark", "comparison_report", "comparison_run"},
    {"comparison"},
]
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}
# It runs where neither the package nor TensorFlow is.
STANDALONE = {"run_hlo.py"}


def module_of(path):
    """`plots/scores.py` -> "plots.scores", `plots/__init__.py` -> "plots"."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in sorted((ROOT / PACKAGE).glob("**/*.py"))}
del MODULES[""]  # the package itself


def imported(tree):
    """The modules of the package that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(PACKAGE + "."):
            inside = node.module.removeprefix(PACKAGE).removeprefix(".")
            for alias in node.names:
                name = f"{inside}.{alias.name}".removeprefix(".")
                yield name if name in MODULES else inside
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (name.split(".", 1)[1] for name in names if name.startswith(PACKAGE + "."))


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    assert module in LEVEL_OF, f"{module} has no level yet; give it one in this test"
    for name in imported(ast.parse(MODULES[module].read_text())):
        assert LEVEL_OF[name] < LEVEL_OF[module], (
            f"{module} (level {LEVEL_OF[module]}) imports {name} (level {LEVEL_OF[name]}); "
            f"the arrow should point from the higher level to the lower"
        )


@pytest.mark.parametrize("folder", ["tools", "examples"])
def test_scripts_only_parse_and_call(folder):
    for path in (ROOT / folder).glob("*.py"):
        if path.name in STANDALONE:
            continue
        definitions = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
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
