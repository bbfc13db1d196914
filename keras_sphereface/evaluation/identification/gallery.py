"""A gallery of known identities and the probes that are searched in it."""

import collections
import os
from typing import NamedTuple

import numpy as np

from keras_sphereface.evaluation.identification.identity_map import (
    IdentityMap,
    exclude_identities,
    read_identity_list,
    select_identities,
)
from keras_sphereface.utils.text import counted


class GallerySplit(NamedTuple):
    """Gallery and probes.

    A probe is mated if its identity is in the gallery, and non-mated otherwise.

    Attributes:
        entries: {key: identity} of the images or templates in the gallery.
        probes: {key: identity} of those that are searched in it.

    Example:
        >>> gallery = GallerySplit({"a/1.jpg": "a"}, {"a/2.jpg": "a", "b/1.jpg": "b"})
        >>> gallery.keys(), gallery.num_mated()
        (['a/1.jpg', 'a/2.jpg', 'b/1.jpg'], 1)
    """

    entries: IdentityMap
    probes: IdentityMap

    def keys(self) -> list[str]:
        """Return all keys, each once, sorted."""
        return sorted({*self.entries, *self.probes})

    def num_mated(self) -> int:
        """Return the number of mated probes."""
        return len(select_identities(self.probes, self.entries.values()))


def read_gallery(
    gallery: str | os.PathLike,
    probes: str | os.PathLike,
    columns: str = "",
    images: str | os.PathLike = "",
) -> GallerySplit:
    """Read two lists as `read_identity_list` does, with columns of these names.

    Raises:
        ValueError: As `read_identity_list`, or if the lists give a key two identities.
    """
    entries, searched = (read_identity_list(path, columns, images) for path in (gallery, probes))
    for key, identity in searched.items():
        if entries.get(key, identity) != identity:
            raise ValueError(
                f"{probes}: an image must have one identity. Received: {identity} for {key}, "
                f"which has {entries[key]} in {gallery}"
            )
    return GallerySplit(entries, searched)


def split_closed_set(
    identity_map: IdentityMap, gallery_images: int, rng: np.random.Generator
) -> GallerySplit:
    """Split images at random into a gallery and mated probes.

    Args:
        identity_map: {key: identity} of all images.
        gallery_images: Images of each identity in the gallery. Identities without more images
            are left out.
        rng: Generator of the choice.

    Raises:
        ValueError: If `gallery_images` < 1, or no identity has enough images.

    Example:
        >>> images = {"a/1": "a", "a/2": "a", "b/1": "b"}
        >>> gallery = split_closed_set(images, 1, np.random.default_rng(0))
        >>> set(gallery.entries.values()), set(gallery.probes.values())
        ({'a'}, {'a'})
    """
    gallery = _split(identity_map, gallery_images, rng)
    entries = select_identities(gallery.entries, gallery.probes.values())
    return _with_mates(
        GallerySplit(entries, gallery.probes), gallery_images, counted(len(identity_map), "image")
    )


def split_open_set(
    identity_map: IdentityMap,
    gallery_images: int,
    unknown_share: float,
    rng: np.random.Generator,
) -> GallerySplit:
    """Split images at random into a gallery, mated and non-mated probes.

    Args:
        identity_map: {key: identity} of all images.
        gallery_images: Images of each known identity in the gallery. An identity without more
            images is in the gallery and has no probe.
        unknown_share: Share of identities, in (0, 1), all of whose images are non-mated probes.
        rng: Generator of the choice.

    Raises:
        ValueError: If an argument is out of its range, or no known identity has enough images.

    Example:
        >>> images = {f"{identity}/{i}": identity for identity in "abcd" for i in range(3)}
        >>> gallery = split_open_set(images, 1, 0.5, np.random.default_rng(0))
        >>> len(gallery.entries), len(gallery.probes), gallery.num_mated()
        (2, 10, 4)
    """
    if not 0 < unknown_share < 1:
        raise ValueError(f"`unknown_share` must be in (0, 1). Received: {unknown_share=}")
    identities = sorted(set(identity_map.values()))
    count = min(max(round(unknown_share * len(identities)), 1), len(identities) - 1)
    unknown = {identities[i] for i in rng.permutation(len(identities))[:count]}
    enrolled = _split(exclude_identities(identity_map, unknown), gallery_images, rng)
    gallery = GallerySplit(
        enrolled.entries, enrolled.probes | select_identities(identity_map, unknown)
    )
    of_all = counted(len(identities), "identity")
    received = f"{counted(len(identity_map), 'image')}, {count} of {of_all} unknown"
    return _with_mates(gallery, gallery_images, received)


def _split(
    identity_map: IdentityMap, gallery_images: int, rng: np.random.Generator
) -> GallerySplit:
    """Put images of each identity, drawn at random, into the gallery; the others are probes."""
    if gallery_images < 1:
        raise ValueError(f"`gallery_images` must be >= 1. Received: {gallery_images=}")
    keys_of = collections.defaultdict(list)
    for key, identity in sorted(identity_map.items()):
        keys_of[identity].append(key)
    entries: IdentityMap = {}
    for identity, keys in sorted(keys_of.items()):
        chosen = rng.permutation(len(keys))[:gallery_images]
        entries.update({keys[i]: identity for i in chosen})
    probes = {key: identity for key, identity in identity_map.items() if key not in entries}
    return GallerySplit(entries, probes)


def _with_mates(gallery: GallerySplit, gallery_images: int, received: str) -> GallerySplit:
    if not gallery.num_mated():
        raise ValueError(
            f"At least one identity must have more than {gallery_images} images, for the gallery "
            f"and as probes; see `gallery_images`. Received: {received}, no identity with so many"
        )
    return gallery


def check_closed_set(gallery: GallerySplit, file: str) -> None:
    """Refuse non-mated probes.

    Raises:
        ValueError: With `file` and the first of them.
    """
    nonmated = exclude_identities(gallery.probes, gallery.entries.values())
    if nonmated:
        key, identity = next(iter(nonmated.items()))
        raise ValueError(
            f"{file}: the identity of every probe of a closed set must be in the gallery. "
            f"Received: {key} of {identity}, the first of {len(nonmated)} that are not. "
            "Use the protocol open-set for unknown identities"
        )


def check_open_set(gallery: GallerySplit) -> None:
    """Refuse probes that are all mated, or all non-mated.

    Raises:
        ValueError: With the number of each.
    """
    num_mated = gallery.num_mated()
    if not 0 < num_mated < len(gallery.probes):
        raise ValueError(
            "The probes of an open set must be mated ones and non-mated ones. "
            f"Received: {num_mated} mated, {len(gallery.probes) - num_mated} non-mated. "
            "Use the protocol closed-set if all are mated"
        )
