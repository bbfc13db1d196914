"""`sphereface identify`: names, scores and reasons, in words and as JSON."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.config import OpenSetConfig
from keras_sphereface.data import images
from keras_sphereface.data.landmarks import landmark_line
from keras_sphereface.evaluation.identification.evaluate import evaluate_identification
from keras_sphereface.export.recognition_file import (
    RecognitionThreshold,
    model_fingerprint,
    write_recognition,
)
from keras_sphereface.recognition import FaceRecognizer, Gallery
from tests.export.test_runtime import foreign_onnx, needs_onnx
from tests.helpers.lean_command import run_and_tell_imports
from tests.recognition.test_face_recognizer import RECOGNITION, noise

WORDS = "--gallery people.db --model net --aligned"


@pytest.fixture
def place(tmp_path, savedmodel, monkeypatch):
    """A network with recognition.json, a gallery of ada and bob, and images of them and of eve."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    for name in ("saved_model.pb", "variables", "assets.extra"):
        (tmp_path / "net" / name).symlink_to(savedmodel / name)
    pixels = dict(zip(("ada", "bob", "eve"), noise(1, 2, 3), strict=True))
    (tmp_path / "faces").mkdir()
    for name, crop in pixels.items():
        (tmp_path / "faces" / f"{name}.png").write_bytes(images.encode_png(crop))
    with Gallery.create("people.db", model_fingerprint("net")) as gallery:
        recognizer = FaceRecognizer.load("net")
        for name in ("ada", "bob"):
            gallery.enroll(name, recognizer.embed(pixels[name], detect=False))
    return tmp_path


def calibrate(threshold, alignment="center crop"):
    """Between the scores of noise, which differ little, there is room for one."""
    recognition = dataclasses.replace(
        RECOGNITION,
        fingerprint=model_fingerprint("net"),
        alignment=alignment,
        thresholds=(RecognitionThreshold(0.001, threshold),),
    )
    write_recognition("net/recognition.json", recognition)


def run(words, capsys):
    capsys.readouterr()
    status = main(["identify", *words.split()])
    return status, capsys.readouterr()


def test_who_is_known_and_who_is_not(place, capsys):
    calibrate(0.9999)
    status, written = run(f"faces/bob.png faces/eve.png {WORDS} --top 1", capsys)
    lines = written.out.splitlines()
    assert status == 0
    assert lines[0].startswith("faces/bob.png: bob: the score 1.000 reaches the threshold 1.000")
    assert "reach it among 2 identities" in lines[0]
    assert lines[1].split()[:2] == ["bob", "1.000"]
    assert lines[2].startswith("faces/eve.png: Unknown: the most similar, ")
    assert len(lines) == 4


def test_json_has_all_candidates_and_the_reasons_of_refusals(place, capsys):
    calibrate(0.9999)
    (place / "faces" / "zero.jpg").write_bytes(b"")
    status, written = run(f"faces {WORDS} --json", capsys)
    values = json.loads(written.out)
    assert status == 1
    assert [value["image"] for value in values] == [
        f"faces/{name}" for name in ("ada.png", "bob.png", "eve.png", "zero.jpg")
    ]
    assert [face["name"] for value in values for face in value["faces"]] == ["ada", "bob", None]
    (face,) = values[0]["faces"]
    assert [candidate["name"] for candidate in face["candidates"]] == ["ada", "bob"]
    assert (face["is_known"], face["num_identities"], face["num_comparisons"]) == (True, 2, 2)
    assert face["fpir"] == pytest.approx(1 - 0.999**2)
    assert (values[0]["refused"], values[3]["refused"]) == (
        None,
        "cannot be read: the file is empty",
    )
    assert values[3]["faces"] == []


def test_without_recognition_json_nobody_is_called_unknown(place, capsys):
    status, written = run(f"faces/eve.png {WORDS}", capsys)
    assert status == 0
    assert written.out.startswith("faces/eve.png: Most similar is ")
    assert "has no recognition.json" in written.err


