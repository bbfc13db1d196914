"""An error of a command ends in a sentence whose paths are those that the user typed."""

import os

import pytest

from keras_sphereface.commands.errors import ending
from keras_sphereface.commands.main import main


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Received: {here}/faces/images", "Received: faces/images"),
        ("`{here}/a` and `{here}/b`", "`a` and `b`"),
        ("Received: {here}", "Received: {here}"),
        ("Received: /mnt{here}/faces", "Received: /mnt{here}/faces"),
        ("Received: {here}-2/faces", "Received: {here}-2/faces"),
        ("Received: {here}/../faces", "Received: {here}/../faces"),
    ],
)
def test_paths_below_the_working_folder_are_seen_from_there(
    text, shown, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped, ending():
        raise ValueError(text.format(here=tmp_path))
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"error: {shown.format(here=tmp_path)}\n"


def test_in_the_topmost_and_in_a_removed_folder_paths_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir("/")
    with pytest.raises(SystemExit), ending():
        raise ValueError("Received: /faces")
    folder = tmp_path / "removed"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    with pytest.raises(SystemExit), ending():
        raise ValueError("Received: /faces")
    assert capsys.readouterr().err == "error: Received: /faces\n" * 2


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_command_on_another_backend_ends_before_its_files_are_looked_at(
    backend, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--data", str(tmp_path), "--workdir", str(tmp_path / "run")])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: The command runs on TensorFlow only; ")
    assert message.endswith(f"Received: KERAS_BACKEND={backend}\n")
    assert message.count("\n") == 1
