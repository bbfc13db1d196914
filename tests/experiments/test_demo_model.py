"""What a demo leaves to compare faces with: the small network, its card, and faces of each kind."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_sphereface import FaceRecognizer
from keras_sphereface.commands import demo
from keras_sphereface.config.demo import DemoConfig
from keras_sphereface.experiments import demo_model
from tests.conftest import ROOT


def test_a_usual_pair_of_each_kind_is_written(faces, tmp_path):
    keys = [f"person_{i:04d}/person_{i:04d}_{j:04d}.jpg" for i in (6, 7) for j in (1, 2, 3)]
    rows = [
        (keys[0], keys[1], 1, 0.9),
        (keys[1], keys[2], 1, 0.5),  # the median
        (keys[0], keys[2], 1, 0.1),
        (keys[0], keys[3], 0, 0.4),
        (keys[2], keys[5], 0, 0.2),  # the median
        (keys[1], keys[4], 0, 0.0),
    ]
    table = pd.DataFrame(rows, columns=["first", "second", "is_same", "score"])
    table.to_csv(tmp_path / "pairs.csv", index=False)
    written = demo_model.write_example_faces(
        tmp_path, faces / "images", faces / "landmarks.txt", tmp_path / "examples"
    )
    same_1, same_2, different_1, different_2 = (np.asarray(Image.open(path)) for path in written)
    assert same_1.shape == (112, 96, 3)
    np.testing.assert_array_equal(same_2, different_1)  # keys[2]
    assert np.abs(same_1.astype(int) - different_2).mean() > 5


def test_the_card_begins_with_what_the_network_knows(tmp_path):
    (tmp_path / "model_card.md").write_text("# Model card: x\n\n## Results\n\nGood.\n")
    (tmp_path / "model").mkdir()
    card = demo_model.write_card(tmp_path, tmp_path / "model").read_text()
    title, first, *_ = card.split("\n\n")
    assert title == "# Model card: x"
    assert "knows generated faces only" in first
    assert card.endswith("\n\n## Results\n\nGood.\n")


@pytest.mark.slow
def test_the_small_network_is_that_of_the_export(savedmodel, records_folder, tmp_path):
    file = demo_model.write_small_network(savedmodel, records_folder, tmp_path)
    assert file == demo_model.small_network_path(tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (4, 112, 96, 3), np.uint8)
    of_file, of_export = (
        FaceRecognizer.load(path).embed(crops, detect=False) for path in (file, savedmodel)
    )
    assert np.sum(of_file * of_export, axis=1).min() > 0.95


@pytest.mark.full
def test_the_commands_that_a_demo_prints_answer(tmp_path):
    out = tmp_path / "demo"
    demo.run_demo(DemoConfig(out=str(out)))
    assert demo_model.small_network_path(out / demo.MODEL).stat().st_size < 3e6
    answers = []
    for line in demo.compare_lines(out):
        words = [sys.executable, "-m", "keras_sphereface", *line.split()[1:]]
        result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "are of generated faces; of real ones they say nothing" in result.stderr
        answers.append(result.stdout.partition(":")[0])
    assert answers == ["One person", "Two persons"]
