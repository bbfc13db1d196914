import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics.identification import search

# Rows of length 1 or 2: their cosines, multiples of 1/2, are exact and tie often.
EXACT = np.array(
    [row for row in itertools.product((-1, 0, 1), repeat=4) if sum(map(abs, row)) in (1, 4)]
)
INDEX = st.integers(0, len(EXACT) - 1)
IMAGES = st.lists(st.tuples(INDEX, st.integers(0, 4)), min_size=1, max_size=12)
BLOCKS = st.sampled_from([1, 2, 3, 5, 512])


def split(images):
    return EXACT[[index for index, _ in images]], np.array([label for _, label in images])


def cosine(a, b):
    return float(sum(x * y for x, y in zip(a, b, strict=True))) / (
        sum(x * x for x in a) * sum(y * y for y in b)
    ) ** (1 / 2)


def search_by_loops(gallery, gallery_labels, probes, probe_labels, distractors):
    results = []
    for probe, label in zip(probes, probe_labels, strict=True):
        people = {}
        for entry, person in zip(gallery, gallery_labels, strict=True):
            people.setdefault(person, []).append(cosine(probe, entry))
        people = {person: max(scores) for person, scores in people.items()}
        mate = people.pop(label, None)
        others = [*people.values(), *(cosine(probe, row) for row in distractors)]
        rank = 0 if mate is None else 1 + sum(other >= mate for other in others)
        results.append((-np.inf if mate is None else mate, rank, max(others, default=-np.inf)))
    return results


@given(IMAGES, IMAGES, st.lists(INDEX, max_size=8), BLOCKS)
def test_search_finds_what_loops_find(gallery, probes, distractors, block):
    rows = split(gallery) + split(probes)
    found = search.search(*rows, distractors=EXACT[distractors], block=block)
    assert list(zip(*found, strict=True)) == search_by_loops(*rows, EXACT[distractors])


def test_search_without_distractors_is_search_with_none():
    people = np.arange(5) // 2
    rows = EXACT[[0, 5, 9, 12, 20]], people, EXACT[[1, 5, 8, 12, 21]], people
    without = search.search(*rows)
    empty = search.search(*rows, distractors=np.empty((0, 4)))
    np.testing.assert_array_equal(without, empty)
    assert list(zip(*without, strict=True)) == search_by_loops(*rows, [])


