"""Paths that are no networks, and the one that is named instead."""

import pytest

from keras_sphereface.export.network_files import check_network_path, check_savedmodel_path


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "export" / "variables").mkdir(parents=True)
    (tmp_path / "run" / "export" / "saved_model.pb").touch()
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["net.tflite", "NET.ONNX", "net.keras"])
def test_files_of_networks_and_savedmodels_pass(workdir, name):
    (workdir / name).touch()
    check_network_path(workdir / name)
    check_network_path("run/export")


@pytest.mark.parametrize("given", ["run", "run/export/variables"])
def test_a_folder_above_or_below_names_the_network(workdir, given):
    with pytest.raises(FileNotFoundError, match=f"Received: {given}, .*network is in run/export$"):
        check_network_path(given)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("run/export/saved_model.pb", "Give its folder, run/export$"),
        ("net.h5", "save it with Keras first"),
        ("net.pth", "Received: net.pth$"),
    ],
)
def test_other_files_are_refused_with_the_next_step(workdir, given, advice):
    (workdir.parent / given).touch()
    with pytest.raises(ValueError, match=rf"A network must be a SavedModel folder.*{advice}"):
        check_network_path(given)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("net.keras", "Make one of it first: sphereface export --model run/net.keras --out exp"),
        ("net.onnx", "Received: teacher=run/net.onnx$"),
    ],
)
def test_only_a_folder_is_a_savedmodel(workdir, name, advice):
    (workdir / name).touch()
    with pytest.raises(ValueError, match=rf"`teacher` must be a SavedModel folder\. .*{advice}"):
        check_savedmodel_path(f"run/{name}", "teacher")
    check_savedmodel_path("run/export")


def test_a_training_that_has_not_ended_is_to_be_continued(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="the same sphereface train command continues it"):
        check_network_path(tmp_path)