def test_known_landmarks_align_the_face(place, capsys):
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[30 : 30 + 112, 20 : 20 + 96] = noise(2)[0]
    (place / "photos").mkdir()
    for name in ("bob", "none"):
        (place / "photos" / f"{name}.png").write_bytes(images.encode_png(photo))
    points = np.array(RECOGNITION.template) + (20, 30)
    (place / "points.txt").write_text(landmark_line("photos/bob.png", points))
    words = "photos --gallery people.db --model net --landmarks points.txt --json"
    status, written = run(words, capsys)
    known, without = json.loads(written.out)
    assert status == 1
    assert known["faces"][0]["candidates"][0] == {
        "name": "bob",
        "score": pytest.approx(1, abs=1e-4),
        "log_likelihood_ratio": None,
    }
    assert without["refused"] == "no landmarks"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("faces --gallery people.db --model net", "Received: none of them"),
        (f"faces {WORDS} --fpir 1.5", "`fpir` must be in (0, 1)"),
        (f"faces {WORDS} --fpir 1e-9", "`fpir` cannot be reached: with 2 comparisons"),
        (f"nobody {WORDS}", "`--images` must be a file or a folder that exists"),
        (f"empty {WORDS}", "The folder must hold images. Received: empty"),
        ("faces --gallery other.db --model net --aligned", "come from another model"),
    ],
)
def test_mistakes_are_answered(place, capsys, words, message):
    calibrate(0.9)
    (place / "empty").mkdir()
    Gallery.create("other.db", "sha256:77").close()
    with pytest.raises(SystemExit) as ended:
        main(["identify", *words.split()])
    assert ended.value.code == 1
    assert message in capsys.readouterr().err


@needs_onnx
@pytest.mark.slow
def test_an_onnx_network_identifies_without_tensorflow(place):
    foreign_onnx(place / "net.onnx")
    recognizer = FaceRecognizer.load("net.onnx")
    with Gallery.create("onnx.db", recognizer.fingerprint) as gallery:
        gallery.enroll("ada", recognizer.embed("faces/ada.png", detect=False))
    result = run_and_tell_imports(
        "identify faces/ada.png --gallery onnx.db --model net.onnx --aligned"
    )
    assert result.stdout.splitlines()[1:] == ["  ada   1.000", "set()"], result.stderr


@pytest.mark.slow
def test_identify_answers_as_evaluate_identification_counts(place, faces, savedmodel, capsys):
    """The same lists, landmarks and network: the same names, scores and rates."""
    identities = sorted(path.name for path in (faces / "images").iterdir())
    known, unknown = identities[:9], identities[9:]
    lists = {
        "gallery.txt": [(f"{name}/{name}_0001.jpg", name) for name in known],
        "probes.txt": [(f"{name}/{name}_0002.jpg", name) for name in known]
        + [(f"{name}/{name}_0001.jpg", name) for name in unknown],
    }
    for file, entries in lists.items():
        (place / file).write_text("".join(f"{key}\t{name}\n" for key, name in entries))
    landmarks = str(faces / "landmarks.txt")
    evaluate_identification(
        OpenSetConfig(
            out="open",
            model=("net",),
            images=str(faces / "images"),
            landmarks=landmarks,
            gallery="gallery.txt",
            probes="probes.txt",
            bootstrap=0,
        )
    )
    table = pd.read_csv("open/probes.csv").set_index("probe")
    threshold = float(table["top_nonmate_score"].median())
    calibrate(threshold, alignment="five points")
    Gallery.create("lists.db", model_fingerprint("net")).close()
    common = ["--gallery", "lists.db", "--model", "net", "--landmarks", landmarks]
    enroll = ["enroll", str(faces / "images"), "--identities", "gallery.txt"]
    main(["gallery", *enroll, *common])
    paths = [str(faces / "images" / key) for key, _ in lists["probes.txt"]]
    capsys.readouterr()
    main(["identify", *paths, *common, "--json"])
    answers = [value["faces"][0] for value in json.loads(capsys.readouterr().out)]
    for (key, name), answer in zip(lists["probes.txt"], answers, strict=True):
        row, best = table.loc[key], answer["candidates"][0]
        assert (best["name"] == name) == (row["rank"] == 1), key
        highest = np.nanmax([row["mate_score"], row["top_nonmate_score"]])
        assert best["score"] == pytest.approx(highest, abs=1e-5), key
        assert answer["is_known"] == (highest >= threshold), key
    kinds = {answer["is_known"] for answer in answers}
    assert kinds == {True, False}
