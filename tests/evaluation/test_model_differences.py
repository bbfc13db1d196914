"""Two models on the same pairs: paired differences and the pairs on which they disagree."""

import numpy as np
import pytest

from keras_sphereface.evaluation.model_differences import compare_models, disagreements
from keras_sphereface.evaluation.verification import verify_pairs
from tests.helpers.drawn_pairs import draw_embeddings, make_pairs

COUNT = 60


@pytest.fixture(scope="module")
def models():
    """A model, the same with a little noise, and one that is much worse."""
    good = draw_embeddings(COUNT, spread=0.6)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=good.views.shape)
    worse = good._replace(views=(good.views + 1.2 * noise).astype(np.float32))
    alike = good._replace(views=(good.views + 0.01 * noise).astype(np.float32))
    return {
        name: verify_pairs(make_pairs(COUNT), embeddings)
        for name, embeddings in (("good", good), ("alike", alike), ("worse", worse))
    }


def test_differences_are_those_of_the_measures(models):
    rows = compare_models("lfw", list(models.items()), True, 50, 0)
    assert {(row.first, row.second) for row in rows} == {
        ("good", "alike"), ("good", "worse"), ("alike", "worse"),
    }  # fmt: skip
    for row in rows:
        first, second = (models[name].metrics for name in (row.first, row.second))
        values = [
            {"accuracy": m.accuracy_mean, "auc": m.auc, "eer": m.eer, **m.tar_at_far}[row.measure]
            for m in (first, second)
        ]
        assert row.difference == pytest.approx(values[0] - values[1], abs=1e-12)
        assert row.num_pairs == 4 * COUNT
        assert row.set == "lfw"


def test_a_clear_difference_is_told_from_none(models):
    rows = compare_models("lfw", list(models.items()), True, 300, 0)
    of = {(row.first, row.second, row.measure): row for row in rows}
    clear, none = of["good", "worse", "auc"], of["good", "alike", "auc"]
    assert clear.interval.low > 0
    assert clear.p_value < 0.02
    assert none.interval.low <= 0 <= none.interval.high
    assert none.p_value > 0.05
    # The difference is paired: two models that err on the same pairs vary together.
    assert none.interval.high - none.interval.low < 0.2 * (clear.interval.high - clear.interval.low)


def test_pairs_without_names_are_drawn_by_themselves(models):
    two = list(models.items())[::2]
    (row, *_) = compare_models("a.bin", two, False, 100, 0)
    assert row.interval is None
    assert row.pair_interval.low <= row.difference <= row.pair_interval.high


def test_only_pairs_that_all_models_judged_are_compared(models):
    good = models["good"]
    drawn = draw_embeddings(COUNT, spread=0.6)
    missing = {"P3/P3_0.jpg": "no face"}
    embeddings = drawn.select([key for key in drawn.keys if key not in missing])
    fewer = verify_pairs(make_pairs(COUNT), embeddings._replace(missing=missing))
    rows = compare_models("lfw", [("all", good), ("fewer", fewer)], True, 10, 0)
    assert {row.num_pairs for row in rows} == {len(fewer.pairs.first)}
    assert len(fewer.pairs.first) < len(good.pairs.first)


def test_disagreements_are_what_one_decides_wrong(models):
    good, worse = models["good"], models["worse"]
    rows = disagreements(good, worse)
    decisions = [
        {pair: bool(correct) for pair, correct in zip(
            zip(one.pairs.first, one.pairs.second, strict=True), one.result.is_correct, strict=True
        )}
        for one in (good, worse)
    ]  # fmt: skip
    expected = {pair for pair in decisions[0] if decisions[0][pair] != decisions[1][pair]}
    assert {(first, second) for first, second, *_ in rows} == expected
    for first, second, is_same, *leads in rows:
        assert is_same == (first.split("/")[0] == second.split("/")[0])
        assert [lead > 0 for lead in leads] == [of[first, second] for of in decisions]
    gaps = [abs(one - other) for *_, one, other in rows]
    assert gaps == sorted(gaps, reverse=True)
    assert disagreements(good, good) == []


def test_models_without_common_pairs_cannot_be_compared(models):
    good = models["good"]
    others = good.pairs._replace(first=[f"x/{key}" for key in good.pairs.first])
    with pytest.raises(ValueError, match="No pair was judged by all models"):
        compare_models("lfw", [("a", good), ("b", good._replace(pairs=others))], True, 10, 0)
