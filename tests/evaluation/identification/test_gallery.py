"""Galleries and probes: read from lists, or drawn at random."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.evaluation.identification.gallery import (
    GallerySplit,
    check_closed_set,
    check_open_set,
    read_gallery,
    split_closed_set,
    split_open_set,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def interleaved_images(counts):
    """An identity for each count, with so many images; the identities alternate."""
    images = [(i, identity) for identity, count in enumerate(counts) for i in range(count)]
    return {f"p{identity}/{i}.jpg": f"p{identity}" for i, identity in sorted(images)}


def images_by_identity(identity_map):
    images = {}
    for key, identity in identity_map.items():
        images.setdefault(identity, set()).add(key)
    return images


IDENTITY_MAPS = st.lists(st.integers(1, 7), min_size=1, max_size=12).map(interleaved_images)
SEEDS = st.integers(0, 99)


def test_two_lists_may_share_an_image_but_not_give_it_two_identities(tmp_path):
    paths = tmp_path / "gallery.txt", tmp_path / "probes.txt"
    paths[0].write_text("1.jpg A\n2.jpg B\n")
    paths[1].write_text("3.jpg C\n2.jpg B\n")
    gallery = read_gallery(*paths)
    assert gallery == ({"1.jpg": "A", "2.jpg": "B"}, {"3.jpg": "C", "2.jpg": "B"})
    assert gallery.keys() == ["1.jpg", "2.jpg", "3.jpg"]
    assert gallery.num_mated() == 1
    paths[1].write_text("3.jpg C\n2.jpg A\n")
    with pytest.raises(ValueError, match=r"probes.txt: .* A for 2.jpg, .* B in .*gallery.txt"):
        read_gallery(*paths)


@given(IDENTITY_MAPS, st.integers(1, 4), SEEDS)
def test_a_closed_set_has_so_many_images_of_every_identity_with_more(identity_map, count, seed):
    enough = {
        who: keys for who, keys in images_by_identity(identity_map).items() if len(keys) > count
    }
    if not enough:
        with pytest.raises(ValueError, match=f"more than {count} images"):
            split_closed_set(identity_map, count, rng(seed))
        return
    entries, probes = map(images_by_identity, split_closed_set(identity_map, count, rng(seed)))
    assert entries.keys() == probes.keys() == enough.keys()
    for identity, keys in enough.items():
        assert len(entries[identity]) == count
        assert entries[identity] | probes[identity] == keys
        assert not entries[identity] & probes[identity]


@given(IDENTITY_MAPS, st.integers(1, 3), st.floats(0.01, 0.99), SEEDS)
def test_unknown_identities_have_no_image_in_the_gallery(identity_map, count, share, seed):
    images = images_by_identity(identity_map)
    gallery = None
    with contextlib.suppress(ValueError):
        gallery = split_open_set(identity_map, count, share, rng(seed))
    if gallery is None:
        # Refused where every identity with enough images may have become unknown.
        assert sum(len(keys) > count for keys in images.values()) <= share * len(images) + 1.5
        return
    entries, probes = map(images_by_identity, gallery)
    unknown = images.keys() - entries.keys()
    wanted = min(max(share * len(images), 1), len(images) - 1)
    assert abs(len(unknown) - wanted) <= 0.5
    for identity, keys in images.items():
        if identity in unknown:
            assert probes[identity] == keys
        else:
            assert len(entries[identity]) == min(count, len(keys))
            assert entries[identity] | probes.get(identity, set()) == keys
            assert not entries[identity] & probes.get(identity, set())
    assert entries.keys() & probes.keys()


SPLITS = {
    "closed": lambda identity_map, count, seed: split_closed_set(identity_map, count, rng(seed)),
    "open": lambda identity_map, count, seed: split_open_set(identity_map, count, 0.5, rng(seed)),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_a_split_depends_on_the_seed_and_not_on_the_order(split):
    identity_map = interleaved_images([6] * 8)
    backwards = dict(reversed(identity_map.items()))
    for seed in range(3):
        gallery = split(identity_map, 2, seed)
        assert gallery == split(identity_map, 2, seed) == split(backwards, 2, seed)
    assert split(identity_map, 2, 0) != split(identity_map, 2, 1)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_any_image_may_come_into_the_gallery(split):
    identity_map = interleaved_images([6] * 8)
    drawn = {key for seed in range(40) for key in split(identity_map, 2, seed).entries}
    assert drawn == identity_map.keys()


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_of_unknown_identities_that_leaves_one_side_empty_is_refused(share):
    with pytest.raises(ValueError, match=rf"in \(0, 1\). Received: unknown_share={share}"):
        split_open_set(interleaved_images([3, 3]), 1, share, rng())


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_too_few_images_are_refused(split):
    with pytest.raises(ValueError, match=r"`gallery_images` must be >= 1. .* gallery_images=0"):
        split(interleaved_images([3, 3]), 0, 0)
    with pytest.raises(ValueError, match=r"more than 3 images, .* Received: 12 images.* no id"):
        split(interleaved_images([3, 3, 3, 3]), 3, 0)


def test_a_nonmated_probe_of_a_closed_set_is_named_with_its_file():
    gallery = GallerySplit({"1": "A", "2": "B"}, {"3": "A", "4": "C", "5": "C"})
    expected = "probes.txt: .* must be in the gallery. Received: 4 of C, the first of 2 .* open-set"
    with pytest.raises(ValueError, match=expected):
        check_closed_set(gallery, "probes.txt")
    check_closed_set(gallery._replace(probes={"3": "A", "5": "B"}), "probes.txt")


def test_an_open_set_needs_mated_and_nonmated_probes():
    check_open_set(GallerySplit({"1": "A"}, {"2": "A", "3": "B"}))
    for probes, counts in (({"2": "A"}, "1 mated, 0 non-mated"), ({"3": "B"}, "0 mated, 1 non-m")):
        with pytest.raises(ValueError, match=f"Received: {counts}"):
            check_open_set(GallerySplit({"1": "A"}, probes))
