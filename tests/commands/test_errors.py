"""An error of a command ends in a sentence whose paths are those that the user typed."""

import os

import pytest

from keras_sphereface.commands.errors import ending
from keras_sphereface.commands.main import main
from keras_sphereface.commands.registry import COMMANDS, SYNONYMS


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


def test_a_type_error_of_our_own_is_told_and_another_is_a_fault(capsys):
    for error, shown in (
        (TypeError("`m` must be an int. Received: m=3.5"), "error: `m` must be an int."),
        (TypeError("bad operand"), "error: TypeError: bad operand. This should not happen;"),
    ):
        with pytest.raises(SystemExit), ending():
            raise error
        assert capsys.readouterr().err.startswith(shown)


@pytest.mark.parametrize(("word", "meant"), [*SYNONYMS.items(), ("compar", "compare")])
def test_what_a_command_is_called_elsewhere_names_it(word, meant, capsys):
    assert meant in COMMANDS
    assert word not in COMMANDS
    with pytest.raises(SystemExit) as stopped:
        main([word])
    assert stopped.value.code == 2
    assert f"no command is called '{word}'. Did you mean `{meant}`?" in capsys.readouterr().err
