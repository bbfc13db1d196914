"""The scripts as a user starts them, and the path from images to numbers through them."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from keras_sphereface.data import images
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def run(script, *arguments, expect=0):
    result = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == expect, result.stderr
    return result


def test_images_become_records_a_model_and_numbers(tmp_path):
    faces, records = tmp_path / "faces", tmp_path / "records"
    sizes = "--num-identities 3 --images-per-identity 4 --num-test-identities 4"
    sizes = f"{sizes} --pairs-per-class 3".split()
    run("tools/generate_faces.py", "--out", faces, *sizes)
    aligned = ["--landmarks", faces / "landmarks.txt"]
    source = ["--source", faces / "images", "--exclude", faces / "test_identities.txt"]
    result = run("tools/make_tfrecords.py", *source, *aligned, "--out", records)
    assert "12 images of 3 identities" in result.stdout
    assert "records: 100%" in result.stderr
    small = "--backbone sphereface4 --width 0.1 --batch-size 4 --total-steps 3 --log-steps 1"
    workdir = tmp_path / "run"
    result = run("examples/train_casia.py", "--data", records, "--workdir", workdir, *small.split())
    assert "3/3" in result.stderr
    pairs = ["--images", faces / "images", "--pairs", faces / "pairs.txt"]
    out = tmp_path / "evaluation"
    result = run("tools/evaluate.py", "--model", workdir / "export", *pairs, *aligned, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())["verification"]
    assert metrics["num_pairs"] == 12
    assert f"accuracy           {100 * metrics['accuracy_mean']:.2f} %" in result.stdout


def test_training_without_data_generates_faces_and_reports_it_first(tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text("{backbone: sphereface4, width: 0.1, batch-size: 8, total_steps: 9}")
    arguments = ["--config", small, "--total-steps", "2", "--log-steps", "1"]
    result = run("examples/train_casia.py", "--workdir", tmp_path / "run", *arguments)
    logged = result.stderr
    assert logged.index("No --data: training on generated faces.") < logged.index(
        "generating faces"
    )
    assert (tmp_path / "run" / "export" / "saved_model.pb").is_file()
    assert (tmp_path / "run" / "generated" / "faces" / "pairs.txt").is_file()


def test_feature_spheres_are_drawn_side_by_side(records_folder, tmp_path):
    small = "--num-identities 4 --total-steps 3 --m 1 4".split()
    result = run("examples/feature_spheres.py", "--data", records_folder, "--out", tmp_path, *small)
    table = pd.read_csv(tmp_path / "spheres.csv")
    measures = "mean_intra largest_intra smallest_inter fisher_score margin train_gap test_gap"
    columns = f"dim seed loss m test_accuracy {measures} train_mean_intra"
    assert list(table.columns) == columns.split()
    losses = ["softmax", "m = 1", "m = 4"]
    runs = [[dim, loss] for dim in (2, 3) for loss in losses]
    assert table[["dim", "loss"]].to_numpy().tolist() == runs
    assert table["mean_intra"].between(0, 180).all()
    for name in ("spheres_2d.png", "spheres_3d.png"):
        assert images.decode((tmp_path / name).read_bytes()).std() > 10
        svg = (tmp_path / name).with_suffix(".svg").read_text()
        assert "<svg" in svg
    assert "| mean within |" in result.stdout
    assert (tmp_path / "spheres.md").read_text() in result.stdout


def test_bad_flags_and_files_end_with_usage_and_nothing_written(tmp_path):
    arguments = "--source nowhere --oud".split()
    result = run("tools/make_tfrecords.py", *arguments, tmp_path / "out", expect=2)
    assert "usage:" in result.stderr
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "settings.yaml"
    path.write_text(f"source: nowhere\noud: {tmp_path}/out\n")
    result = run("tools/make_tfrecords.py", "--config", path, expect=2)
    assert "usage:" in result.stderr
    assert "the nearest is out. Received: oud" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [path]
