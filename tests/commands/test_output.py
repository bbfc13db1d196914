"""Results go to standard output and end with their place; progress goes to standard error."""

import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.utils import startup
from tests.helpers.terminal import pipe, screen, terminal

FACES = ("--num-identities", "2", "--images-per-identity", "2", "--num-test-identities", "0")
TRAINING = ("--backbone", "sphereface4", "--width", "0.05", "--batch-size", "4")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The environment as it was, once a command has set its variable."""
    monkeypatch.setenv(startup.QUIET, "1")


def test_generated_faces(tmp_path, capfd):
    with pipe() as errors:
        assert main(["faces", "--out", str(tmp_path / "faces"), *FACES]) == 0
    assert capfd.readouterr().out.splitlines()[-1].endswith(str(tmp_path / "faces"))
    (line,) = errors.text.splitlines()
    assert line.startswith("generating faces: image 4 of 4 (100 %), ")
    assert "\r" not in errors.text


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 60])
def test_bars_of_a_conversion(faces, tmp_path, capfd, columns):
    flags = ("--source", f"{faces}/images", "--landmarks", f"{faces}/landmarks.txt")
    with terminal(columns) as errors:
        assert main(["convert", *flags, "--out", str(tmp_path / "records")]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == f"written to {tmp_path / 'records'}"
    listing, writing, *rest = screen(errors.text, columns)
    assert listing.startswith("listing: 114image [")
    assert writing.startswith("records: 100%|")
    assert "114/114" in writing
    assert not any(rest)


@pytest.mark.full
def test_a_training_that_continues_to_an_evaluation(records_folder, faces, tmp_path, capfd):
    run = str(tmp_path / "run")
    flags = ("--data", str(records_folder), "--workdir", run, "--total-steps", "3")
    with pipe() as errors:
        assert main(["train", *flags, *TRAINING]) == 0
    assert capfd.readouterr().out == f"exported to {run}/export\n"
    assert "training: step 3 of 3 (100 %), " in errors.text
    sources = (f"--images={faces}/images", f"--landmarks={faces}/landmarks.txt")
    pairs, model, out = f"--pairs={faces}/pairs.txt", f"--model={run}/export", f"{tmp_path}/out"
    with terminal(60) as errors:
        assert main(["evaluate", model, pairs, *sources, "--out", out]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == f"written to {out}"
    lines = screen(errors.text, 60)
    assert any(line.startswith("embedding: 100%|") for line in lines)