def drawn_people(seed, num_identities=30, size=16, noise=0.9):
    """Gallery and probes, each person with 0 to 4 images in each."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_identities, size))
    sides = []
    for _ in range(2):
        labels = np.repeat(np.arange(num_identities), rng.integers(0, 5, num_identities))
        rng.shuffle(labels)
        sides += [centers[labels] + noise * rng.normal(size=(len(labels), size)), labels]
    return tuple(sides)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_search_of_drawn_people_does_not_depend_on_the_block(block):
    rows = drawn_people(1)
    distractors = np.random.default_rng(2).normal(size=(200, 16)).astype(np.float16)
    found = search.search(*rows, distractors=distractors, block=block)
    mates, ranks, tops = zip(*search_by_loops(*rows, distractors.astype(float)), strict=True)
    np.testing.assert_array_equal(found.ranks, ranks)
    np.testing.assert_allclose(found.mate_scores, mates, atol=1e-6)
    np.testing.assert_allclose(found.top_scores, tops, atol=1e-6)


def test_search_goes_through_the_probes_in_tiles(monkeypatch):
    rows = drawn_people(3, num_identities=120)
    whole = search.search(*rows)
    monkeypatch.setattr(search, "SCORES", 1)
    found = search.search(*rows)
    np.testing.assert_array_equal(found.ranks, whole.ranks)
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("size", [5, 128, 512])
def test_a_model_that_tells_nobody_apart_ranks_the_mate_last(size):
    same = np.tile(np.random.default_rng(size).normal(size=size), (300, 1))
    people = np.arange(300)
    found = search.search(same, people, same[:70], people[:70], distractors=same[:33])
    np.testing.assert_array_equal(found.ranks, np.full(70, 333))
    result = search.megaface(same[:70], people[:70] // 2, same, sizes=[1, 300])
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
        found = search.search(rows, np.array([1, 2]), probe, np.array([1]))
        assert found.ranks.tolist() == [rank]
        pair = np.stack([probe[0], at_score(0.9)])
        # Both images of the pair, as probes: the distractor is far from the second.
        result = search.megaface(
            pair, np.array([1, 1]), rows[1:], sizes=[1], max_rank=1, fars=(0.5,)
        )
        assert result[0].cmc[0] == (0.5 if rank == 1 else 0.0)


def test_labels_may_be_strings():
    gallery, people, probes, others = drawn_people(4)
    names = [np.array([f"person {label}" for label in side]) for side in (people, others)]
    found = search.search(gallery, names[0], probes, names[1].astype(object))
    np.testing.assert_array_equal(found, search.search(gallery, people, probes, others))


def test_large_labels_of_different_types_are_not_confused():
    gallery_labels = np.array([2**60, 2**60 + 1], np.uint64)
    found = search.search(EXACT[:2], gallery_labels, EXACT[:1], np.array([2**60 + 2]))
    assert found.ranks.tolist() == [0]


def test_a_bad_row_is_named_as_the_gallery_numbers_it():
    with pytest.raises(ValueError, match=r"`gallery` must be other than zero.* row 4"):
        search.search(with_row(4, 0), PEOPLE[::-1], ROWS, PEOPLE + 9, block=1)


@pytest.mark.parametrize("factor", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_length_does_not_matter_however_small_or_large(factor, dtype):
    rows = (EXACT[:20] * factor).astype(dtype)
    units = search.unit_rows(rows, "rows")
    assert units.dtype == np.float32
    np.testing.assert_allclose(units, EXACT[:20] / np.linalg.norm(EXACT[:20], axis=1)[:, None])
    np.testing.assert_array_equal(rows, (EXACT[:20] * factor).astype(dtype))


def test_cmc_of_a_known_case():
    ranks = np.array([3, 1, 1, 7])
    np.testing.assert_array_equal(search.cmc(ranks, 4), [0.5, 0.5, 0.75, 0.75])
    assert search.rank_k(ranks, 3) == 0.75
    assert search.rank_k(ranks, 7) == 1.0


def dir_by_loops(found, far, rank):
    """Try every threshold."""
    mated = [(s, r) for s, r in zip(found.mate_scores, found.ranks, strict=True) if r > 0]
    alarms = [t for t, r in zip(found.top_scores, found.ranks, strict=True) if r == 0]
    if 1 / len(alarms) > far:
        return None
    best = 0.0
    for threshold in [s for s, _ in mated] + alarms:
        if sum(alarm >= threshold for alarm in alarms) / len(alarms) <= far:
            hits = sum(s >= threshold and (rank is None or r <= rank) for s, r in mated)
            best = max(best, hits / len(mated))
    return best


SEARCHES = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=14
).filter(lambda found: 0 < sum(rank > 0 for _, rank, _ in found) < len(found))


@given(SEARCHES, st.sampled_from([0.01, 0.2, 0.25, 1 / 3, 0.5, 1.0]), st.sampled_from([1, 2, None]))
def test_dir_at_far_is_the_best_of_all_thresholds(probes, far, rank):
    found = search.SearchResult(*map(np.array, zip(*probes, strict=True)))
    assert search.dir_at_far(found, far, rank) == dir_by_loops(found, far, rank)


def test_dir_curve_of_a_known_case():
    found = search.SearchResult(
        mate_scores=np.array([0.9, 0.5, 0.7, -np.inf, -np.inf]),
        ranks=np.array([1, 1, 2, 0, 0]),
        top_scores=np.array([0.1, 0.4, 0.8, 0.6, 0.2]),
    )
    curve = search.dir_curve(found)
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 0.9, 0.6, 0.5, 0.2])
    np.testing.assert_allclose(curve.far, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.dir, [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert search.dir_at_far(found, 0.5) == pytest.approx(2 / 3)
    assert search.dir_at_far(found, 0.5, rank=2) == 1.0
    assert search.dir_at_far(found, 0.49) is None


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


def plain(results):
    return [(size, rates.tolist(), tars) for size, rates, tars in results]


@given(
    IMAGES.filter(lambda p: len({label for _, label in p}) < len(p)),
    st.lists(INDEX, min_size=1, max_size=12),
    st.integers(1, 4),
    BLOCKS,
    st.data(),
)
def test_megaface_finds_what_loops_find(images, distractors, max_rank, block, data):
    probes, labels = split(images)
    sizes = data.draw(st.sets(st.integers(1, len(distractors)), min_size=1))
    fars = (0.01, 0.1, 0.25, 1.0)
    results = search.megaface(
        probes,
        labels,
        EXACT[distractors],
        sizes=sizes,
        max_rank=max_rank,
        fars=fars,
        block=block,
    )
    assert plain(results) == [
        megaface_by_loops(probes, labels, EXACT[distractors[:size]], max_rank, fars)
        for size in sorted(sizes)
    ]


@pytest.mark.parametrize("block", [3, 64, 512])
def test_megaface_of_drawn_people_among_many_blocks(block, tmp_path):
    gallery, labels, *_ = drawn_people(5, size=8)
    drawn = np.random.default_rng(6).normal(size=(1500, 8)).astype(np.float16)
    np.save(tmp_path / "distractors.npy", drawn)
    distractors = np.load(tmp_path / "distractors.npy", mmap_mode="r")
    fars = (1e-4, 1e-3, 1e-2)
    results = search.megaface(gallery, labels, distractors, max_rank=3, fars=fars, block=block)
    assert [result.num_distractors for result in results] == [10, 100, 1000, 1500]
    units = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    others = drawn.astype(float) / np.linalg.norm(drawn.astype(float), axis=1, keepdims=True)
    first, second = np.nonzero((labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool))
    genuine = np.sum(units[first] * units[second], axis=1)
    for size, rates, tars in results:
        against = units @ others[:size].T
        ranks = 1 + np.sum(against[first] >= genuine[:, None], axis=1)
        assert rates.tolist() == [np.mean(ranks <= k) for k in (1, 2, 3)]
        falling = np.sort(against.ravel())[::-1]
        for far in fars:
            allowed = int(np.sum(np.arange(1, len(falling) + 1) / len(falling) <= far))
            assert tars[far] == (np.mean(genuine > falling[allowed]) if allowed else None)


def test_megaface_goes_through_the_probes_in_tiles(monkeypatch):
    gallery, labels, *_ = drawn_people(7, num_identities=120)
    distractors = np.random.default_rng(8).normal(size=(400, 16))
    whole = plain(search.megaface(gallery, labels, distractors))
    monkeypatch.setattr(search, "SCORES", 1)
    assert plain(search.megaface(gallery, labels, distractors)) == whole


def test_more_ranks_than_distractors_are_all_reached():
    result = search.megaface(EXACT[:2], np.zeros(2, int), EXACT[5:7], max_rank=5)[-1]
    np.testing.assert_array_equal(result.cmc[2:], [1, 1, 1])


def test_sizes_are_told_once_each_and_rising():
    results = search.megaface(EXACT[:2], np.zeros(2, int), EXACT[:10], sizes=[7, 2, 7], fars=())
    assert [(result.num_distractors, result.tar_at_far) for result in results] == [(2, {}), (7, {})]
    whole = search.megaface(EXACT[:2], np.zeros(2, int), EXACT[:10])
    assert [result.num_distractors for result in whole] == [10]


@pytest.mark.parametrize(("far", "number", "allowed"), [(0.29, 100, 29), (1 / 49, 49, 1)])
def test_a_rate_that_is_a_whole_number_of_scores_allows_all_of_them(far, number, allowed):
    assert search._allowed(far, number) == allowed
    assert search._allowed(far * 0.999, number) == allowed - 1


ROWS, PEOPLE = EXACT[:6], np.arange(6)


def with_row(row, value):
    rows = ROWS.astype(float)
    rows[row] = value
    return rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery": ROWS[:0], "gallery_labels": []}, r"`gallery` must be .*N >= 1.* \(0, 4\)"),
        ({"probes": ROWS[0]}, r"`probes` must be \(N, D\), N >= 1. Received: shape \(4,\)"),
        ({"gallery": ROWS[:, :3]}, r"`gallery` must be \(N, 4\), N >= 1. .*\(6, 3\)"),
        ({"distractors": ROWS[:, :3]}, r"`distractors` must be \(N, 4\). Received"),
        ({"probes": ROWS.astype(complex)}, "must be real numbers. Received: dtype complex"),
        ({"gallery_labels": PEOPLE[1:]}, r"`gallery_labels` must be \(6,\). .*\(5,\)"),
        ({"probe_labels": PEOPLE[None]}, r"`probe_labels` must be \(6,\)"),
        ({"probe_labels": PEOPLE / 2}, "integers or strings. Received: dtype float64"),
        ({"probe_labels": PEOPLE.astype(str)}, "all integers or all strings. Received: int64"),
        ({"gallery": with_row(4, 0)}, "`gallery` must be other than zero.* 1 .* row 4"),
        ({"probes": with_row(2, -np.inf)}, "`probes` must be finite.* row 2"),
        ({"distractors": with_row(5, 0), "block": 2}, "`distractors`.* row 5"),
        ({"gallery": with_row(3, np.nan)}, "finite.* row 3"),
        ({"block": 0}, "`block` must be >= 1. Received: block=0"),
    ],
)
def test_a_search_that_cannot_be_is_refused(changes, message):
    arguments = {"gallery": ROWS, "gallery_labels": PEOPLE, "probes": ROWS, "probe_labels": PEOPLE}
    with pytest.raises(ValueError, match=message):
        search.search(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.arange(6)}, "needs two images. Received: 6 images of as many people"),
        ({"labels": np.zeros(5, int)}, r"`labels` must be \(6,\)"),
        ({"distractors": ROWS[:0]}, r"`distractors` must be \(N, 4\), N >= 1"),
        ({"distractors": with_row(3, 0), "block": 2}, "`distractors`.*zero.* row 3"),
        ({"probes": with_row(3, 0)}, "`probes`.*zero.* row 3"),
        ({"sizes": [3, 7]}, r"from 1 to the number of distractors, 6. Received: \[3, 7\]"),
        ({"sizes": [0, 3]}, r"Received: \[0, 3\]"),
        ({"sizes": []}, r"Received: \[\]"),
        ({"max_rank": 0}, "`max_rank` must be >= 1. Received: max_rank=0"),
        ({"fars": [0.1, 0.0]}, r"must be in \(0, 1\]. Received: 0.0"),
        ({"fars": [1.5]}, r"must be in \(0, 1\]. Received: 1.5"),
        ({"block": 0}, "`block` must be >= 1"),
    ],
)
def test_a_megaface_that_cannot_be_is_refused(changes, message):
    arguments = {"probes": ROWS, "labels": np.zeros(6, int), "distractors": ROWS}
    with pytest.raises(ValueError, match=message):
        search.megaface(**{**arguments, **changes})


def test_closed_set_measures_refuse_probes_without_a_mate():
    found = search.search(ROWS[:4], PEOPLE[:4], ROWS, PEOPLE)
    with pytest.raises(ValueError, match="none for 2 of 6 probes, the first at 4"):
        search.cmc(found.ranks, 1)
    with pytest.raises(ValueError, match=r"`ranks` must be \(P,\), P >= 1. .*\(0,\)"):
        search.cmc([], 1)
    with pytest.raises(ValueError, match=r"`max_rank` must be >= 1. Received: max_rank=0"):
        search.cmc(found.ranks[:4], 0)


@pytest.mark.parametrize(
    ("ranks", "far", "rank", "message"),
    [
        ([1, 2], 0.1, 1, "with a mate and probes without. Received: 2 with and 0 without"),
        ([0, 0], 0.1, 1, "Received: 0 with and 2 without"),
        ([1, 0], 0.0, 1, r"must be in \(0, 1\]. Received: 0.0"),
        ([1, 0], 0.1, 0, "`rank` must be >= 1. Received: rank=0"),
    ],
)
def test_open_set_measures_refuse_what_they_cannot_tell(ranks, far, rank, message):
    found = search.SearchResult(np.ones(2), np.array(ranks), np.ones(2))
    with pytest.raises(ValueError, match=message):
        search.dir_at_far(found, far, rank)
