"""Errors by group, from drawn embeddings, counted pair by pair."""

import itertools

import numpy as np
import pytest

from keras_sphereface.data.groups import GroupTable
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.group_report import (
    column_sentences,
    group_blocks,
    group_figure,
    group_table,
)
from keras_sphereface.evaluation.groups import measure_groups
from keras_sphereface.evaluation.operating_point import compare_images
from keras_sphereface.evaluation.verification import verify_pairs
from keras_sphereface.reporting import html
from tests.helpers.drawn_pairs import make_pairs

COUNT = 80
# The first 40 identities are blurred; of the last five nobody knows the group.
GROUPS = {f"P{i}": "hard" if i < 40 else "easy" for i in range(75)}
GROUPS |= {f"P{i}": "rare" for i in range(70, 75)}


def draw(seed=0, images=4):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(COUNT, 1, 1, 8))
    spread = np.where(np.arange(COUNT) < 40, 0.9, 0.4)[:, None, None, None]
    views = directions + spread * rng.normal(size=(COUNT, images, 1, 8))
    keys = [f"P{i}/P{i}_{j}.jpg" for i in range(COUNT) for j in range(images)]
    return Embeddings(keys, views.reshape(-1, 1, 8), {})


def measure(groups=None, has_identities=True, replicates=50, fmr=0.01, **columns):
    pairs, embeddings = make_pairs(COUNT), draw()
    compared = compare_images(pairs, embeddings, has_identities, fmr)
    table = GroupTable("files/groups.csv", True, columns or {"kind": groups or GROUPS})
    return measure_groups(table, compared, verify_pairs(pairs, embeddings), replicates, 0)


@pytest.fixture(scope="module")
def metrics():
    return measure()


@pytest.fixture(scope="module")
def column(metrics):
    (column,) = metrics.columns
    return column


def errors_by_hand(threshold):
    """{(kind of comparison, groups): [is it an error]} of all images in pairs."""
    embeddings, keys = draw(), make_pairs(COUNT).keys()
    rows = embeddings.features[embeddings.rows(keys)]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    names = [key.split("/")[0] for key in keys]
    errors = {}
    for i, j in itertools.combinations(range(len(keys)), 2):
        sides = tuple(sorted(GROUPS.get(names[k], "") for k in (i, j)))
        matched, accepted = names[i] == names[j], unit[i] @ unit[j] >= threshold
        errors.setdefault((matched, sides), []).append(accepted != matched)
    return errors


def test_rates_are_those_of_all_comparisons(metrics, column):
    errors = errors_by_hand(metrics.point.threshold)
    assert [one.name for one in column.within] == ["hard", "easy", "rare"]
    for one in (*column.within, *column.across):
        sides = tuple(sorted((one.groups[0], one.groups[-1])))
        for matched, rate in ((False, one.fmr), (True, one.fnmr)):
            expected = errors.get((matched, sides), [])
            assert rate.num_comparisons == len(expected)
            assert rate.num_errors == sum(expected)
            if expected:
                assert rate.rate == pytest.approx(np.mean(expected))
                assert rate.interval.low <= rate.rate <= rate.interval.high
            else:
                assert rate.rate is rate.interval is None
    total = sum(map(sum, (e for (matched, _), e in errors.items() if not matched)))
    assert total / metrics.point.num_mismatched == pytest.approx(metrics.point.fmr)
    assert metrics.point.fmr <= 0.01


def test_small_groups_are_shown_and_not_ranked(column):
    assert [one.is_small for one in column.within] == [False, False, True]
    assert {one.name: one.is_small for one in column.across} == {
        "hard x easy": False,
        "hard x rare": True,
        "easy x rare": True,
    }
    assert {column.fnmr.worst, column.fnmr.best} == {"hard", "easy"}
    assert column.num_without_group == 20


def test_measures_compare_the_ranked_groups(column):
    hard, easy, _ = (one.fnmr.rate for one in column.within)
    assert column.fnmr.worst == "hard"
    assert column.fnmr.worst_to_best.value == pytest.approx(hard / easy)
    assert column.fnmr.worst_to_geometric_mean.value == pytest.approx(np.sqrt(hard / easy))
    assert column.fnmr.worst_to_best.interval.low > 1
    ginis = column.fmr.gini.value, column.fnmr.gini.value
    assert ginis[1] == pytest.approx((hard - easy) / (hard + easy))
    assert column.garbe.value == pytest.approx(sum(ginis) / 2)


