import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics.identification import evaluate_megaface, products, search_gallery
from tests.helpers.identification_data import (
    BLOCKS,
    EXACT,
    IMAGES,
    INDEX,
    LABELS,
    ROWS,
    columns,
    cosine,
    drawn_identities,
    split,
    with_row,
)


def search_by_loops(gallery, gallery_labels, probes, probe_labels, distractors):
    results = []
    for probe, label in zip(probes, probe_labels, strict=True):
        entries = {}
        for entry, identity in zip(gallery, gallery_labels, strict=True):
            entries.setdefault(identity, []).append(cosine(probe, entry))
        best = {identity: max(scores) for identity, scores in entries.items()}
        mate = best.pop(label, None)
        others = [*best.values(), *(cosine(probe, row) for row in distractors)]
        rank = 0 if mate is None else 1 + sum(other >= mate for other in others)
        results.append((-np.inf if mate is None else mate, rank, max(others, default=-np.inf)))
    return results


@given(IMAGES, IMAGES, st.lists(INDEX, max_size=8), BLOCKS)
def test_search_equals_loops(gallery, probes, distractors, block):
    rows = split(gallery) + split(probes)
    result = search_gallery(*rows, distractors=EXACT[distractors], block_size=block)
    assert list(zip(*columns(result), strict=True)) == search_by_loops(*rows, EXACT[distractors])


def test_search_without_distractors_is_search_with_none():
    labels = np.arange(5) // 2
    rows = EXACT[[0, 5, 9, 12, 20]], labels, EXACT[[1, 5, 8, 12, 21]], labels
    without = search_gallery(*rows)
    empty = search_gallery(*rows, distractors=np.empty((0, 4)))
    np.testing.assert_array_equal(columns(without), columns(empty))
    assert list(zip(*columns(without), strict=True)) == search_by_loops(*rows, [])


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_search_of_drawn_identities_does_not_depend_on_the_block(block):
    rows = drawn_identities(1)
    distractors = np.random.default_rng(2).normal(size=(200, 16)).astype(np.float16)
    result = search_gallery(*rows, distractors=distractors, block_size=block)
    mates, ranks, tops = zip(*search_by_loops(*rows, distractors.astype(float)), strict=True)
    np.testing.assert_array_equal(result.ranks, ranks)
    np.testing.assert_allclose(result.mate_scores, mates, atol=1e-6)
    np.testing.assert_allclose(result.top_nonmate_scores, tops, atol=1e-6)


def test_search_goes_through_the_probes_in_tiles(monkeypatch):
    rows = drawn_identities(3, num_identities=120)
    whole = search_gallery(*rows)
    monkeypatch.setattr(products, "SCORES_PER_TILE", 1)
    result = search_gallery(*rows)
    np.testing.assert_array_equal(result.ranks, whole.ranks)
    np.testing.assert_allclose(columns(result), columns(whole), atol=1e-6)


@pytest.mark.parametrize("size", [5, 128, 512])
def test_a_model_with_equal_embeddings_ranks_the_mate_last(size):
    same = np.tile(np.random.default_rng(size).normal(size=size), (300, 1))
    labels = np.arange(300)
    result = search_gallery(same, labels, same[:70], labels[:70], distractors=same[:33])
    np.testing.assert_array_equal(result.ranks, np.full(70, 333))
    result = evaluate_megaface(same[:70], labels[:70] // 2, same, sizes=[1, 300])
    assert [size.cmc[0] for size in result] == [0, 0]
    assert result[1].tar_at_far[1e-4] == 0


def test_scores_within_the_rounding_of_products_tie_and_count_against_the_model():
    probe = np.zeros((1, 64))
    probe[0, 0] = 1.0

    def at_score(score):
        row = np.zeros(64)
        row[:2] = score, np.sqrt(1 - score**2)
        return row

    for below, rank in ((0.0, 2), (4e-7, 2), (1e-5, 1)):
        rows = np.stack([at_score(0.9), at_score(0.9 - below)])
        result = search_gallery(rows, np.array([1, 2]), probe, np.array([1]))
        assert result.ranks.tolist() == [rank]
        pair = np.stack([probe[0], at_score(0.9)])
        # Both images of the pair, as probes: the distractor is far from the second.
        result = evaluate_megaface(
            pair, np.array([1, 1]), rows[1:], sizes=[1], max_rank=1, fars=(0.5,)
        )
        assert result[0].cmc[0] == (0.5 if rank == 1 else 0.0)


def test_labels_may_be_strings():
    gallery, labels, probes, others = drawn_identities(4)
    names = [np.array([f"identity {label}" for label in side]) for side in (labels, others)]
    result = search_gallery(gallery, names[0], probes, names[1].astype(object))
    expected = search_gallery(gallery, labels, probes, others)
    np.testing.assert_array_equal(columns(result), columns(expected))


def test_large_labels_of_different_types_are_not_confused():
    gallery_labels = np.array([2**60, 2**60 + 1], np.uint64)
    result = search_gallery(EXACT[:2], gallery_labels, EXACT[:1], np.array([2**60 + 2]))
    assert result.ranks.tolist() == [0]


def test_a_bad_row_is_named_as_the_gallery_numbers_it():
    with pytest.raises(ValueError, match=r"`gallery` must be other than zero.* row 4"):
        search_gallery(with_row(4, 0), LABELS[::-1], ROWS, LABELS + 9, block_size=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery": ROWS[:0], "gallery_labels": []}, r"`gallery` must be .*N >= 1.* \(0, 4\)"),
        ({"probes": ROWS[0]}, r"`probes` must be \(N, D\), N >= 1. Received: shape \(4,\)"),
        ({"gallery": ROWS[:, :3]}, r"`gallery` must be \(N, 4\), N >= 1. .*\(6, 3\)"),
        ({"distractors": ROWS[:, :3]}, r"`distractors` must be \(N, 4\). Received"),
        ({"probes": ROWS.astype(complex)}, "must be real numbers. Received: dtype complex"),
        ({"gallery_labels": LABELS[1:]}, r"`gallery_labels` must be \(6,\). .*\(5,\)"),
        ({"probe_labels": LABELS[None]}, r"`probe_labels` must be \(6,\)"),
        ({"probe_labels": LABELS / 2}, "integers or strings. Received: dtype float64"),
        ({"probe_labels": LABELS.astype(str)}, "all integers or all strings. Received: int64"),
        ({"gallery": with_row(4, 0)}, "`gallery` must be other than zero.* 1 .* row 4"),
        ({"probes": with_row(2, -np.inf)}, "`probes` must be finite.* row 2"),
        ({"distractors": with_row(5, 0), "block_size": 2}, "`distractors`.* row 5"),
        ({"gallery": with_row(3, np.nan)}, "finite.* row 3"),
        ({"block_size": 0}, "`block_size` must be >= 1. Received: block_size=0"),
    ],
)
def test_unsuitable_arguments_of_a_search_are_refused(changes, message):
    arguments = {"gallery": ROWS, "gallery_labels": LABELS, "probes": ROWS, "probe_labels": LABELS}
    with pytest.raises(ValueError, match=message):
        search_gallery(**{**arguments, **changes})
