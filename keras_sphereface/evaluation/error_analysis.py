"""Errors one learns from: identities, pairs and images that fail, and labels that may be wrong."""

import contextlib
import dataclasses

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.error_metrics import (
    Concentration,
    Confusion,
    ErrorMetrics,
    ImageScore,
    LabelDoubt,
    ZooMember,
)
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.operating_point import ComparedImages
from keras_sphereface.metrics import zoo

NUM_SHOWN = 20  # identities, pairs or images of a list
NUM_DOUBTS = 20  # of each kind
NUM_LOOKED_AT = 200  # mismatched comparisons whose pixels are compared
# Aligned faces of two persons correlate by 0.3 to 0.9, two copies of a picture by more than this.
SAME_PICTURE = 0.96
LIKENESS_SIZE = (24, 28)


def measure_errors(
    compared: ComparedImages, faces: Faces | None = None, seed: int = 0
) -> ErrorMetrics:
    """Find who and what fails at the threshold.

    Args:
        compared: Images and their comparisons.
        faces: Loaders of the faces, by which copies of a picture are found; None: none are.
        seed: Int. Seed of what would happen by chance.

    Example:
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> from keras_sphereface.evaluation.embeddings import Embeddings
        >>> from keras_sphereface.evaluation.operating_point import compare_images
        >>> pairs = Pairs(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]), np.ones(2, int))
        >>> views = np.array([[[1.0, 0.0]], [[-0.9, 0.1]], [[0.9, 0.1]]])
        >>> compared = compare_images(pairs, Embeddings(["a/1", "a/2", "b/1"], views, {}), True)
        >>> doubt = measure_errors(compared).label_doubts[0]
        >>> doubt.kind, doubt.first, doubt.second
        ('matched', 'a/1', 'a/2')
    """
    images = _image_scores(compared)
    metrics = ErrorMetrics(
        point=compared.point,
        label_doubts=(*_unlike_matched(compared), *_alike_mismatched(compared, faces)),
        best_images=tuple(images[::-1][:NUM_SHOWN]),
        worst_images=tuple(images[:NUM_SHOWN]),
    )
    table = identity_table(compared)
    if table is None:
        return metrics
    concentrations = _concentrations(table, len(compared.keys), np.random.default_rng(seed))
    return dataclasses.replace(
        metrics,
        num_goats=int(table["kind"].str.contains("goat").sum()),
        num_wolves=int(table["kind"].str.contains("wolf").sum()),
        false_nonmatches=concentrations["false_nonmatches"],
        false_matches=concentrations["false_matches"],
        goats=_members(table, "num_false_nonmatches"),
        wolves=_members(table, "num_false_matches"),
        confusions=_confusions(compared),
    )


def identity_table(compared: ComparedImages) -> pd.DataFrame | None:
    """Return a row for each identity, the columns of `ZooMember`; None without identities."""
    if not compared.has_identities:
        return None
    errors = zoo.errors_by_identity(
        compared.comparisons, compared.identities, compared.point.threshold
    )
    names = pd.Series(identity_of_key(key) for key in compared.keys)
    kinds = [
        ", ".join(["goat"] * bool(goat) + ["wolf or lamb"] * bool(wolf))
        for goat, wolf in zip(errors.is_goat, errors.is_wolf, strict=True)
    ]
    num_false_matches = errors.num_false_matches.sum() / 2  # each is of two identities
    return pd.DataFrame(
        {
            "identity": names.groupby(compared.identities).first(),
            "kind": kinds,
            "num_images": errors.num_images,
            "num_matched": errors.num_matched,
            "num_false_nonmatches": errors.num_false_nonmatches,
            "num_false_matches": errors.num_false_matches,
            "share_of_false_nonmatches": errors.num_false_nonmatches
            / max(errors.num_false_nonmatches.sum(), 1),
            "share_of_false_matches": errors.num_false_matches / max(num_false_matches, 1),
        }
    )


def _members(table: pd.DataFrame, column: str) -> tuple[ZooMember, ...]:
    """Return the identities with most errors, by the number in a column."""
    failing = table[table[column] > 0].sort_values(column, ascending=False, kind="stable")
    rows = failing.head(NUM_SHOWN).to_dict("records")
    return tuple(ZooMember(**{str(name): value for name, value in row.items()}) for row in rows)


def _concentrations(
    table: pd.DataFrame, num_images: int, rng: np.random.Generator
) -> dict[str, Concentration | None]:
    """Return how concentrated errors of both kinds are; None without errors."""
    images = table["num_images"].to_numpy()
    num_comparisons = {
        "false_nonmatches": table["num_matched"].to_numpy(),
        "false_matches": images * (num_images - images),
    }
    concentrations: dict[str, Concentration | None] = {}
    for name, comparisons in num_comparisons.items():
        errors = table[f"num_{name}"].to_numpy()
        concentrations[name] = None
        if errors.sum():
            chance = zoo.chance_share_with_half(int(errors.sum()), comparisons, rng)
            concentrations[name] = Concentration(zoo.share_with_half(errors), chance)
    return concentrations


