"""The heads that can be asked for by name, as `--head` does."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from keras_sphereface.functional import annealing
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.batch_heads import SoftmaxCenter, SoftmaxContrastive, Triplet
from keras_sphereface.heads.family import (
    ArcFace,
    CosFace,
    NormFace,
    PlainSoftmax,
    SphereFace2,
    SphereFacePlus,
    SphereFaceR,
)

IMAGES_PER_PERSON = 4  # in a batch, of heads that compare images


class HeadKind(NamedTuple):
    """A head that can be asked for by name, and the settings that mean something for it."""

    make: Callable[..., Head]
    settings: frozenset[str]
    images_per_identity: int = 0  # of balanced batches; 0: it is trained on shuffled ones


COMMON = frozenset({"block_size", "sample_rate", "seed", "kernel_initializer", "name"})
ANGULAR = COMMON | {"kernel_norm"}
ANNEALED = ANGULAR | {"m", "gradient", *annealing.Annealing._fields}
SCALED = ANGULAR | {"m", "scale", "gradient"}
COMPARING = frozenset({"m", "name"})
HEADS = {
    "softmax": HeadKind(PlainSoftmax, COMMON),
    "normface": HeadKind(NormFace, ANGULAR | {"scale"}),
    "asoftmax": HeadKind(ASoftmax, ANNEALED),
    "sphereface+": HeadKind(SphereFacePlus, ANNEALED),
    "sphereface-r-v1": HeadKind(
        functools.partial(SphereFaceR, version="v1"), SCALED | {"embedding_norm"}
    ),
    "sphereface-r-v2": HeadKind(
        functools.partial(SphereFaceR, version="v2"), SCALED | {"embedding_norm"}
    ),
    "sphereface2": HeadKind(SphereFace2, ANGULAR | {"m"}),
    "cosface": HeadKind(CosFace, SCALED),
    "arcface": HeadKind(ArcFace, SCALED),
    "softmax+contrastive": HeadKind(
        SoftmaxContrastive, COMMON | {"m", "term_weight"}, IMAGES_PER_PERSON
    ),
    "softmax+center": HeadKind(SoftmaxCenter, COMMON | {"term_weight"}),
    "triplet": HeadKind(Triplet, COMPARING, IMAGES_PER_PERSON),
    "triplet-hard": HeadKind(
        functools.partial(Triplet, mining="hard"), COMPARING, IMAGES_PER_PERSON
    ),
}


def make_head(kind: str, num_classes: int, **settings: Any) -> Head:
    """A head of the family; a setting that is None is left at the head's own default.

    Args:
        kind: one of `HEADS`.
        num_classes: C, an int >= 2.
        **settings: arguments of the head.

    Raises:
        ValueError: if there is no such head, or a setting means nothing for it.
    """
    if kind not in HEADS:
        raise ValueError(f"`head` must be one of {', '.join(HEADS)}. Received: head={kind!r}")
    make, allowed, _ = HEADS[kind]
    given = {name: value for name, value in settings.items() if value is not None}
    for name in sorted(given.keys() - allowed):
        raise ValueError(
            f"`{name}` means nothing for the head {kind}, which has {', '.join(sorted(allowed))}. "
            f"Received: {name}={given[name]!r}"
        )
    return make(num_classes, **given)