def test_equal_groups_may_differ_by_chance():
    (column,) = measure({f"P{i}": "odd" if i % 2 else "even" for i in range(80)}).columns
    for differential in (column.fmr, column.fnmr):
        ratio = differential.worst_to_best
        assert ratio.interval.low < 1 <= ratio.value < ratio.interval.high


def test_a_group_without_errors_has_an_interval_all_the_same():
    never = measure({**{f"P{i}": "a" for i in range(40)}, **{f"P{i}": "b" for i in range(40, 80)}})
    (column,) = never.columns
    fnmr = {one.name: one.fnmr for one in column.within}["b"]
    if fnmr.num_errors == 0:
        assert fnmr.interval.high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert fnmr.interval.high > 0


def test_pairs_across_groups_are_counted_and_left_out(metrics, column):
    pairs = make_pairs(COUNT)
    result = verify_pairs(pairs, draw())
    kinds = [[GROUPS.get(key.split("/")[0], "") for key in side] for side in pairs[:2]]
    across = np.array([a != b and bool(a and b) for a, b in zip(*kinds, strict=True)])
    assert column.listed.num_across == across.sum() == 4  # 39 with 40, 69 with 70
    known = np.array([bool(a and b) for a, b in zip(*kinds, strict=True)])
    assert column.listed.num_mismatched == np.sum(known & ~pairs.is_same)
    assert column.listed.auc == result.metrics.auc
    assert column.listed.auc_without != result.metrics.auc
    # All comparisons: those within a group are harder, as the rare and the unknown are left out.
    assert column.listed.fnmr_without is not None


def test_listed_pairs_alone_where_identities_are_unknown():
    metrics = measure(has_identities=False, fmr=0.1)
    assert metrics.point.compared == "listed pairs"
    assert metrics.point.num_mismatched == 2 * COUNT
    hard = {one.name: one for one in metrics.columns[0].within}["hard"]
    assert hard.fmr.num_comparisons == 2 * 39
    assert hard.fnmr.num_comparisons == 2 * 40


def test_without_draws_there_are_no_intervals():
    (column,) = measure(replicates=0).columns
    assert column.within[0].fmr.interval is None
    assert column.garbe.value > 0
    assert column.garbe.interval is None


def test_columns_that_compare_nothing_are_named():
    names = {name: name for name in GROUPS}
    metrics = measure(kind=GROUPS, name=names, same=dict.fromkeys(GROUPS, "one"))
    assert [column.column for column in metrics.columns] == ["kind"]
    assert [note.split(" has ")[0] for note in metrics.notes] == [
        "The column name",
        "The column same",
    ]


def test_few_comparisons_raise_the_false_match_rate():
    pairs, embeddings = make_pairs(9), draw()
    point = compare_images(pairs, embeddings, True, 1e-5).point
    assert point.wanted_fmr == 1e-5
    assert 0.005 < point.fmr <= 0.1
    assert point.fmr * point.num_mismatched >= 9


def test_the_report_says_who_fails(metrics, column):
    text = " ".join(column_sentences(column, metrics.point))
    assert "FNMR is " in text
    assert "as high for hard as for easy" in text
    assert "the groups differ." in text
    assert "GARBE 0." in text
    assert "3 % of the listed mismatched pairs are across groups of kind" in text
    page = html.render_page("Groups", group_blocks(metrics, group_figure(metrics)))
    assert "too small to be ranked: rare" in page
    assert "20 images have no group" in page
    assert "<img" in page


def test_the_table_has_a_row_for_each_two_groups(metrics):
    table = group_table(metrics)
    assert len(table) == 6
    hard = table[(table["first"] == "hard") & (table["second"] == "hard")].iloc[0]
    assert hard["num_identities"] == 40
    assert hard["fnmr_low"] <= hard["fnmr"] <= hard["fnmr_high"]
