import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics.identification import evaluate_megaface, products
from keras_sphereface.metrics.identification.inputs import max_errors
from tests.helpers.identification_data import (
    BLOCKS,
    EXACT,
    IMAGES,
    INDEX,
    ROWS,
    cosine,
    drawn_identities,
    split,
    with_row,
)


def megaface_by_loops(probes, labels, distractors, max_rank, fars):
    pairs = [
        (p, cosine(probes[p], probes[g]))
        for p, g in itertools.permutations(range(len(probes)), 2)
        if labels[p] == labels[g]
    ]
    against = [[cosine(probe, row) for row in distractors] for probe in probes]
    ranks = [1 + sum(other >= score for other in against[p]) for p, score in pairs]
    impostors = [score for scores in against for score in scores]
    rates = {}
    for far in fars:
        passed = [
            sum(score >= threshold for _, score in pairs) / len(pairs)
            for threshold in [score for _, score in pairs] + [np.inf]
            if sum(score >= threshold for score in impostors) / len(impostors) <= far
        ]
        rates[far] = max(passed) if 1 / len(impostors) <= far else None
    shares = [sum(rank <= k for rank in ranks) / len(ranks) for k in range(1, max_rank + 1)]
    return len(distractors), shares, rates


def plain_values(results):
    return [(r.num_distractors, r.cmc.tolist(), r.tar_at_far) for r in results]


@pytest.mark.slow
@given(
    IMAGES.filter(lambda p: len({label for _, label in p}) < len(p)),
    st.lists(INDEX, min_size=1, max_size=12),
    st.integers(1, 4),
    BLOCKS,
    st.data(),
)
def test_megaface_equals_loops(images, distractors, max_rank, block, data):
    probes, labels = split(images)
    sizes = data.draw(st.sets(st.integers(1, len(distractors)), min_size=1))
    fars = (0.01, 0.1, 0.25, 1.0)
    results = evaluate_megaface(
        probes,
        labels,
        EXACT[distractors],
        sizes=sizes,
        max_rank=max_rank,
        fars=fars,
        block_size=block,
    )
    assert plain_values(results) == [
        megaface_by_loops(probes, labels, EXACT[distractors[:size]], max_rank, fars)
        for size in sorted(sizes)
    ]


@pytest.mark.parametrize("block", [3, 64, 512])
def test_megaface_of_drawn_identities_among_many_blocks(block, tmp_path):
    gallery, labels, *_ = drawn_identities(5, size=8)
    drawn = np.random.default_rng(6).normal(size=(1500, 8)).astype(np.float16)
    np.save(tmp_path / "distractors.npy", drawn)
    distractors = np.load(tmp_path / "distractors.npy", mmap_mode="r")
    fars = (1e-4, 1e-3, 1e-2)
    results = evaluate_megaface(
        gallery, labels, distractors, max_rank=3, fars=fars, block_size=block
    )
    assert [result.num_distractors for result in results] == [10, 100, 1000, 1500]
    units = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    others = drawn.astype(float) / np.linalg.norm(drawn.astype(float), axis=1, keepdims=True)
    first, second = np.nonzero((labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool))
    genuine = np.sum(units[first] * units[second], axis=1)
    for size, rates, tars in plain_values(results):
        against = units @ others[:size].T
        ranks = 1 + np.sum(against[first] >= genuine[:, None], axis=1)
        assert rates == [np.mean(ranks <= k) for k in (1, 2, 3)]
        falling = np.sort(against.ravel())[::-1]
        for far in fars:
            allowed = int(np.sum(np.arange(1, len(falling) + 1) / len(falling) <= far))
            assert tars[far] == (np.mean(genuine > falling[allowed]) if allowed else None)


def test_megaface_goes_through_the_probes_in_tiles(monkeypatch):
    gallery, labels, *_ = drawn_identities(7, num_identities=120)
    distractors = np.random.default_rng(8).normal(size=(400, 16))
    whole = plain_values(evaluate_megaface(gallery, labels, distractors))
    monkeypatch.setattr(products, "SCORES_PER_TILE", 1)
    assert plain_values(evaluate_megaface(gallery, labels, distractors)) == whole


def test_more_ranks_than_distractors_are_all_reached():
    result = evaluate_megaface(EXACT[:2], np.zeros(2, int), EXACT[5:7], max_rank=5)[-1]
    np.testing.assert_array_equal(result.cmc[2:], [1, 1, 1])


def test_each_size_is_reported_once_and_sizes_rise():
    results = evaluate_megaface(EXACT[:2], np.zeros(2, int), EXACT[:10], sizes=[7, 2, 7], fars=())
    assert [(result.num_distractors, result.tar_at_far) for result in results] == [(2, {}), (7, {})]
    whole = evaluate_megaface(EXACT[:2], np.zeros(2, int), EXACT[:10])
    assert [result.num_distractors for result in whole] == [10]


@pytest.mark.parametrize(("far", "number", "allowed"), [(0.29, 100, 29), (1 / 49, 49, 1)])
def test_a_rate_that_is_a_whole_number_of_scores_allows_all_of_them(far, number, allowed):
    assert max_errors(far, number) == allowed
    assert max_errors(far * 0.999, number) == allowed - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.arange(6)}, "needs two images. Received: 6 images of as many identities"),
        ({"labels": np.zeros(5, int)}, r"`labels` must be \(6,\)"),
        ({"distractors": ROWS[:0]}, r"`distractors` must be \(N, 4\), N >= 1"),
        ({"distractors": with_row(3, 0), "block_size": 2}, "`distractors`.*zero.* row 3"),
        ({"probes": with_row(3, 0)}, "`probes`.*zero.* row 3"),
        ({"sizes": [3, 7]}, r"from 1 to the number of distractors, 6. Received: \[3, 7\]"),
        ({"sizes": [0, 3]}, r"Received: \[0, 3\]"),
        ({"sizes": []}, r"Received: \[\]"),
        ({"max_rank": 0}, "`max_rank` must be >= 1. Received: max_rank=0"),
        ({"fars": [0.1, 0.0]}, r"must be in \(0, 1\]. Received: 0.0"),
        ({"fars": [1.5]}, r"must be in \(0, 1\]. Received: 1.5"),
        ({"block_size": 0}, "`block_size` must be >= 1"),
    ],
)
def test_unsuitable_arguments_of_megaface_are_refused(changes, message):
    arguments = {"probes": ROWS, "labels": np.zeros(6, int), "distractors": ROWS}
    with pytest.raises(ValueError, match=message):
        evaluate_megaface(**{**arguments, **changes})
