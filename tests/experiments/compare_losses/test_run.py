"""The whole comparison: its settings, its files, and that finished runs are not repeated."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.experiments.compare_losses import single
from keras_sphereface.experiments.compare_losses.run import compare_losses
from tests.experiments.compare_losses.settings import SMALL, compare_config


def run_here(command, **_):
    """Run a plan as `subprocess.run` would, but in this process."""
    single.run_plan(Path(command[-1]))
    return subprocess.CompletedProcess(command, 0)


def check_comparison(config, out):
    table = compare_losses(config)
    assert table["loss"].tolist() == list(config.losses)
    assert table["accuracy"].between(0.3, 1).all()
    assert table["ms_per_step"].between(0.01, 1e4).all()
    assert table["memory_mb"].between(100, 1e5).all()
    columns = "loss seed accuracy auc tar_at_far_0_01 training_accuracy ms_per_step memory_mb"
    assert list(pd.read_csv(out / "losses.csv")) == [*columns.split(), "diverged"]
    text = (out / "losses.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == 1 + len(table)
    assert "30 images of 5 identities" in text
    assert (out / "losses.png").stat().st_size > 5000
    result = out / f"{config.losses[0]}-seed0" / "result.json"
    before = result.stat().st_mtime_ns
    pd.testing.assert_frame_equal(compare_losses(config), table)
    assert result.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_comparison_is_written_and_not_repeated(faces, records_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(single.subprocess, "run", run_here)
    flags = (*SMALL, "--total-steps", "3")
    config = compare_config(
        *(faces, records_folder, tmp_path, "softmax", "asoftmax-4"), flags=flags
    )
    check_comparison(config, tmp_path)


@pytest.mark.full
def test_every_run_is_a_separate_process(faces, records_folder, tmp_path):
    flags = (*SMALL, "--images-per-identity", "2")
    losses = ("softmax", "asoftmax-4", "triplet")
    config = compare_config(faces, records_folder, tmp_path, *losses, flags=flags)
    check_comparison(config, tmp_path)


@pytest.mark.slow
def test_a_loss_that_diverges_is_in_the_report(faces, records_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(single.subprocess, "run", run_here)
    flags = (*SMALL, "--learning-rate", "1e30", "--optimizer", "sgd")
    config = compare_config(faces, records_folder, tmp_path, "softmax", flags=flags)
    table = compare_losses(config)
    assert table[["accuracy", "ms_per_step"]].isna().all(axis=None)
    assert table["diverged"].str.contains("the run diverged").all()
    assert "1 of 1 diverged" in (tmp_path / "losses.md").read_text(encoding="utf-8")


def test_identities_in_both_sets_are_refused(faces, tmp_path):
    source, records = str(faces / "images"), str(tmp_path / "records")
    make_records(ConvertConfig(source=source, out=records, num_shards=1, workers=1))
    message = r"no identity of the pairs may be in the records. Received: 14 of them"
    with pytest.raises(ValueError, match=message):
        compare_losses(compare_config(faces, records, tmp_path / "out", "softmax"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_seeds": 0}, "num_seeds=0"),
        ({"seed": -1}, "seed=-1"),
        ({"losses": ("softmax", "softmax")}, "losses="),
        ({"losses": ()}, "losses="),
        ({"pairs": ""}, "pairs=''"),
        ({"data": ""}, "data=''"),
        ({"training": ("--batch-size", "0")}, "batch_size=0"),
        ({"training": ("--images-per-identity", "0")}, "images_per_identity=0"),
        ({"training": ("--batch-size", "10", "--images-per-identity", "4")}, "batch_size=10"),
        ({"training": ("--batch-size", "24")}, "batch_size=24, images_per_identity=4"),
        ({"training": ("--batch-size", "8", "--accumulate-steps", "2")}, "accumulate_steps=2"),
        ({"training": ("--batch-size", "8", "--backbone", "a.b:nonsense")}, "backbone='a.b:non"),
        ({"folds": (99,)}, "Received: .*99"),
    ],
)
def test_bad_settings_are_refused_before_the_first_run(
    faces, records_folder, tmp_path, settings, message
):
    config = compare_config(faces, records_folder, tmp_path, **settings)
    with pytest.raises(ValueError, match=message):
        compare_losses(config)
    assert not list(tmp_path.glob("*-seed*"))
