"""Closed-set identification, compared with a search by hand."""

import numpy as np
import pytest

from tests.helpers.identification import (
    check_probes,
    evaluate,
    lists_by_hand,
    read_probes,
    search_by_hand,
    write_lists,
)


@pytest.mark.slow
@pytest.mark.parametrize("gallery_images", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_are_those_of_a_search_by_hand(settings, views, tmp_path, gallery_images):
    (metrics,) = evaluate("closed-set", settings, gallery_images=gallery_images, max_rank=12)
    table = read_probes(tmp_path)
    gallery = sorted(views.keys() - set(table["probe"]))
    assert len(gallery) == metrics.num_gallery_entries == 19 * gallery_images
    assert metrics.num_probes == len(table) == 19 * (6 - gallery_images)
    assert metrics.num_gallery_identities == 19
    assert set(table["model"]) == {metrics.model}
    expected = search_by_hand(views, gallery, table["probe"])
    check_probes(table, expected)
    ranks = [rank for rank, *_ in expected.values()]
    rates = [sum(rank <= k for rank in ranks) / len(ranks) for k in range(1, 13)]
    np.testing.assert_allclose(metrics.cmc, rates)
    assert 0.2 < rates[0] < rates[9] <= 1
    reported = metrics.rank_1, metrics.rank_5, metrics.rank_10
    assert reported == pytest.approx((rates[0], rates[4], rates[9]))


def test_a_short_curve_does_not_shorten_the_reported_ranks(quick):
    (whole,) = evaluate("closed-set", quick)
    (short,) = evaluate("closed-set", quick, max_rank=3)
    assert len(whole.cmc) == 20
    assert short.cmc == whole.cmc[:3]
    assert short.rank_10 == whole.rank_10


def test_lists_may_give_other_identities_than_the_folders(quick, views, tmp_path):
    gallery, probes = lists_by_hand(views)
    expected = evaluate("closed-set", quick, **write_lists(tmp_path, gallery, probes))
    renamed = ({k: f"No. {who}" for k, who in listed.items()} for listed in (gallery, probes))
    assert evaluate("closed-set", quick, **write_lists(tmp_path, *renamed)) == expected
    assert read_probes(tmp_path)["identity"].str.startswith("No. ").all()


def test_an_image_that_matches_itself_is_warned_of(quick, views, tmp_path):
    gallery, probes = lists_by_hand(views)
    shared = next(iter(gallery))
    lists = write_lists(tmp_path, gallery, {**probes, shared: gallery[shared]})
    (metrics,) = evaluate("closed-set", quick, **lists)
    (warning,) = metrics.warnings
    assert warning.startswith(
        f"1 image is in the gallery and among the probes, for example {shared}"
    )
    assert read_probes(tmp_path).set_index("probe")["mate_score"][shared] == pytest.approx(1)
