"""What a search for people is given: who may be known or looked up, and how to see them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.config import ClosedSetConfig, DistractorsConfig, OpenSetConfig
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.templates import read_templates
from keras_sphereface.evaluation import embeddings, quality_checks
from keras_sphereface.evaluation.embedders import several
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.evaluation.identification import galleries
from keras_sphereface.evaluation.identification.galleries import Gallery, IdentityMap

SearchConfig = ClosedSetConfig | OpenSetConfig | DistractorsConfig


class EnrolledSet(NamedTuple):
    """The images at hand, who is on them, and how to get them."""

    roll: IdentityMap
    paths: PairSources
    templates: Mapping[str, Sequence[tuple[str, str]]]
    doubts: list[str]

    def images_of(self, keys: Sequence[str]) -> list[str]:
        """The images of templates, or the keys themselves, each once, sorted."""
        return sorted({k for key in keys for k, _ in self.templates.get(key, [(key, "")])})


def check(config: SearchConfig) -> None:
    """Refuse settings that do not belong together, before any long work.

    Raises:
        ValueError: if there are such.
    """
    for name in ("max_rank", "candidates"):
        if (value := getattr(config, name, 1)) < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")
    if config.images and config.records:
        raise ValueError(
            "Give one of `images` and `records`. Received: "
            f"images={config.images!r}, records={config.records!r}"
        )
    in_lists = [bool(path) for path in _lists_of(config)]
    if any(in_lists) and not all(in_lists):
        raise ValueError(
            "`gallery` and `probes` belong together. Received: gallery={!r}, probes={!r}".format(
                *_lists_of(config)
            )
        )
    for name, needed, there in (
        ("landmarks", "`images`", config.images),
        ("folds", "`pairs`", config.pairs),
        ("templates", "`gallery` and `probes`, which say who they are", all(in_lists)),
    ):
        if (value := getattr(config, name, "")) and not there:
            raise ValueError(f"`{name}` needs {needed}. Received: {name}={value!r}")


def known_people(config: SearchConfig) -> EnrolledSet:
    """Everyone who may be known or looked up.

    Raises:
        FileNotFoundError, ValueError: if files cannot be used, or nobody is there.
    """
    template_list = getattr(config, "templates", "")  # distractors have none
    paths = PairSources(
        pairs=config.pairs,
        images=config.images,
        landmarks=config.landmarks,
        records=config.records,
        templates=template_list,
    )
    templates = read_templates(template_list) if template_list else {}
    roll = _roll(config)
    if not roll:
        raise ValueError(
            "Who is known must be told by `images`, `records`, `gallery` and `probes`, or the "
            "keys `identity/image` of `embeddings`. "
            f"Received: embeddings={config.embeddings}, and none of the others"
        )
    if config.pairs:
        roll = galleries.only(roll, galleries.people_of_pairs(config.pairs, config.folds))
    doubts = []
    if config.train_labels:
        shared = set(roll.values()) & quality_checks.read_people(config.train_labels)
        roll = galleries.without(roll, shared)
        if shared:
            doubts.append(f"{len(shared)} people of the training set are left out, as asked.")
    if not roll:
        raise ValueError(
            "Nobody is left. Received: "
            f"pairs={config.pairs!r}, folds={config.folds}, train_labels={config.train_labels!r}"
        )
    return EnrolledSet(roll, paths, templates, doubts)


def _roll(config):
    if given := _lists_given(config):
        gallery = galleries.read_lists(*given)
        return {**gallery.known, **gallery.probes}
    if config.images:
        return galleries.roll_of_folders(config.images)
    if config.records:
        return galleries.roll_of_records(config.records)
    keys = [key for path in several(config.embeddings) for key in embeddings.load(path).keys]
    return {key: lfw.identity_of_key(key) for key in sorted(set(keys)) if "/" in key}


def _lists_of(config):
    return getattr(config, "gallery", ""), getattr(config, "probes", "")


def _lists_given(config):
    paths = _lists_of(config)
    return paths if all(paths) else ()


def gallery_of(
    known: EnrolledSet,
    config: ClosedSetConfig | OpenSetConfig,
    split: Callable[[np.random.Generator], Gallery],
) -> Gallery:
    """The gallery and the probes of the lists or, without lists, as `split` draws them.

    Raises:
        ValueError: if nobody of a list is left.
    """
    if not (given := _lists_given(config)):
        return split(np.random.default_rng(config.seed))
    there = set(known.roll)
    both = galleries.read_lists(*given)
    gallery = Gallery(*({k: w for k, w in roll.items() if k in there} for roll in both))
    for name, path, roll in zip(("gallery", "probes"), given, gallery, strict=True):
        if not roll:
            raise ValueError(f"Nobody of `{name}` is left. Received: {name}={path!r}")
    return gallery
