"""Quality of images from the length of their embeddings, and from pixels and landmarks.

A-Softmax keeps the length |x| of an embedding: on the target logit a sure face gains from being
long. Whether |x| foretells errors is measured here, beside sharpness, size and pose.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.faces import Faces, load_faces
from keras_sphereface.evaluation.operating_point import MAX_IMAGES, ComparedImages
from keras_sphereface.evaluation.quality_metrics import (
    ImageQuality,
    QualityMeasure,
    QualityMetrics,
    Refusal,
)
from keras_sphereface.metrics import discard
from keras_sphereface.metrics.group_rates import middle_interval
from keras_sphereface.metrics.identity_bootstrap import draw_identity_counts, pair_weights

DESCRIPTIONS = {
    "norm": "length of the embedding, |x|",
    "sharpness": "variance of the Laplacian of the aligned face",
    "size": "distance of the eyes in the original image, pixels",
    "frontality": "nose between the eyes: minus its distance from their middle, by theirs",
}
REFUSED_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
MAX_REFUSED = 0.1  # that is suggested: one in ten comes again
NUM_LOWEST = 24


def image_table(
    compared: ComparedImages,
    embeddings: Embeddings,
    faces: Faces | None = None,
    landmarks: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Return a row for each image: its key, and the measures of `DESCRIPTIONS` that are known.

    Args:
        compared: Images and their comparisons.
        embeddings: Embeddings of the images.
        faces: Loaders of the faces; None: no sharpness.
        landmarks: {key: (5, 2) points in the original image}; None: neither size nor frontality.

    Example:
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> from keras_sphereface.evaluation.operating_point import compare_images
        >>> pairs = Pairs(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]), np.ones(2, int))
        >>> embeddings = Embeddings(["a/1", "a/2", "b/1"], np.diag([3.0, 4.0, 5.0])[:, None], {})
        >>> image_table(compare_images(pairs, embeddings, True), embeddings)["norm"].tolist()
        [3.0, 4.0, 5.0]
    """
    keys = compared.keys
    views = embeddings.views[embeddings.rows(keys)]
    table = pd.DataFrame({"image": keys, "norm": np.linalg.norm(views, axis=2).mean(axis=1)})
    if faces is not None and len(keys) <= MAX_IMAGES:
        by_key = {key: sharpness(face) for key, face in load_faces(keys, faces.load, {})}
        table["sharpness"] = [by_key.get(key, np.nan) for key in keys]
    if landmarks:
        unknown = (np.nan, np.nan)
        shapes = [
            size_and_frontality(landmarks[key]) if key in landmarks else unknown for key in keys
        ]
        table["size"], table["frontality"] = np.array(shapes).T
    return table


def sharpness(face: np.ndarray) -> float:
    """Return the variance of the Laplacian of a face, uint8 (H, W, 3), in gray values squared.

    Reference: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.

    Example:
        >>> sharpness(np.full((112, 96, 3), 7, np.uint8))
        0.0
    """
    gray = np.asarray(ImageOps.grayscale(Image.fromarray(face)), np.float32)
    inside = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inside
    return float(laplacian.var())


def size_and_frontality(points: np.ndarray) -> tuple[float, float]:
    """Return the distance of the eyes, and minus the turn of the head as its nose shows it.

    Args:
        points: (5, 2): left eye, right eye, nose, and two corners of the mouth.

    Example:
        >>> size_and_frontality(np.array([[0, 0], [40, 0], [30, 20], [5, 40], [35, 40]], float))
        (40.0, -0.25)
    """
    left, right, nose = points[:3]
    axis = right - left
    distance = float(np.linalg.norm(axis))
    if distance == 0:
        return 0.0, float("nan")
    offset = (nose - (left + right) / 2) @ axis / distance**2
    return distance, -abs(float(offset))


