"""`sphereface compare`: one answer, in words or as JSON, and mistakes before anything heavy."""

import json

import numpy as np
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.data import images
from tests.export.test_runtime import foreign_onnx, needs_onnx
from tests.helpers.lean_command import run_and_tell_imports


@pytest.fixture
def place(tmp_path, savedmodel, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").symlink_to(savedmodel)
    for seed, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (112, 96, 3), dtype=np.uint8)
        (tmp_path / name).write_bytes(images.encode_png(pixels))
    return tmp_path


def test_the_answer_and_what_is_missing(place, capsys):
    assert main("compare a.png a.png --model export --aligned".split()) == 0
    written = capsys.readouterr()
    assert written.out == "The score is 1.000.\n"
    assert "has no recognition.json" in written.err
    assert main("compare a.png b.png --model export --aligned --json".split()) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["threshold"] is values["is_match"] is values["log_likelihood_ratio"] is None
    assert values["score"] < 1
    assert len(values["quality"]) == len(values["boxes"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png b.png --model export", "Received: none of them"),
        (
            "a.png b.png --model export --aligned --detector mtcnn",
            "Received: --detector and --aligned",
        ),
        ("a.png b.png --model export --detector none.onnx", "none.onnx, which does not exist"),
        ("a.png b.png --model a.png --aligned", "A network must be"),
    ],
)
def test_mistakes_are_answered(place, capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words.split()])
    assert ended.value.code == 1
    assert message in capsys.readouterr().err


@needs_onnx
@pytest.mark.slow
def test_an_onnx_network_is_compared_without_tensorflow(place):
    foreign_onnx(place / "net.onnx")
    result = run_and_tell_imports("compare a.png a.png --model net.onnx --aligned")
    assert result.stdout == "The score is 1.000.\nset()\n", result.stderr


def test_a_folder_is_embedded(place, capsys):
    (place / "people").mkdir()
    for name in ("a.png", "b.png"):
        (place / name).rename(place / "people" / name)
    (place / "people" / "c.jpg").write_bytes(b"")
    words = "embed people --model export --aligned --out people.npz"
    assert main(words.split()) == 0
    written = capsys.readouterr()
    assert written.out == "2 images embedded, 1 refused\nwritten to people.npz\n"
    assert "c.jpg: cannot be read: the file is empty" in written.err
    assert np.load("people.npz")["keys"].tolist() == ["a.png", "b.png"]
    with pytest.raises(SystemExit):
        main("embed people --model export --aligned --out people.csv".split())
    assert "must end in .npz or .parquet" in capsys.readouterr().err
    assert main([*words.split(), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["num_embedded"], list(values["refused"])) == (2, ["c.jpg"])


def test_known_landmarks_align_both_faces(place, capsys):
    from keras_sphereface.data.alignment import landmark_template
    from keras_sphereface.data.landmarks import landmark_line

    face = images.decode((place / "a.png").read_bytes())
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[30 : 30 + 112, 20 : 20 + 96] = face
    (place / "photo.png").write_bytes(images.encode_png(photo))
    template = landmark_template()
    lines = [landmark_line("a.png", template), landmark_line("photo.png", template + (20, 30))]
    (place / "points.txt").write_text("".join(lines))
    assert main("compare a.png photo.png --model export --landmarks points.txt".split()) == 0
    assert capsys.readouterr().out == "The score is 1.000.\n"
    with pytest.raises(SystemExit):
        main("compare a.png b.png --model export --landmarks points.txt".split())
    assert "b.png: no landmarks" in capsys.readouterr().err
