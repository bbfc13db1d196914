"""Pairs drawn from a folder of people: folds apart, kinds equal, nothing repeated."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.commands.main import main
from keras_sphereface.data.pairs import (
    draw_pairs,
    identity_of_key,
    read_pair_list,
    write_pair_list,
)


def people(*numbers):
    """{name: keys} with these numbers of images."""
    return {f"P {i}": [f"P {i}/{k}.jpg" for k in range(n)] for i, n in enumerate(numbers)}


@given(
    st.lists(st.integers(1, 6), min_size=4, max_size=30).filter(
        lambda numbers: sum(n > 1 for n in numbers) >= 2
    ),
    st.integers(2, 10),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_folds_share_no_one_and_hold_both_kinds_equally_often(numbers, folds, count, seed):
    images = people(*numbers)
    pairs = draw_pairs(images, folds, count, seed=seed)
    names = [[identity_of_key(key) for key in keys] for keys in (pairs.first, pairs.second)]
    np.testing.assert_array_equal(np.equal(*map(np.array, names)), pairs.is_same)
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(
        pairs.first
    )
    fold_of: dict[str, int] = {}
    for name, fold in zip([*names[0], *names[1]], [*pairs.folds, *pairs.folds], strict=True):
        assert fold_of.setdefault(name, fold) == fold
    for fold in range(1, pairs.folds.max() + 1):
        matched, both = pairs.is_same[pairs.folds == fold], (pairs.folds == fold).sum()
        assert 0 < 2 * matched.sum() == both <= 2 * count
    assert 2 <= pairs.folds.max() <= folds


def test_everyone_is_in_as_many_matched_pairs_while_there_are_images():
    pairs = draw_pairs(people(10, 3, 10, 3), num_folds=2, pairs_per_class=6)
    matched = [key for key, same in zip(pairs.first, pairs.is_same, strict=True) if same]
    assert set(collections.Counter(map(identity_of_key, matched)).values()) == {3}


def test_a_seed_draws_the_same_pairs_in_any_order_of_the_folder():
    images = people(3, 4, 5, 2, 1, 6)
    again = {name: images[name][::-1] for name in reversed(images)}
    first, second, other = (
        draw_pairs(images, 2, 5, seed=1),
        draw_pairs(again, 2, 5, seed=1),
        draw_pairs(images, 2, 5, seed=2),
    )
    assert first.first == second.first
    assert first.second == second.second
    assert first.first != other.first


def test_some_people_are_left_for_the_training():
    pairs = draw_pairs(people(*[3] * 20, *[1] * 20), num_identities=8)
    assert len(pairs.identities()) == 8
    assert set(pairs.is_same) == {True, False}


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (people(9, 9, 9), {}, "3 identities, 3 with two images or more"),
        (people(9, 1, 1, 1), {}, "4 identities, 1 with two images or more"),
        (people(2, 2, 2, 2), {"num_folds": 1}, "`num_folds` must be"),
        (people(2, 2, 2, 2), {"num_identities": 5}, "at most the number of identities, 4"),
        (people(2, 2, 2, 2), {"num_identities": 3}, "`num_identities` must be"),
        (people(2, 2, 2, 2), {"pairs_per_class": 0}, "`pairs_per_class` must be"),
    ],
)
def test_too_few_people_are_refused(images, settings, message):
    with pytest.raises(ValueError, match=message):
        draw_pairs(images, **settings)


def test_names_with_spaces_are_read_back(tmp_path):
    pairs = draw_pairs(people(2, 3, 4, 1))
    write_pair_list(tmp_path / "pairs.txt", pairs)
    read = read_pair_list(tmp_path / "pairs.txt")
    assert (read.first, read.second) == (pairs.first, pairs.second)
    np.testing.assert_array_equal(read.is_same, pairs.is_same)
    np.testing.assert_array_equal(read.folds, pairs.folds)


def test_names_that_would_break_a_line_are_refused(tmp_path):
    pairs = draw_pairs({name: [f"{name}/1", f"{name}/2"] for name in ("a", "b\t", "c", "d")})
    with pytest.raises(ValueError, match=r"without tabs and line breaks\. Received: 'b"):
        write_pair_list(tmp_path / "pairs.txt", pairs)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_what_evaluate_reads(faces, tmp_path, capsys):
    out, linked = tmp_path / "pairs.txt", tmp_path / "linked"
    linked.mkdir()
    for folder in (faces / "images").iterdir():
        (linked / folder.name).symlink_to(folder)
    main(["pairs", str(linked), "--out", str(out), "--num-identities", "6"])
    pairs = read_pair_list(out)
    assert len(pairs.identities()) == 6
    count = int(pairs.is_same.sum())
    assert f"{count} matched and {count} mismatched pairs of 6 people in 3 folds" in (
        capsys.readouterr().out
    )
    assert all((faces / "images" / key).is_file() for key in pairs.keys())  # noqa: SIM118