def measure_image_quality(
    compared: ComparedImages, table: pd.DataFrame, replicates: int, seed: int
) -> QualityMetrics:
    """Measure how well each column of a table of images foretells false non-matches.

    Args:
        compared: Images and their comparisons.
        table: A row for each image, as `image_table` returns it.
        replicates: Int. Draws of identities; 0: no intervals.
        seed: Int. Seed of the draws.

    Example:
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> from keras_sphereface.evaluation.operating_point import compare_images
        >>> pairs = Pairs(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]), np.ones(2, int))
        >>> embeddings = Embeddings(["a/1", "a/2", "b/1"], np.diag([3.0, 4.0, 5.0])[:, None], {})
        >>> compared = compare_images(pairs, embeddings, True)
        >>> metrics = measure_image_quality(compared, image_table(compared, embeddings), 0, 0)
        >>> metrics.measures[0].name, metrics.lowest[0]
        ('norm', ImageQuality(image='a/1', quality=3.0))
    """
    comparisons, identities = compared.comparisons, compared.identities
    first, second = identities[comparisons.matched].T
    drawn = draw_identity_counts(int(identities.max()) + 1, replicates, np.random.default_rng(seed))
    weights = [pair_weights(counts, first, second) for counts in drawn]
    weights = [weight for weight in weights if weight.any()]
    measures = []
    for name in DESCRIPTIONS:
        if name not in table or not np.isfinite(table[name]).all() or table[name].nunique() < 2:
            continue
        measures.append(_measure(name, table[name].to_numpy(), compared, weights))
    order = np.argsort(table["norm"], kind="stable")[:NUM_LOWEST]
    return QualityMetrics(
        compared.point,
        tuple(measures),
        next((_suggested(one) for one in measures if one.name == "norm"), None),
        tuple(ImageQuality(compared.keys[i], float(table["norm"][i])) for i in order),
    )


def _measure(
    name: str, quality: np.ndarray, compared: ComparedImages, weights: list[np.ndarray]
) -> QualityMeasure:
    comparisons = compared.comparisons
    of_pairs = quality[comparisons.matched].min(axis=1)
    is_error = comparisons.false_nonmatches(compared.point.threshold)
    curve = discard.discard_curve(of_pairs, is_error)
    areas = [
        discard.relative_area(discard.discard_curve(of_pairs, is_error, weight))
        for weight in weights
    ]
    return QualityMeasure(
        name,
        DESCRIPTIONS[name],
        discard.relative_area(curve) if is_error.any() and not is_error.all() else None,
        middle_interval(np.array(areas)) if areas else None,
        tuple(curve.tolist()),
        tuple(_refusal(share, quality, compared, weights) for share in REFUSED_SHARES),
    )


def _refusal(
    share: float, quality: np.ndarray, compared: ComparedImages, weights: list[np.ndarray]
) -> Refusal:
    comparisons, threshold = compared.comparisons, compared.point.threshold
    limit = float(np.quantile(quality, share))
    is_kept = quality >= limit
    kept = is_kept[comparisons.matched].all(axis=1)
    is_error = comparisons.false_nonmatches(threshold)
    fnmr = float(is_error[kept].mean()) if kept.any() else None
    changes = [
        np.average(is_error[kept], weights=weight[kept]) - np.average(is_error, weights=weight)
        for weight in weights
        if weight[kept].any()
    ]
    false_matches = is_kept[comparisons.false_matches(threshold)].all(axis=1).sum()
    num_mismatched = _num_mismatched(is_kept, compared)
    lost = None
    if compared.has_identities:
        lost = int(compared.identities.max()) + 1 - len(np.unique(compared.identities[is_kept]))
    return Refusal(
        share,
        limit,
        int(np.sum(~is_kept)),
        lost,
        fnmr,
        None if fnmr is None else fnmr - compared.point.fnmr,
        middle_interval(np.array(changes)) if changes else None,
        float(false_matches / num_mismatched) if num_mismatched else None,
    )


def _num_mismatched(is_kept: np.ndarray, compared: ComparedImages) -> int:
    """Return the number of mismatched comparisons whose images are both kept."""
    if compared.point.compared != "all images":
        return int(is_kept[compared.comparisons.mismatched].all(axis=1).sum())
    counts = np.bincount(compared.identities[is_kept])
    return int(counts.sum() ** 2 - np.sum(counts**2)) // 2


def _suggested(measure: QualityMeasure) -> Refusal | None:
    """Return the refusal that lowers the FNMR most for each image, if one surely lowers it."""
    sure = [
        one
        for one in measure.refusals
        if one.share <= MAX_REFUSED and one.interval is not None and one.interval.high < 0
    ]
    return min(sure, key=lambda one: (one.change or 0.0) / one.share, default=None)
