"""The sentences of the first screen, and the model card."""

import dataclasses

import pytest

from keras_sphereface.evaluation.calibration_metrics import CalibratedThreshold, CalibrationMetrics
from keras_sphereface.evaluation.decision import decision_statements
from keras_sphereface.evaluation.model_card import model_card
from keras_sphereface.evaluation.verification import verify_pairs
from keras_sphereface.evaluation.verification_metrics import AcquisitionMetrics, EmbeddingRuntime
from keras_sphereface.metrics.bootstrap import Interval
from tests.helpers.drawn_pairs import draw_embeddings, evaluation_metrics, make_pairs


@pytest.fixture(scope="module")
def metrics():
    pairs, embeddings = make_pairs(60), draw_embeddings(60, spread=1.0)
    return evaluation_metrics(verify_pairs(pairs, embeddings, replicates=50, has_names=True))


def answers(metrics):
    return dict(decision_statements(metrics))


def test_the_answers_have_the_numbers(metrics):
    numbers, said = metrics.verification, answers(metrics)
    assert said["How good is it?"].startswith("It decides 91.23 % of the pairs right.")
    fnmr = 1 - numbers.tar_at_far["0.01"]
    assert f"FMR 0.01), it misses {100 * fnmr:.2f} %" in said["How good is it?"]
    interval = numbers.intervals.accuracy
    assert f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %" in said["How sure is that?"]
    assert "60 identities of the 240 pairs" in said["How sure is that?"]
    assert "fewer than 100 identities" in said["How sure is that?"]
    assert f"{numbers.threshold_at_far['0.01']:.4f}" in said["Which threshold?"]


def test_what_is_unknown_is_said(metrics):
    pairs, embeddings = make_pairs(4, num_folds=2), draw_embeddings(4)
    few = evaluation_metrics(verify_pairs(pairs, embeddings))
    said = answers(few)
    assert "No intervals were computed" in said["How sure is that?"]
    none = dict.fromkeys(few.verification.tar_at_far)
    unsupported = dataclasses.replace(few.verification, tar_at_far=none, threshold_at_far=none)
    said = answers(dataclasses.replace(few, verification=unsupported))
    assert "FNMR" not in said["How good is it?"]
    assert said["Which threshold?"].startswith("These pairs are too few")
    by_pair = evaluation_metrics(verify_pairs(pairs, embeddings, replicates=5))
    assert (
        "unknown"
        in answers(
            dataclasses.replace(
                metrics,
                verification=dataclasses.replace(
                    metrics.verification,
                    intervals=dataclasses.replace(
                        by_pair.verification.intervals,
                        accuracy=metrics.verification.intervals.accuracy,
                    ),
                ),
            )
        )["How sure is that?"]
    )


def test_a_calibrated_threshold_is_answered_with_what_it_gave_on_other_identities(metrics):
    one = CalibratedThreshold(
        fmr=0.01,
        threshold=0.332,
        threshold_interval=Interval(0.3017, 0.3682),
        llr=2.0,
        judged_fmr=0.0133,
        judged_fmr_interval=Interval(0.006, 0.028),
        judged_fnmr=0.2417,
        judged_fnmr_interval=Interval(0.2, 0.28),
    )
    calibration = CalibrationMetrics(
        "by fold", True, 0, 100, 50, 100, 50, 16.0, -3.0, 0.31, None, 0.3, 0.29, (one,)
    )
    said = answers(dataclasses.replace(metrics, calibration=calibration))["Which threshold?"]
    assert said == (
        "A cosine of 0.3320 (95 %: 0.3017 to 0.3682), chosen for FMR 0.01. On other identities it "
        "gave FMR 1.33 % (0.60 to 2.80 %) and FNMR 24.17 % (20.00 to 28.00 %). sphereface "
        "compare takes it by default; recognition.json has those for other rates."
    )
    others = (dataclasses.replace(one, fmr=rate, threshold=1 - rate) for rate in (0.001, 1e-5))
    several = dataclasses.replace(calibration, thresholds=(one, *others))
    said = answers(dataclasses.replace(metrics, calibration=several))["Which threshold?"]
    assert said.startswith("A cosine of 0.9990 (95 %: 0.3017 to 0.3682), chosen for FMR 0.001.")
    mixed = dataclasses.replace(calibration, identities_are_apart=False)
    said = answers(dataclasses.replace(metrics, calibration=mixed))["Which threshold?"]
    assert "maybe of the same identities" in said


def test_failures_are_answered_where_there_are_any(metrics):
    assert "What could it not use?" not in answers(metrics)
    failed = AcquisitionMetrics(200, 3, 0.015, 20, 1, 0.05, {"0.1": 0.25, "0.01": None})
    said = answers(dataclasses.replace(metrics, acquisition=failed))["What could it not use?"]
    assert said == (
        "3 of 200 images (1.50 %, FTA), and 1 of 20 templates (5.00 %, FTE). With them counted as "
        "not matching, FNMR at FMR 0.1 is 25.00 %."
    )


def test_the_card_has_results_data_and_runtime(metrics):
    runtime = EmbeddingRuntime(64, 32, 2.0, 500.0, 4096, "2 cores")
    card = model_card(dataclasses.replace(metrics, runtime=runtime))
    assert card.startswith("# Model card: run/export\n")
    for text in (
        "- **How good is it?** It decides 91.23 %",
        "| accuracy | 91.23 % |",
        "95 % interval, by identities",
        "2.00 ms an image",
        "4,096 bytes a template",
        "- Warning: Repeated pairs: 3.",
        "Protocol `sphereface`: ",
    ):
        assert text in card, text
    assert "## Runtime" not in model_card(metrics)
