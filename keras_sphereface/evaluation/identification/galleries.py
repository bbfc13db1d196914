"""Who is known and who is looked up: galleries and probes of people."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.data import records
from keras_sphereface.data.pairs import pair_list
from keras_sphereface.data.readers import open_source
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils import text

IdentityMap = dict[str, str]  # {key of an image or name of a template: who it is}


class Gallery(NamedTuple):
    """People that are known, and images to be looked up among them."""

    known: IdentityMap
    probes: IdentityMap

    def keys(self) -> list[str]:
        """All keys, each once, sorted."""
        return sorted({*self.known, *self.probes})


def read_roll(path: str | os.PathLike) -> IdentityMap:
    """A list with a line `path<TAB or space>identity` for each image, or template.

    Raises:
        ValueError: naming file and line, if a line has another form, or a key has two people.
    """
    roll: IdentityMap = {}
    for number, line in text.numbered_lines(path):
        try:
            key, person = open_source.parse_listed(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if roll.setdefault(key, person) != person:
            raise ValueError(
                f"{path}, line {number}: an image shows one person. Received: {key} of {person}, "
                f"which a line above has of {roll[key]}"
            )
    if not roll:
        raise ValueError(f"{path}, line 1: expected `path<TAB or space>identity`. Received: none")
    return roll


def read_lists(gallery: str | os.PathLike, probes: str | os.PathLike) -> Gallery:
    """Two lists in the form of `read_roll`.

    Raises:
        ValueError: as `read_roll`, or if the lists name two people for one key.
    """
    known, looked_up = read_roll(gallery), read_roll(probes)
    for key, person in looked_up.items():
        if known.get(key, person) != person:
            raise ValueError(
                f"{probes}: an image shows one person. Received: {key} of {person}, "
                f"which {gallery} has of {known[key]}"
            )
    return Gallery(known, looked_up)


def roll_of_folders(root: str | os.PathLike, name: str = "images") -> IdentityMap:
    """The images of class folders ROOT/IDENTITY/IMAGE, in the order of their keys.

    Args:
        root: the folder.
        name: what a message calls it.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: if it holds no class folder with an image.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"`{name}` must be a folder. Received: {root}")
    found = [entry for entry in open_source.class_folders(root) if isinstance(entry, ImageRecord)]
    if not found:
        raise ValueError(f"`{name}` must hold class folders with images. Received: {root}")
    return {entry.key: str(entry.identity) for entry in sorted(found, key=lambda e: e.key)}


def roll_of_records(folder: str | os.PathLike) -> IdentityMap:
    """The images of a folder of records, in the order of their keys."""
    return dict(sorted((record.key, record.identity) for record in records.read_folder(folder)))


def only(roll: IdentityMap, people: Iterable[str]) -> IdentityMap:
    """The images of these people."""
    wanted = set(people)
    return {key: person for key, person in roll.items() if person in wanted}


def without(roll: IdentityMap, people: Iterable[str]) -> IdentityMap:
    """The images of all others."""
    unwanted = set(people)
    return {key: person for key, person in roll.items() if person not in unwanted}


def people_of_pairs(path: str | os.PathLike, folds: Iterable[int]) -> set[str]:
    """Everyone in a list of pairs."""
    return pair_list.read_pair_list(path).in_folds(folds).identities()


def split_closed(roll: IdentityMap, gallery_images: int, rng: np.random.Generator) -> Gallery:
    """Of everyone with more images than `gallery_images` so many are known, the others probes.

    Raises:
        ValueError: if nobody has enough images.
    """
    known, probes = _split(roll, gallery_images, rng)
    looked_up = set(probes.values())
    gallery = Gallery(only(known, looked_up), probes)
    return _checked(gallery, gallery_images, f"{len(roll)} images")


def split_open(
    roll: IdentityMap, gallery_images: int, strangers: float, rng: np.random.Generator
) -> Gallery:
    """A share of the people are strangers, all of whose images are probes; the others as in
    `split_closed`, but people without further images are in the gallery too.

    Raises:
        ValueError: if the share is not between 0 and 1, or too few people have enough images.
    """
    if not 0 < strangers < 1:
        raise ValueError(f"`strangers` must lie between 0 and 1. Received: strangers={strangers}")
    people = sorted(set(roll.values()))
    count = min(max(round(strangers * len(people)), 1), len(people) - 1)
    unknown = {people[i] for i in rng.permutation(len(people))[:count]}
    known, probes = _split(without(roll, unknown), gallery_images, rng)
    gallery = Gallery(known, {**probes, **only(roll, unknown)})
    received = f"{len(roll)} images, {len(unknown)} of {len(people)} people taken for strangers"
    return _checked(gallery, gallery_images, received)


def _split(roll, gallery_images, rng):
    """Of each person some images, at random, and the others."""
    if gallery_images < 1:
        raise ValueError(
            f"`gallery_images` must be >= 1. Received: gallery_images={gallery_images}"
        )
    known, of_person = {}, {}
    for key, person in sorted(roll.items()):
        of_person.setdefault(person, []).append(key)
    for person, keys in sorted(of_person.items()):
        chosen = rng.permutation(len(keys))[:gallery_images]
        known.update({keys[i]: person for i in chosen})
    return known, {key: person for key, person in roll.items() if key not in known}


def _checked(gallery, gallery_images, received):
    mated = set(gallery.known.values()) & set(gallery.probes.values())
    if not mated:
        raise ValueError(
            f"Someone must have more than {gallery_images} images, for the gallery and to be "
            f"looked up. Received: {received}, nobody with so many"
        )
    return gallery


def check_closed(gallery: Gallery, file: str) -> None:
    """Refuse probes of people that are not in the gallery.

    Raises:
        ValueError: naming `file` and the first of them.
    """
    known = set(gallery.known.values())
    strangers = [f"{key} of {who}" for key, who in gallery.probes.items() if who not in known]
    if strangers:
        raise ValueError(
            f"{file}: in the closed set everyone who is looked up must be in the gallery. "
            f"Received: {strangers[0]}, the first of {len(strangers)} who are not; see open-set"
        )


def check_open(gallery: Gallery) -> None:
    """Refuse probes that are all of known people, or all of strangers.

    Raises:
        ValueError: saying how many there are of each.
    """
    known = set(gallery.known.values())
    mated = sum(who in known for who in gallery.probes.values())
    if not 0 < mated < len(gallery.probes):
        raise ValueError(
            "In the open set known people and strangers must be looked up. "
            f"Received: {mated} images of known people, {len(gallery.probes) - mated} of "
            "strangers; without strangers see closed-set"
        )


def arrays(roll: IdentityMap, rows: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows, people and keys of those of a roll that are there: (n,), (n,), n."""
    keys = [key for key in roll if key in rows]
    people = np.array([roll[key] for key in keys], dtype=str)
    return np.array([rows[key] for key in keys], np.int64), people, keys
