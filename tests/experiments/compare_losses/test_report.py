"""Table, text and figure of made-up results."""

import numpy as np
import pandas as pd

from keras_sphereface.experiments.compare_losses import report
from keras_sphereface.experiments.compare_losses.single import RunResult
from tests.experiments.compare_losses.test_gains import pairs_of


def table_with(losses, seeds=2, **of_last):
    """A table of accuracies and times; `of_last` is set in the run of the last loss, seed 0."""
    results = {
        (loss, seed): RunResult(accuracy=accuracy, ms_per_step=10.0 * time + seed)
        for seed in range(seeds)
        for loss, (accuracy, time) in losses.items()
    }
    if of_last:
        results[[*losses][-1], 0] = RunResult(**of_last)
    return report.results_table(results, list(losses))


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
    settings = {"cosface": "scale 16"}
    return report.describe_comparison(table, pairs, "A budget.", settings, "A machine", 0)


def rows_of(text):
    """{loss: cells} of the table in a report."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[1:]}


def test_the_ranking_of_the_paper_is_tested():
    text = report_of({"softmax": 0.7, "modified-softmax": 0.7, "asoftmax-4": 0.8})
    assert "asoftmax-4 above modified-softmax: yes" in text
    assert "modified-softmax above softmax: not significant" in text
    text = report_of({"softmax": 0.8, "modified-softmax": 0.7})
    assert "modified-softmax above softmax: no, the other way round" in text
    assert "asoftmax" not in text


def test_rows_are_ranked_by_accuracy():
    text = report_of({"softmax": 0.7, "cosface": 0.9, "arcface": 0.8})
    rows = rows_of(text)
    assert list(rows) == ["cosface", "arcface", "softmax"]
    assert rows["cosface"][-1] == "scale 16"
    assert text.startswith("A budget. Means of 2 seeds +- standard deviation.\n\n| loss |")
    assert text.endswith("\n\nA machine.\n")


def test_losses_that_diverged_come_last_and_missing_numbers_are_empty():
    losses = {"softmax": (0.7, 1.0), "arcface": (0.8, 1.0), "cosface": (np.nan, np.nan)}
    table = table_with(losses)
    table["diverged"] = np.where(table["loss"] == "cosface", "The loss is nan.", None)
    report.draw_comparison(table)
    rows = rows_of(report_of(losses, table))
    assert list(rows) == ["arcface", "softmax", "cosface"]
    assert rows["cosface"][0].strip() == "(2 of 2 diverged)"
    assert rows["cosface"][3:6] == ["", "", ""]
    assert rows["arcface"][2] == ""  # TAR, which these results do not have
    one = table_with({"softmax": (0.7, 1), "cosface": (0.9, 1)}, diverged="nan")
    rows = rows_of(report_of({}, one))
    assert list(rows) == ["softmax", "cosface"]
    assert rows["cosface"][0] == "90.00 (1 of 2 diverged)"


def test_times_are_those_of_softmax_with_the_same_seed():
    table = table_with({"softmax": (0.7, 1.0), "cosface": (0.8, 2.0)})
    np.testing.assert_allclose(report.times_of_baseline(table, "cosface"), [20 / 10, 21 / 11])
    alone = table_with({"cosface": (0.8, 2.0)})
    assert report.times_of_baseline(alone, "cosface").isna().all()


def test_runs_are_in_the_order_of_the_losses_and_seeds():
    results = {("b", 1): RunResult(auc=0.5), ("a", 0): RunResult(), ("b", 0): RunResult()}
    table = report.results_table(results, ["b", "a"])
    assert table[["loss", "seed"]].to_numpy().tolist() == [["b", 0], ["b", 1], ["a", 0]]
    assert pd.api.types.is_float_dtype(table["auc"])
