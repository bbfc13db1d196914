"""All losses on one budget: who runs when with what, and what is made of the results."""

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.config import (
    LOSSES,
    CompareConfig,
    ConvertConfig,
    EvaluateConfig,
    TrainConfig,
)
from keras_sphereface.config.choices import HEADS
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.experiments.compare_losses import report, single
from keras_sphereface.experiments.compare_losses.run import (
    SETTINGS,
    compare_losses,
    own_words,
    planned_runs,
    shared_words,
    training_config,
)
from keras_sphereface.functional.annealing import Annealing, annealing_lambda
from keras_sphereface.training.build_head import head_of

TINY = (
    "--backbone tests.helpers.small_training:one_layer --embedding-size 8 --batch-size 8 "
    "--total-steps 6"
).split()


def config_of(faces, records, out, *losses, flags=TINY, **settings):
    return CompareConfig(
        **{
            "out": str(out),
            "data": str(records),
            "images": str(faces / "images"),
            "pairs": str(faces / "pairs.txt"),
            "landmarks": str(faces / "landmarks.txt"),
            "losses": losses or LOSSES,
            "num_seeds": 1,
            "training": (*flags,),
            **settings,
        }
    )


def test_every_head_is_among_the_losses():
    assert set(LOSSES) == set(SETTINGS)
    assert {settings["head"] for settings in SETTINGS.values()} == set(HEADS)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_share_all_but_what_is_their_own(records_folder, loss):
    flags = ("--total-steps", "90", "--shift", "2")
    config = training_config(loss, str(records_folder), "w", 3, flags)
    plain = training_config("softmax", str(records_folder), "w", 3, flags)
    own = {"head", "m", "scale", "term_weight", "base", "gamma", "power", "lambda_min"}
    differing = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(plain, field.name)
    }
    assert differing <= own
    assert (config.total_steps, config.shift, config.seed, config.log_steps) == (90, 2.0, 3, 9)
    head_of(config, 10)  # which refuses what it does not have


def test_lambda_has_fallen_after_two_thirds_of_the_steps(records_folder):
    config = training_config("asoftmax-4", str(records_folder), "w", 0, ("--total-steps", "900"))
    annealing = Annealing(*(getattr(config, name) for name in Annealing._fields))
    assert float(annealing_lambda(590, annealing)) > config.lambda_min
    np.testing.assert_allclose(
        float(annealing_lambda(600, annealing)), config.lambda_min, rtol=1e-5
    )
    of_flags = training_config("asoftmax-4", str(records_folder), "w", 0, ("--gamma", "0.5"))
    assert (of_flags.gamma, of_flags.lambda_min) == (0.5, TrainConfig().lambda_min)


@pytest.mark.parametrize(
    "flag", ["--head cosface", "--head asoftmax", "--m 3", "--seed 0", "--scale=20"]
)
def test_what_differs_between_runs_is_no_flag(records_folder, flag):
    with pytest.raises(ValueError, match="Received: " + flag.replace("=", " ").split()[0][2:]):
        training_config("softmax", str(records_folder), "w", 0, tuple(flag.split()))


def test_in_each_seed_all_losses_take_turns_in_another_order(faces, records_folder, tmp_path):
    config = config_of(faces, records_folder, tmp_path, num_seeds=3, seed=5)
    runs = list(planned_runs(config))
    seeds = [[run.loss for run in runs if run.seed == seed] for seed in (5, 6, 7)]
    assert [run.seed for run in runs] == np.repeat([5, 6, 7], len(LOSSES)).tolist()
    assert all(sorted(of) == sorted(LOSSES) for of in seeds)
    assert seeds[0] != seeds[1]
    assert len({run.folder for run in runs}) == len(runs)


