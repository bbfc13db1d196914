"""Paths that are no exported networks, and the one that is named instead."""

import pytest

from keras_sphereface.export.network_files import check_network_path


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "export" / "variables").mkdir(parents=True)
    (tmp_path / "run" / "export" / "saved_model.pb").touch()
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["net.tflite", "NET.ONNX"])
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
        ("net.keras", "sphereface export --model net.keras --out exported$"),
        ("net.h5", "save it with Keras first"),
        ("net.pth", "Received: net.pth$"),
    ],
)
def test_other_files_are_refused_with_the_next_step(workdir, given, advice):
    (workdir.parent / given).touch()
    with pytest.raises(ValueError, match=rf"A network must be a SavedModel folder.*{advice}"):
        check_network_path(given)


def test_a_keras_file_passes_where_it_can_be_read(workdir):
    (workdir / "net.keras").touch()
    check_network_path("run/net.keras", takes_keras=True)


def test_a_training_that_has_not_ended_is_to_be_continued(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="the same sphereface train command continues it"):
        check_network_path(tmp_path)
