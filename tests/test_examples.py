"""The `Example:` of every public class and function runs, and there is one.

Public is what the package or one of its folders lists in `__all__`. An example is a doctest; it
runs in a new folder that holds the files of a user:

    faces/images, faces/landmarks.txt, faces/pairs.txt   generated faces in the form of LFW
    records                                              records of the identities to train on
    model                                                the SavedModel of a small network
"""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import keras_sphereface

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def packages():
    yield "keras_sphereface"
    for module in pkgutil.walk_packages(keras_sphereface.__path__, "keras_sphereface."):
        if module.ispkg:
            yield module.name


def public_objects():
    """{qualified name: object} of the public classes and functions, each once."""
    objects_by_name = {}
    for name in packages():
        package = importlib.import_module(name)
        for public in package.__all__:
            value = getattr(package, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                objects_by_name[f"{value.__module__}.{value.__qualname__}"] = value
    return dict(sorted(objects_by_name.items()))


PUBLIC = public_objects()
# Examples that train, trace or export; they run in `make test`.
SLOW = {
    "keras_sphereface.callbacks.convergence_guard.ConvergenceGuard",
    "keras_sphereface.data.pipeline.training_batches",
    "keras_sphereface.evaluation.evaluate.evaluate",
    "keras_sphereface.evaluation.export_comparison.export_and_compare",
    "keras_sphereface.evaluation.identification.evaluate.evaluate_identification",
    "keras_sphereface.evaluation.projection.fit_and_export_projection",
    "keras_sphereface.experiments.feature_spheres.run.feature_spheres",
    "keras_sphereface.experiments.margin_figures.margin_bounds",
    "keras_sphereface.export.converters.to_onnx",
    "keras_sphereface.export.projection.export_projected",
    "keras_sphereface.export.saved_model.export_savedmodel",
    "keras_sphereface.heads.asoftmax.ASoftmax",
    "keras_sphereface.heads.sphereface2.SphereFace2",
    "keras_sphereface.training.train.train",
}
CASES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW), id=name) for name in PUBLIC]


def test_the_slow_examples_exist():
    assert set(PUBLIC) >= SLOW


@pytest.fixture
def at_hand(faces, records_folder, savedmodel, tmp_path, monkeypatch):
    for name, folder in {"faces": faces, "records": records_folder, "model": savedmodel}.items():
        (tmp_path / name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("at_hand")
def test_the_example_runs(name):
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert "Example:" in text, f"{name} needs an `Example:`"
    assert ">>>" in text.partition("Example:")[2], f"the example of {name} must be a doctest"
    module = importlib.import_module(value.__module__)
    names = {**vars(module), "np": np, value.__name__: value}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    problems: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=problems.append)
    assert not problems, "".join(problems)