def _confusions(compared: ComparedImages) -> tuple[Confusion, ...]:
    pairs = compared.comparisons.false_matches(compared.point.threshold)
    scores = compared.comparisons.mismatched_scores[: len(pairs)]
    sides = np.sort(compared.identities[pairs], axis=1)
    _, first, counts = np.unique(sides, axis=0, return_index=True, return_counts=True)
    # Scores fall, so the first comparison of two identities is their highest.
    order = np.lexsort((first, -counts))[:NUM_SHOWN]
    confusions = []
    for i in order:
        image, other = sorted(compared.keys[row] for row in pairs[first[i]])
        confusions.append(
            Confusion(
                identity_of_key(image),
                identity_of_key(other),
                int(counts[i]),
                float(scores[first[i]]),
                image,
                other,
            )
        )
    return tuple(confusions)


def _image_scores(compared: ComparedImages) -> list[ImageScore]:
    """Return the images with mates, those of the lowest mean score first."""
    comparisons, count = compared.comparisons, len(compared.keys)
    sums, num_mates = np.zeros(count), np.zeros(count)
    for side in comparisons.matched.T:
        sums += np.bincount(side, comparisons.matched_scores, minlength=count)
        num_mates += np.bincount(side, minlength=count)
    rows = np.flatnonzero(num_mates)
    means = sums[rows] / num_mates[rows]
    order = np.argsort(means, kind="stable")
    return [ImageScore(compared.keys[rows[i]], float(means[i])) for i in order]


def _unlike_matched(compared: ComparedImages) -> list[LabelDoubt]:
    """Return matched comparisons that are less alike than two identities are on average."""
    comparisons, mean = compared.comparisons, mean_mismatched_score(compared)
    order = np.argsort(comparisons.matched_scores, kind="stable")[:NUM_DOUBTS]
    reason = f"less alike than two identities on average ({mean:.3f})"
    doubts = []
    for i in order[comparisons.matched_scores[order] < mean]:
        first, second = (compared.keys[row] for row in comparisons.matched[i])
        score = float(comparisons.matched_scores[i])
        doubts.append(LabelDoubt("matched", first, second, score, reason))
    return doubts


def mean_mismatched_score(compared: ComparedImages) -> float:
    """Return the mean score of all mismatched comparisons, those that are not kept included."""
    comparisons = compared.comparisons
    if len(comparisons.mismatched) == comparisons.num_mismatched:
        return float(comparisons.mismatched_scores.mean())
    rows = compared.embeddings.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    total = (np.square(unit.sum(axis=0)).sum() - len(unit)) / 2
    return float((total - comparisons.matched_scores.sum()) / comparisons.num_mismatched)


def _alike_mismatched(compared: ComparedImages, faces: Faces | None) -> list[LabelDoubt]:
    """Return mismatched comparisons of one picture, or more alike than nearly all matched ones."""
    comparisons = compared.comparisons
    limit = np.quantile(comparisons.matched_scores, 0.95) if len(comparisons.matched) else np.inf
    doubts = []
    for row, score in zip(
        comparisons.mismatched[:NUM_LOOKED_AT], comparisons.mismatched_scores, strict=False
    ):
        first, second = (compared.keys[i] for i in row)
        likeness = None
        if faces is not None:
            with contextlib.suppress(MissingFaceError):  # of a template
                likeness = picture_likeness(faces.load(first), faces.load(second))
        if likeness is not None and likeness >= SAME_PICTURE:
            reason = f"nearly the same picture (correlation of pixels {likeness:.2f})"
            doubts.append(LabelDoubt("mismatched", first, second, float(score), reason))
        elif score > limit:
            reason = f"more alike than 95 % of the matched comparisons ({limit:.3f})"
            doubts.append(LabelDoubt("mismatched", first, second, float(score), reason))
    # Copies of a picture are the surest.
    return sorted(doubts, key=lambda doubt: not doubt.reason.startswith("nearly"))[:NUM_DOUBTS]


def picture_likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation, -1 to 1, of the pixels of two faces, one of which may be mirrored.

    Args:
        first: uint8 (H, W, 3).
        second: uint8 (H, W, 3).

    Example:
        >>> face = np.random.default_rng(0).integers(0, 256, (112, 96, 3), np.uint8)
        >>> round(picture_likeness(face, face[:, ::-1]), 6)
        1.0
    """
    grays = [
        ImageOps.grayscale(Image.fromarray(face)).resize(LIKENESS_SIZE, Image.Resampling.BOX)
        for face in (first, second)
    ]
    one, other = (np.asarray(gray, np.float64) for gray in grays)
    one, other = (pixels - pixels.mean() for pixels in (one, other))
    scale = np.linalg.norm(one) * np.linalg.norm(other)
    if scale == 0:
        return 0.0
    return float(max(np.sum(one * other), np.sum(one * other[:, ::-1])) / scale)
