"""The summary of a run: its numbers, its commands and its curves."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from keras_sphereface import plots
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.training import summary
from keras_sphereface.training.logging import LOG_FIELDS

EVALUATE = ["sphereface", "evaluate", "--model", "my runs/export", "--images", "it's here"]
REPEAT = ["sphereface", "train", "--config", "my runs/config.yaml"]


def log_of(steps, **columns):
    """A log as a run writes it; columns may be replaced."""
    steps = np.asarray(steps, dtype=float)
    table = {
        "step": steps.astype(int),
        "epoch": steps / 20,
        "loss": 5 * np.exp(-steps / 50),
        "accuracy": 1 - np.exp(-steps / 50),
        "annealing_lambda": 1000 / (1 + 0.12 * steps),
        "target_angle": 90 - steps / 10,
        "embedding_norm": 5 + steps / 10,
        "learning_rate": 0.1,
        "images_per_second": 1234.5,
    }
    assert tuple(table) == LOG_FIELDS
    return pd.DataFrame({**table, **columns})


def verification_of(accuracies):
    count = len(accuracies)
    return pd.DataFrame(
        {
            "step": 50 * np.arange(1, count + 1),
            "accuracy_mean": accuracies,
            "accuracy_std": 0.0125,
            "auc": 0.98765,
            "eer": 0.0432,
            "num_pairs": 6_000,
            "seconds": 3.0,
        }
    )


def write(workdir, log, verification=None):
    """summary.md as text."""
    log.to_csv(workdir / "log.csv", index=False)
    if verification is not None:
        verification.to_csv(workdir / "verification.csv", index=False)
    path = summary.write_summary(
        workdir,
        overview="network        sphereface20",
        export=workdir / "export",
        evaluate_command=EVALUATE,
        repeat_command=REPEAT,
        seed=17,
        data_checksum="abc123",
    )
    assert path == workdir / "summary.md"
    return path.read_text(encoding="utf-8")


def rows(text):
    """{first cell: other cells} of all tables."""
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    return {first: rest for first, *rest in cells if rest}


@pytest.mark.usefixtures("no_curves")
def test_the_summary_holds_the_run(tmp_path):
    text = write(tmp_path, log_of([100, 200]), verification_of([0.9, 0.975, 0.95]))
    assert "```text\nnetwork        sphereface20\n```" in text
    table = rows(text)
    assert table["step"] == ["200", ""]
    assert table["loss with margin"] == ["0.09158", "nats"]  # 5 e^-4
    assert table["training accuracy without margin"] == ["98.17", "%"]
    assert table["mean angle to the target class weight"] == ["70.0", "degrees"]
    assert table["lambda"] == ["40", ""]
    assert table["best"] == ["100", "97.50 +- 1.25", "0.9877", "4.32", "6,000"]
    assert table["last"] == ["150", "95.00 +- 1.25", "0.9877", "4.32", "6,000"]
    assert f"`{tmp_path / 'export'}`" in text
    assert "seed: 17" in text
    assert "`abc123`" in text
    assert f"TensorFlow {tf.__version__}" in text
    assert (tmp_path / re.search(r"!\[.*\]\((.*)\)", text).group(1)).is_file()


@pytest.mark.usefixtures("no_curves")
def test_the_commands_can_be_pasted(tmp_path):
    text = write(tmp_path, log_of([100]))
    commands = re.findall(r"^```sh\n(.*?)\n```$", text, re.M | re.S)
    assert [shlex.split(command) for command in commands] == [EVALUATE, REPEAT]


@pytest.mark.parametrize(
    ("sources", "folds", "expected"),
    [
        (
            PairSources(),
            (),
            {
                "images": ("lfw/images",),
                "pairs": ("lfw/pairs.txt",),
                "landmarks": ("lfw/landmarks.txt",),
            },
        ),
        (PairSources(bin="a set.bin"), (1, 3), {"bin": ("a set.bin",), "folds": (1, 3)}),
        (PairSources("p", "i"), (), {"images": ("i",), "pairs": ("p",)}),
    ],
)
def test_the_command_that_evaluates_is_for_the_verified_pairs(
    tmp_path, monkeypatch, sources, folds, expected
):
    monkeypatch.chdir(tmp_path)
    for folder in ("lfw/images", "i", "export"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("lfw/pairs.txt", "lfw/landmarks.txt", "a set.bin", "p"):
        (tmp_path / file).touch()
    words = summary.evaluate_command(tmp_path / "export", sources, folds)
    assert parse_config(EvaluateConfig, words[2:]) == EvaluateConfig(
        model=(str(tmp_path / "export"),), out=str(tmp_path / "evaluation"), **expected
    )


def test_other_pairs_are_pointed_to_where_those_of_lfw_are_an_example(tmp_path):
    words = summary.evaluate_command(tmp_path / "export", PairSources())
    assert "`sphereface pairs FOLDER --out pairs.txt`" in " ".join(summary.pairs_hint(words))
    words = summary.evaluate_command(tmp_path / "export", PairSources("p", "i"))
    assert summary.pairs_hint(words) == []


@pytest.mark.usefixtures("no_curves")
def test_without_verification_there_is_no_table(tmp_path):
    assert "## Verification" not in write(tmp_path, log_of([100]))
    assert "## Verification" not in write(tmp_path, log_of([100]), verification_of([]))
    assert "## Verification" in write(tmp_path, log_of([100]), verification_of([0.5]))


@pytest.mark.usefixtures("no_curves")
def test_a_verification_that_is_not_a_number_is_never_the_best(tmp_path):
    text = write(tmp_path, log_of([100]), verification_of([np.nan, 0.6, np.nan]))
    assert rows(text)["best"][:2] == ["100", "60.00 +- 1.25"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "log",
    [
        log_of(range(100, 28_001, 100)),
        log_of([100]),
        log_of([]),
        log_of([100, 200, 300], loss=[1.0, np.nan, 2.0], annealing_lambda=np.inf),
        log_of([100, 200], annealing_lambda=0.0, learning_rate=0.0),
    ],
    ids=["long", "one row", "no row", "nan and infinite", "no annealing"],
)
def test_the_curves_are_drawn_of_any_log(tmp_path, log):
    write(tmp_path, log, verification_of([0.9, 0.95]))
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width == 1600
    assert (tmp_path / "curves.png").stat().st_size < 300_000
    assert not list(tmp_path.glob(".partial*"))


@pytest.mark.usefixtures("no_curves")
def test_a_summary_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    before = write(tmp_path, log_of([100]))

    def fail(path, text, encoding):
        path.write_bytes(text[:10].encode(encoding))
        raise OSError("disk full")

    monkeypatch.setattr(summary.Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, log_of([200]))
    assert (tmp_path / "summary.md").read_text() == before


def test_every_column_of_the_log_is_drawn_and_named():
    assert tuple(summary.QUANTITIES) == LOG_FIELDS
    figure = summary.draw_curves(log_of([100, 200]), verification_of([0.5]))
    titles = {
        "Loss with margin": "loss",
        "Accuracy without margin": "accuracy",
        "Annealing": "annealing_lambda",
        "Mean angle to the target class weight": "target_angle",
        "Mean norm of the embeddings": "embedding_norm",
        "Learning rate": "learning_rate",
        "Speed": "images_per_second",
    }
    drawn = {titles[axes.get_title()]: axes.lines[0].get_ydata()[-1] for axes in figure.axes}
    last = log_of([200], accuracy=100 * (1 - np.exp(-4))).iloc[0].drop(["step", "epoch"])
    assert drawn == pytest.approx(last.to_dict())
    assert all(axes.get_xlabel() == "step" and axes.get_title() for axes in figure.axes)
    assert plots.COLORS[0] == figure.axes[0].lines[0].get_color()
