"""Open-set identification, compared with a search by hand."""

import numpy as np
import pytest

from keras_sphereface.evaluation.identification import open_set
from tests.helpers.identification import (
    check_probes,
    cosine,
    evaluate,
    identity_of,
    lists_by_hand,
    read_probes,
    search_by_hand,
    write_lists,
)


def rate_by_hand(results, far, most):
    """The best rate of mated probes over all thresholds that allow the false alarms."""
    mated = [(rank, score) for rank, score, _ in results.values() if rank]
    alarms = [other for rank, _, other in results.values() if not rank]
    if far * len(alarms) < 1:
        return None
    best = 0.0
    for threshold in [score for _, *both in results.values() for score in both if score == score]:
        if sum(alarm >= threshold for alarm in alarms) / len(alarms) <= far:
            hits = sum(rank <= most and score >= threshold for rank, score in mated)
            best = max(best, hits / len(mated))
    return best


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"unknown_share": 0.6, "gallery_images": 2, "seed": 3}])
def test_rates_are_those_of_a_search_by_hand(settings, views, tmp_path, changes):
    (metrics,) = evaluate("open-set", settings, candidates=4, **changes)
    table = read_probes(tmp_path)
    gallery = sorted(views.keys() - set(table["probe"]))
    expected = search_by_hand(views, gallery, table["probe"])
    check_probes(table, expected)
    unknown = {identity_of(key) for key, (rank, *_) in expected.items() if not rank}
    assert not unknown & {identity_of(key) for key in gallery}
    assert len(unknown) == round(changes.get("unknown_share", 0.5) * 19)
    assert metrics.num_nonmated == 6 * len(unknown)
    assert metrics.num_mated == metrics.num_probes - metrics.num_nonmated
    assert metrics.num_gallery_identities == 19 - len(unknown)
    mated = [rank for rank, *_ in expected.values() if rank]
    assert metrics.rank_1 == pytest.approx(sum(rank == 1 for rank in mated) / len(mated))
    assert metrics.candidates == 4
    for rates, most in ((metrics.dir_at_far, 1), (metrics.tpir_at_fpir, 4)):
        by_hand = {
            far: rate_by_hand(expected, float(far), most) for far in ("0.1", "0.01", "0.001")
        }
        assert rates == pytest.approx(by_hand), most
    assert metrics.dir_at_far["0.1"] > 0
    assert metrics.dir_at_far["0.01"] is None  # 66 non-mated probes at most


@pytest.mark.slow
def test_every_probe_is_verified_against_the_whole_gallery(settings, views, tmp_path):
    verification = evaluate("open-set", settings)[0].verification
    probes = read_probes(tmp_path)["probe"]
    gallery = sorted(views.keys() - set(probes))
    matched, mismatched = [], []
    for probe in probes:
        for entry in gallery:
            side = matched if identity_of(probe) == identity_of(entry) else mismatched
            side.append(cosine(views[probe], views[entry]))
    same, other = np.array(matched), np.array(mismatched)
    assert (verification.num_matched, verification.num_mismatched) == (len(same), len(other))
    higher = np.mean(same[:, None] > other) + np.mean(same[:, None] == other) / 2
    assert verification.auc == pytest.approx(higher, abs=1e-6)
    # Of less than 1,000 mismatched pairs.
    measured = {far: tar for far, tar in verification.tar_at_far.items() if tar is not None}
    assert list(measured) == ["0.1", "0.01"]
    for far, tar in measured.items():
        allowed = int(float(far) * len(other))
        refused = np.sort(other)[::-1][allowed]  # the first that may not be accepted
        assert tar == pytest.approx(np.mean(same > refused))
        threshold = verification.threshold_at_far[far]
        assert np.mean(other >= threshold + 1e-5) <= float(far)
        assert np.mean(same >= threshold - 1e-5) == pytest.approx(tar)
    gaps = [abs(np.mean(other >= cut) - np.mean(same < cut)) for cut in same]
    cut = same[np.argmin(gaps)]
    eer = pytest.approx(np.mean(same < cut), abs=min(gaps) + 1 / len(same))
    assert verification.eer == eer


def test_too_many_comparisons_are_left_out_of_the_verification(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(open_set, "MAX_COMPARISONS", 100)
    (metrics,) = evaluate("open-set", quick)
    assert metrics.verification is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Verification: each probe" not in page
    assert "too many comparisons to verify" in page


@pytest.mark.slow
def test_the_seed_draws_the_gallery(quick, tmp_path):
    probes = []
    for seed in (0, 0, 1):
        evaluate("open-set", quick, seed=seed)
        probes.append(set(read_probes(tmp_path)["probe"]))
    assert probes[0] == probes[1] != probes[2]
    # Not the images of one number, which an order by name would draw.
    assert len({key[-8:] for key in probes[2] ^ probes[0]}) > 2


def test_an_open_set_without_unknown_identities_is_refused(quick, views, tmp_path):
    with pytest.raises(ValueError, match="Received: 38 mated, 0 non-mated"):
        evaluate("open-set", quick, **write_lists(tmp_path, *lists_by_hand(views)))
