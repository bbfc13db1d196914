"""The command as a user starts it, and the path from images to numbers through it."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from keras_sphereface.data import images
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def run(*words, expect=0, program=("-m", "keras_sphereface")):
    result = subprocess.run(
        [sys.executable, *program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == expect, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_images_become_records_a_model_and_numbers(tmp_path):
    faces, records = tmp_path / "faces", tmp_path / "records"
    sizes = "--num-identities 3 --images-per-identity 4 --num-test-identities 4"
    sizes = f"{sizes} --pairs-per-class 3".split()
    run("faces", "--out", faces, *sizes)
    aligned = ["--landmarks", faces / "landmarks.txt"]
    source = ["--source", faces / "images", "--exclude", faces / "test_identities.txt"]
    result = run("convert", *source, *aligned, "--out", records)
    assert "12 images of 3 identities" in result.stdout
    assert "image 12 of 12 (100 %)" in result.stderr
    small = "--backbone sphereface4 --width 0.1 --batch-size 4 --total-steps 3 --log-steps 1"
    workdir = tmp_path / "run"
    result = run("train", "--data", records, "--workdir", workdir, *small.split())
    assert "step 3 of 3 (100 %)" in result.stderr
    pairs = ["--images", faces / "images", "--pairs", faces / "pairs.txt"]
    out = tmp_path / "evaluation"
    result = run("evaluate", "--model", workdir / "export", *pairs, *aligned, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())["verification"]
    assert metrics["num_pairs"] == 12
    assert f"accuracy           {100 * metrics['accuracy_mean']:.2f} %" in result.stdout


def test_training_without_data_generates_faces_and_reports_it_first(tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text("{backbone: sphereface4, width: 0.1, batch-size: 8, total_steps: 9}")
    arguments = ["--config", small, "--total-steps", "2", "--log-steps", "1"]
    result = run("train", "--workdir", tmp_path / "run", *arguments)
    logged = result.stderr
    assert logged.index("No --data: training on generated faces.") < logged.index(
        "generating faces"
    )
    assert (tmp_path / "run" / "export" / "saved_model.pb").is_file()
    pairs = tmp_path / "run" / "generated" / "faces" / "pairs.txt"
    assert pairs.is_file()
    assert f"--pairs {pairs}" in logged.rpartition("evaluate it with: ")[2]


def test_feature_spheres_are_drawn_side_by_side(records_folder, tmp_path):
    small = "--num-identities 4 --total-steps 3 --m 1 4".split()
    result = run("spheres", "--data", records_folder, "--out", tmp_path, *small)
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


def test_a_bad_flag_or_key_of_a_file_ends_in_a_sentence_with_nothing_written(tmp_path):
    result = run("convert", "--source", "nowhere", "--oud", tmp_path / "out", expect=2)
    assert result.stderr.startswith("error: there is no flag `--oud`. Did you mean `--out`?")
    path = tmp_path / "settings.yaml"
    path.write_text(f"source: nowhere\noud: {tmp_path}/out\n")
    result = run("convert", "--config", path, expect=2)
    assert "Received: oud. Did you mean `out`?" in result.stderr
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("tools/benchmark.py", "benchmark"),
        ("tools/evaluate.py", "evaluate"),
        ("tools/export.py", "export"),
        ("tools/generate_faces.py", "faces"),
        ("tools/identify.py", "evaluate-identification"),
        ("tools/launch_local.py", "launch"),
        ("tools/make_tfrecords.py", "convert"),
        ("examples/compare_losses.py", "compare-losses"),
        ("examples/feature_spheres.py", "spheres"),
        ("examples/margin_figures.py", "margins"),
        ("examples/train_casia.py", "train"),
    ],
)
def test_a_script_of_the_checkout_is_the_command(script, command):
    by_command, by_script = run(command, "--help"), run("--help", program=(script,))
    assert by_command.stdout == by_script.stdout
    assert f"sphereface {command}" in by_script.stdout
