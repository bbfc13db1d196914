"""Identification among distractors, compared with a search by hand."""

import shutil

import numpy as np
import pytest

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.embeddings import load_embeddings
from keras_sphereface.evaluation.identification.report import summarize
from tests.helpers.identification import cosine, evaluate, identity_of, save_views


def rank_1_by_hand(views, probes, distractors):
    """The share of ordered pairs of an identity that score above all distractors."""
    hits = []
    for probe in probes:
        highest = max(cosine(views[probe], views[key]) for key in distractors)
        mates = [k for k in probes if identity_of(k) == identity_of(probe) and k != probe]
        hits += [cosine(views[probe], views[mate]) > highest for mate in mates]
    return np.mean(hits)


@pytest.mark.slow
def test_distractors_of_a_folder_give_the_rates_of_a_search_by_hand(settings, views, faces):
    pairs = str(faces / "pairs.txt")
    identities = lfw.read_pairs(pairs).identities()
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=pairs,
        # It holds the 14 identities of the probes too, which are left out.
        distractors=str(faces / "images"),
        distractor_landmarks=str(faces / "landmarks.txt"),
        max_rank=3,
    )
    assert (metrics.num_probes, metrics.num_identities) == (84, 14)
    counts = metrics.distractors
    assert [count.num_distractors for count in counts] == [10, 30]
    probes = [key for key in views if identity_of(key) in identities]
    others = [key for key in views if identity_of(key) not in identities]
    assert counts[1].rank_1 == pytest.approx(rank_1_by_hand(views, probes, others))
    assert 0 < counts[1].rank_1 < counts[0].rank_1 < 1
    for count in counts:
        assert count.cmc[0] == count.rank_1
        assert len(count.cmc) == 3
        # 84 x 30 comparisons allow no rate of 1 in 10,000.
        assert count.tar_at_far == {"1e-06": None, "1e-05": None, "0.0001": None}
    first, *lines = summarize(metrics).splitlines()
    assert first.endswith("84 probes of 14 identities")
    assert [line.split()[0] for line in lines] == ["distractors", "10", "30"]
    for line, count in zip(lines[1:], counts, strict=True):
        cells = [cell.strip() for cell in line.split("  ") if cell]
        assert cells[1:] == [f"{100 * count.rank_1:.2f} %", *["too few"] * 3]
        assert line.index(cells[1]) == lines[0].index("rank 1")


@pytest.mark.slow
def test_the_seed_draws_the_first_distractors(quick, views, distractors, tmp_path):
    others = list(load_embeddings(distractors["distractors"]).keys)
    rates = {}
    for seed in range(4):
        (metrics,) = evaluate("distractors", quick, **distractors, seed=seed)
        rates[seed] = [count.rank_1 for count in metrics.distractors]
    assert len({among_10 for among_10, _ in rates.values()}) > 1
    assert len({among_30 for _, among_30 in rates.values()}) == 1
    (again,) = evaluate("distractors", quick, **distractors, seed=3)
    assert again.distractors == metrics.distractors
    # Ten of them alone, whatever their order.
    ten = save_views(tmp_path / "ten.npz", {key: views[key] for key in others[5:15]})
    (few,) = evaluate("distractors", quick, **distractors | {"distractors": str(ten)})
    probes = [k for k in views if identity_of(k) not in {identity_of(key) for key in others}]
    (count,) = few.distractors
    assert count.rank_1 == pytest.approx(rank_1_by_hand(views, probes, others[5:15]))


@pytest.mark.slow
def test_missing_distractors_are_warned_of(settings, faces, aligned, tmp_path):
    shutil.copytree(aligned, tmp_path / "others")
    identities = lfw.read_pairs(faces / "pairs.txt").identities()
    images = sorted((tmp_path / "others").glob("*/*"))
    first = next(path for path in images if path.parent.name not in identities)
    first.write_bytes(b"no image")
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=str(faces / "pairs.txt"),
        distractors=f"{tmp_path}/others",
    )
    assert metrics.distractors[-1].num_distractors == 29
    (warning,) = metrics.warnings
    assert warning.startswith("Missing distractors, left out: 1 cannot be read: ")
    assert f"for example {first.parent.name}/{first.name}." in warning


@pytest.mark.slow
def test_unaligned_distractors_are_warned_of(settings, faces):
    # The probes are aligned.
    (metrics,) = evaluate(
        "distractors",
        settings,
        pairs=str(faces / "pairs.txt"),
        distractors=str(faces / "images"),
    )
    assert any(warning.startswith("Distractors: ") for warning in metrics.warnings)


def test_saved_distractors_serve_one_system_only(quick, distractors):
    paths = quick["embeddings"] * 2
    with pytest.raises(ValueError, match=r"belong to one system. .*distractors.npz' for 2 sys"):
        evaluate("distractors", quick, **distractors, embeddings=paths)


def test_landmarks_of_saved_distractors_are_refused(quick, distractors):
    with pytest.raises(ValueError, match="`distractor_landmarks` needs a folder of images"):
        evaluate("distractors", quick, **distractors, distractor_landmarks="x.txt")


def test_probes_without_mates_are_refused_before_the_long_work(quick, views, tmp_path):
    one_each = {identity_of(key): key for key in views}
    path = save_views(tmp_path / "single.npz", {key: views[key] for key in one_each.values()})
    with pytest.raises(ValueError, match="At least one identity must have two images"):
        evaluate("distractors", quick, embeddings=(str(path),), distractors="x.npz")


def test_distractors_that_do_not_fit_are_refused(quick, views, distractors, tmp_path):
    short = save_views(tmp_path / "short.npz", {f"X/{k}": view[:1] for k, view in views.items()})
    expected = r"`distractors` must have embeddings of 16 numbers, .* Received: 8 in .*short.npz"
    with pytest.raises(ValueError, match=expected):
        evaluate("distractors", quick, **distractors | {"distractors": str(short)})
    with pytest.raises(ValueError, match="other identities than those of the probes"):
        evaluate("distractors", quick, distractors=quick["embeddings"][0])
    (tmp_path / "others" / "X").mkdir(parents=True)
    (tmp_path / "others" / "X" / "1.jpg").touch()
    expected = r"`distractors` must have .* Received: none in .*X/1.jpg \(no embedding\)"
    with pytest.raises(ValueError, match=expected):
        evaluate("distractors", quick, **distractors | {"distractors": f"{tmp_path}/others"})
