"""Numbers of the clouds on circle and sphere: how narrow they are, and how far apart."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_sphereface.experiments.feature_spheres.train import Cloud, Sphere
from keras_sphereface.functional.geometry import angular_margin
from keras_sphereface.metrics import (
    angular_fisher_score,
    angular_gaps,
    class_angles,
    nearest_classes,
)
from keras_sphereface.reporting.markdown import markdown_table

RUN = ["dim", "seed"]  # runs that differ in their loss only
# Lines under the figures: the column, its name there, and its format.
LINES = {
    "test_accuracy": ("test accuracy", "{:.1%}"),
    "mean_intra": ("mean within", "{:.1f}°"),
    "train_mean_intra": ("same, training", "{:.1f}°"),
    "largest_intra": ("largest within", "{:.0f}°"),
    "smallest_inter": ("smallest between", "{:.1f}°"),
    "fisher_score": ("Fisher score", "{:.4f}"),
    "margin": ("margin, theory", "{:.1f}°"),
    "train_gap": ("gap, training", "{:.1f}°"),
    "test_gap": ("gap, test", "{:.1f}°"),
}

# Readers expect the largest margin to leave the largest gap; without this they doubt the figure.
WHY_SOFTMAX_IS_FAR = (
    "Softmax leaves a larger gap than {loss} here ({dims}). That is no fault: its clouds need not "
    "lie at their class weights, so where weights are crowded the clouds move apart. A-Softmax "
    "pulls each cloud to its weight, and the gap is then that of the weights."
)


@dataclasses.dataclass(frozen=True)
class SphereStatistics:
    """A row of spheres.csv. Angles are in degrees, and of test images unless stated otherwise.

    Attributes:
        dim: Size of an embedding, 2 or 3.
        seed: Seed of the training.
        loss: "softmax", or "m = 4".
        m: The margin; None: plain softmax.
        test_accuracy: Accuracy without the margin, in [0, 1].
        mean_intra: Mean angle to the mean direction of the class.
        largest_intra: Largest angle between two images of one identity.
        smallest_inter: Smallest angle between images of two identities.
        fisher_score: `metrics.angular_fisher_score`; lower is better.
        margin: (m - 1) / (m + 1) theta_12, which the loss asks of classes whose weights are
            neighbors; the mean over pairs of neighbors, as the two gaps are.
        train_gap: Smallest angle between training images of two neighbors.
        test_gap: Smallest angle between test images of two neighbors.
        train_mean_intra: As `mean_intra`, of the training images.
    """

    dim: int
    seed: int
    loss: str
    m: int | None
    test_accuracy: float
    mean_intra: float
    largest_intra: float
    smallest_inter: float
    fisher_score: float
    margin: float
    train_gap: float
    test_gap: float
    train_mean_intra: float


def sphere_statistics(sphere: Sphere) -> SphereStatistics:
    """Measure the clouds of a trained network."""
    embeddings, labels = sphere.test.embeddings, sphere.test.labels
    angles = class_angles(embeddings, labels)
    neighbors = nearest_classes(sphere.test.kernel)

    def gap(cloud: Cloud) -> float:
        return float(angular_gaps(cloud.embeddings, cloud.labels, neighbors.pairs).mean())

    return SphereStatistics(
        dim=sphere.dim,
        seed=sphere.seed,
        loss=sphere.loss,
        m=sphere.m,
        test_accuracy=sphere.accuracy,
        mean_intra=angles.mean_intra,
        largest_intra=angles.largest_intra,
        smallest_inter=angles.smallest_inter,
        fisher_score=angular_fisher_score(embeddings, labels),
        margin=float(np.mean(angular_margin(neighbors.angles, sphere.m or 1))),
        train_gap=gap(sphere.train),
        test_gap=gap(sphere.test),
        train_mean_intra=class_angles(sphere.train.embeddings, sphere.train.labels).mean_intra,
    )


def statistics_table(statistics: Sequence[SphereStatistics]) -> pd.DataFrame:
    """Return a row for each network; `m` is missing for plain softmax."""
    rows = [dataclasses.asdict(row) for row in statistics]
    return pd.DataFrame(rows).astype({"m": "Int64"})


def find_growing_clouds(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each m whose mean intra-class angle is not below that of the last."""
    sentences = []
    for (dim, seed), run in table.dropna(subset="m").groupby(RUN):
        run = run.sort_values("m")
        steps = itertools.pairwise(zip(run["loss"], run["mean_intra"], strict=True))
        sentences += [
            f"{dim}-D, seed {seed}: {before:.2f} degrees with {smaller}, {after:.2f} with {larger}"
            for (smaller, before), (larger, after) in steps
            if after >= before
        ]
    return sentences


def describe_spheres(table: pd.DataFrame) -> str:
    """Return means over the seeds as Markdown, and whether the clouds shrink with every m.

    A sentence explains the gap of softmax where it is larger than that of the largest m.
    """
    text = "".join(_table(dim, runs) + "\n" for dim, runs in table.groupby("dim"))
    if far := _dims_with_far_softmax(table):
        loss = f"m = {table['m'].max()}"
        text += WHY_SOFTMAX_IS_FAR.format(loss=loss, dims=" and ".join(far)) + "\n\n"
    if table["m"].nunique() < 2:
        return text
    growing = find_growing_clouds(table)
    if growing:
        return f"{text}The mean intra-class angle does not fall everywhere: {'; '.join(growing)}.\n"
    return f"{text}The mean intra-class angle falls with every m, in every run.\n"


def _dims_with_far_softmax(table: pd.DataFrame) -> list[str]:
    """Return "2-D" and so on, where the mean gap of softmax exceeds that of the largest m."""
    gaps = table.groupby(["dim", "loss"])["test_gap"].mean()
    largest = f"m = {table['m'].max()}"
    return [
        f"{dim}-D"
        for dim in sorted(table["dim"].unique())
        if {(dim, "softmax"), (dim, largest)} <= set(gaps.index)
        and gaps[dim, "softmax"] > gaps[dim, largest]
    ]


def _table(dim: int, runs: pd.DataFrame) -> str:
    seeds = runs["seed"].nunique()
    spread = f"mean of {seeds} seeds, +- standard deviation" if seeds > 1 else "one seed"
    groups = dict(list(runs.groupby("loss", sort=False)))
    rows = [
        [name, *(_mean_and_spread(group[column], form) for group in groups.values())]
        for column, (name, form) in LINES.items()
    ]
    return markdown_table([f"{dim}-D, {spread}", *groups], rows)


def _mean_and_spread(values: pd.Series, form: str) -> str:
    spread = f" +- {form.format(values.std()).rstrip('°')}" if len(values) > 1 else ""
    return form.format(values.mean()) + spread
