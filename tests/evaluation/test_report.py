"""Verification in words, from metrics of drawn embeddings."""

import dataclasses

import pytest

from keras_sphereface.evaluation import artifacts
from keras_sphereface.evaluation.comparison import comparison_report
from keras_sphereface.evaluation.report import verification_report, verification_summary
from keras_sphereface.evaluation.verification import (
    measure_angles,
    measure_criterion,
    verify_pairs,
)
from keras_sphereface.evaluation.verification_metrics import (
    BootstrapIntervals,
)
from keras_sphereface.metrics.bootstrap import Interval
from tests.helpers.drawn_pairs import draw_embeddings, evaluation_metrics, make_pairs


@pytest.fixture(scope="module")
def verification():
    return verify_pairs(make_pairs(9), draw_embeddings(9, spread=1.5), replicates=20)


@pytest.fixture(scope="module")
def metrics(verification):
    return evaluation_metrics(verification)


def test_the_summary_has_the_numbers(metrics):
    lines = verification_summary(metrics).splitlines()
    assert lines[0].startswith("run/export on lfw: sphereface: ")
    assert any(line.startswith("accuracy           91.23 % +- ") for line in lines)
    assert "  without repeated pairs: not measurable of 33 pairs" in lines
    assert any("0.01: too few pairs" in line for line in lines)
    assert any(line.startswith("criterion          it ") for line in lines)


def test_intervals_stand_beside_their_values(metrics):
    def eer_line(intervals):
        changed = dataclasses.replace(metrics.verification, intervals=intervals)
        text = verification_summary(dataclasses.replace(metrics, verification=changed))
        return next(line for line in text.splitlines() if line.startswith("EER"))

    drawn = BootstrapIntervals(20, 0.95, eer=Interval(0.05, 0.125))
    assert eer_line(drawn) == "EER                8.76 % (95 %: 5.00 to 12.50 %)"
    assert eer_line(BootstrapIntervals(0, 0.95)) == "EER                8.76 %"


def test_the_criterion_of_pairs_has_no_identities(metrics, verification):
    angles = measure_angles(verification.pairs, draw_embeddings(9), has_names=False)
    of_pairs = dataclasses.replace(metrics, criterion=measure_criterion(angles))
    assert " over all 9 identities: " in verification_summary(metrics)
    assert " for the pairs: " in verification_summary(of_pairs)
    assert "identities" not in verification_summary(of_pairs).split("criterion")[1]


def test_the_report_has_all_numbers_and_the_worst_errors(metrics, verification):
    table = artifacts.pair_table(verification)
    worst = {
        name: artifacts.worst_errors(table, decision) for name, decision in artifacts.ERRORS.items()
    }
    page = verification_report(metrics, {}, worst)
    for shown in (
        "91.23 %",
        "8.76 %",
        "Repeated pairs: 3.",
        "not measurable",
        "too few mismatched pairs",
        "A/1.jpg",
        worst["false_rejects"]["first"].iloc[0],
    ):
        assert shown in page, shown
    none = {name: errors.head(0) for name, errors in worst.items()}
    assert "There are no false accepts." in verification_report(metrics, {}, none)


def test_the_report_has_the_settings(metrics):
    page = verification_report(metrics, {}, {}, {"train_labels": "runs/labels.csv"})
    assert "Data and settings" in page
    assert "train labels" in page
    assert "runs/labels.csv" in page
    assert "Data and settings" not in verification_report(metrics, {}, {})


def test_the_comparison_names_model_and_set_of_each_warning(metrics):
    other = dataclasses.replace(metrics, model="other", warnings=())
    page = comparison_report([metrics, other], [])
    assert "run/export on lfw: Repeated pairs: 3." in page
    assert page.count("91.23 +-") == 2
    assert "TAR at FAR 0.1, %" in page
    assert "TAR at FAR 0.01, %" not in page  # which no set supports