@pytest.mark.slow
def test_a_comparison_is_written_and_not_repeated(faces, records_folder, tmp_path):
    config = config_of(
        *(faces, records_folder, tmp_path, "softmax", "asoftmax-4", "triplet"),
        flags=(*TINY, "--images-per-identity", "2"),
    )
    table = compare_losses(config)
    assert table["loss"].tolist() == ["softmax", "asoftmax-4", "triplet"]
    assert table["accuracy"].between(0.3, 1).all()
    assert table["ms_per_step"].between(0.01, 1e4).all()
    assert table["memory_mb"].between(100, 1e5).all()
    kept = pd.read_csv(tmp_path / "losses.csv")
    assert tuple(kept.columns) == report.COLUMNS
    text = (tmp_path / "losses.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == 4
    assert "30 images of 5 people" in text
    assert (tmp_path / "losses.png").stat().st_size > 5000
    result = tmp_path / "softmax-seed0" / "result.json"
    before = result.stat().st_mtime_ns
    pd.testing.assert_frame_equal(compare_losses(config), table)
    assert result.stat().st_mtime_ns == before
    other = dataclasses.replace(config, training=(*config.training, "--shift", "1"))
    with pytest.raises(ValueError, match=r"made otherwise.*Received: shift: 0.0 before, 1.0 now"):
        compare_losses(other)


@pytest.mark.slow
def test_a_run_that_diverges_is_a_result_and_one_that_fails_is_not(faces, records_folder, tmp_path):
    flags = (*TINY, "--learning-rate", "1e30", "--optimizer", "sgd")
    config = config_of(faces, records_folder, tmp_path / "a", "softmax", flags=flags)
    table = compare_losses(config)
    assert table[["accuracy", "ms_per_step"]].isna().all(axis=None)
    assert table["diverged"].str.contains("the run diverged").all()
    assert "1 of 1 diverged" in (tmp_path / "a" / "losses.md").read_text(encoding="utf-8")
    # A network that cannot be made, as only its process finds out.
    flags = (*TINY, "--backbone", "tests.helpers.small_training:checkpoint")
    config = config_of(faces, records_folder, tmp_path / "b", "softmax", flags=flags)
    with pytest.raises(RuntimeError, match=r"softmax with seed 0 failed.*output.txt") as caught:
        compare_losses(config)
    printed = (tmp_path / "b" / "softmax-seed0" / "output.txt").read_text(encoding="utf-8")
    assert "checkpoint() got an unexpected keyword" in printed
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "b" / "softmax-seed0" / "result.json").exists()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_no_two_processes_share_it(
    faces, records_folder, tmp_path
):
    flags = (*TINY, "--total-steps", "100000", "--checkpoint-steps", "50")
    config = config_of(faces, records_folder, tmp_path, "softmax", flags=flags)
    (run,) = planned_runs(config)
    run.folder.mkdir()
    (run.folder / "plan.json").write_text(run.to_json(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "keras_sphereface.experiments.compare_losses.single",
        str(run.folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 200
        while not (run.folder / "checkpoints" / "step-00000050").is_dir():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        process.kill()
    assert second.returncode == 1
    assert f"{run.folder} is being worked on by another process" in second.stderr
    short = run._replace(training=dataclasses.replace(run.training, total_steps=6))
    with pytest.raises(ValueError, match="total_steps: 100000 before, 6 now"):
        single.check_folder(short)


def test_what_a_training_held_is_known_after_a_restart(faces, records_folder, tmp_path):
    config = config_of(faces, records_folder, tmp_path, "softmax")
    (run,) = planned_runs(config)
    single.train(run.training, callbacks=[single.KeepMemory(tmp_path / "memory")])
    held = (tmp_path / "memory").read_text()
    assert float(held) > 1e8
    single.train(run.training, callbacks=[single.KeepMemory(tmp_path / "memory")])
    assert (tmp_path / "memory").read_text() == held


def test_people_in_both_sets_are_refused(faces, tmp_path):
    source, records = str(faces / "images"), str(tmp_path / "records")
    make_records(ConvertConfig(source=source, out=records, num_shards=1, workers=1))
    with pytest.raises(ValueError, match=r"nobody in the pairs may be in the records. Received: "):
        compare_losses(config_of(faces, records, tmp_path / "out", "softmax"))


def test_a_run_is_read_as_it_was_written(faces, records_folder, tmp_path):
    for run in planned_runs(config_of(faces, records_folder, tmp_path, folds=(1, 2))):
        assert single.Run.from_json(run.to_json()) == run


def test_what_losses_set_is_said(faces, records_folder, tmp_path):
    config = config_of(faces, records_folder, tmp_path, flags=(*TINY, "--shift", "2"))
    runs = list(planned_runs(config))
    own = own_words(runs)
    assert own["softmax"] == ""
    assert own["triplet"] == "4 images of each person in a batch"
    assert own["cosface"] == "scale 16"
    assert own["asoftmax-2"] == "m 2, gamma 49.75"
    assert "6 steps of 8 images" in shared_words(runs[0])
    assert "shift 2.0. Verification of people who were not" in shared_words(runs[0])
    without_names = EvaluateConfig(out="x", bin=("pairs.bin",))
    of_bin = shared_words(runs[0]._replace(evaluation=without_names))
    assert of_bin.endswith("cannot be told from a .bin.")


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
        ({"training": ("--batch-size", "8", "--backbone", "nonsense")}, "backbone='nonsense'"),
        ({"folds": (99,)}, "Received: .*99"),
    ],
)
def test_bad_settings_are_refused_before_the_first_run(
    faces, records_folder, tmp_path, settings, message
):
    config = config_of(faces, records_folder, tmp_path, **settings)
    with pytest.raises(ValueError, match=message):
        compare_losses(config)
    assert not list(tmp_path.glob("*-seed*"))


def pairs_of(right):
    keys = {"first": [f"{i}" for i in range(len(right))], "second": "x"}
    return pd.DataFrame({**keys, "is_same": np.arange(len(right)) % 2, "is_correct": right})


def table_with(losses, seeds=2, **of_first):
    """A table of accuracies and times; `of_first` is set in the run of the last loss, seed 0."""
    rows = [
        {"loss": loss, "seed": seed, "accuracy": accuracy, "ms_per_step": 10.0 * time + seed}
        for seed in range(seeds)
        for loss, (accuracy, time) in losses.items()
    ]
    rows[len(losses) - 1].update(of_first)
    return report.table_of(rows, list(losses))


CONDITIONS = {"machine": "A machine"}


def report_of(shares, table=None, seeds=2):
    """The report of made-up pairs of which each loss has that share right."""
    rng = np.random.default_rng(0)
    if table is None:
        table = table_with({loss: (share, 1 + share) for loss, share in shares.items()}, seeds)
    pairs = {
        (row.loss, row.seed): pairs_of((rng.random(2000) < row.accuracy).astype(int))
        for row in table.itertuples()
        if row.accuracy == row.accuracy
    }
    own = {"cosface": "scale 16"}
    return report.report(table, pairs, "A budget.", own, CONDITIONS, 0)


def test_the_ranking_of_the_paper_is_tested():
    text = report_of({"softmax": 0.7, "modified-softmax": 0.7, "asoftmax-4": 0.8})
    assert "asoftmax-4 above modified-softmax: yes" in text
    assert "modified-softmax above softmax: not told apart" in text
    text = report_of({"softmax": 0.8, "modified-softmax": 0.7})
    assert "modified-softmax above softmax: no, the other way round" in text
    assert "asoftmax" not in text


def test_equal_losses_are_seldom_told_apart_though_seeds_differ():
    rng, wrong = np.random.default_rng(0), 0
    for trial in range(60):
        tables = [
            [pairs_of((rng.random(400) < share).astype(int)) for share in rng.normal(0.8, 0.03, 3)]
            for _ in range(2)
        ]
        wrong += report.verdict(*report.difference(*tables, trial)) != "not told apart"
    assert wrong <= 9


def rows_of(text):
    """{loss: cells} of the table in a report."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[1:]}


def test_rows_are_ranked_by_accuracy():
    text = report_of({"softmax": 0.7, "cosface": 0.9, "arcface": 0.8})
    rows = rows_of(text)
    assert list(rows) == ["cosface", "arcface", "softmax"]
    assert rows["cosface"][-1] == "scale 16"
    assert "A machine." in text


def test_losses_that_diverged_come_last_and_what_cannot_be_told_is_empty():
    losses = {"softmax": (0.7, 1.0), "arcface": (0.8, 1.0), "cosface": (np.nan, np.nan)}
    table = table_with(losses)
    table["diverged"] = np.where(table["loss"] == "cosface", "The loss is nan.", None)
    report.draw(table)
    rows = rows_of(report_of(losses, table))
    assert list(rows) == ["arcface", "softmax", "cosface"]
    assert rows["cosface"][0].strip() == "(2 of 2 diverged)"
    assert rows["cosface"][3:6] == ["", "", ""]
    assert rows["arcface"][2] == ""  # TAR, which these pairs do not carry
    one = table_with({"softmax": (0.7, 1), "cosface": (0.9, 1)}, accuracy=np.nan, diverged="nan")
    rows = rows_of(report_of({}, one))
    assert list(rows) == ["softmax", "cosface"]
    assert rows["cosface"][0] == "90.00 (1 of 2 diverged)"


def test_differences_are_those_of_the_same_pairs():
    rng = np.random.default_rng(0)
    worse = [pairs_of(rng.integers(0, 2, 200)) for _ in range(3)]
    same = report.difference(worse, worse, 0)
    assert same[0].tolist() == [0.0, 0.0, 0.0]
    assert same[1] == (0.0, 0.0)  # as of other pairs they would not be
    better = [pairs_of([1, 1, 1, 0]), pairs_of([1, 1, 1, 1])]
    worse = [pairs_of([1, 1, 0, 0]), pairs_of([0, 1, 0, 1])]
    by_seed, (low, high) = report.difference(better, worse, 0)
    assert by_seed.tolist() == [0.25, 0.5]
    assert low < 0.375 < high
    other = pairs_of([1, 1, 1, 1]).assign(first="another")
    with pytest.raises(ValueError, match=r"the same pairs.*Received: 4 pairs"):
        report.difference(better, [worse[0], other], 0)


def test_times_are_those_of_softmax_with_the_same_seed():
    table = table_with({"softmax": (0.7, 1.0), "cosface": (0.8, 2.0)})
    np.testing.assert_allclose(report.times_of_reference(table, "cosface"), [20 / 10, 21 / 11])
    alone = table_with({"cosface": (0.8, 2.0)})
    assert report.times_of_reference(alone, "cosface").isna().all()
