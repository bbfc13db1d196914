"""A fingerprint is that of the bytes and the names of a model's files."""

import shutil

import pytest

from keras_sphereface.recognition import model_fingerprint


def folder_with(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_a_copy_has_the_same_fingerprint(tmp_path):
    model = folder_with(tmp_path / "model", a="12", b="3")
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    assert model_fingerprint(model) == model_fingerprint(str(copy))
    shutil.copy(model / "a", tmp_path / "model.onnx")
    assert model_fingerprint(tmp_path / "model.onnx") == model_fingerprint(model / "a")


def test_other_bytes_names_and_borders_have_another(tmp_path):
    folders = [
        folder_with(tmp_path / "0", a="12", b="3"),
        folder_with(tmp_path / "1", a="1", b="23"),
        folder_with(tmp_path / "2", a="12", c="3"),
        folder_with(tmp_path / "3", a="12", b="4"),
        folder_with(tmp_path / "4", a="123"),
    ]
    assert len({model_fingerprint(folder) for folder in folders}) == 5


def test_no_file_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        model_fingerprint(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="which is empty"):
        model_fingerprint(tmp_path)
