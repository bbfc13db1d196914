"""What can be said in numbers of the clouds on circle and sphere."""

import itertools

import numpy as np
import pandas as pd

from keras_sphereface.experiments.feature_spheres.train import Sphere, loss_name
from keras_sphereface.functional.geometry import angular_margin
from keras_sphereface.metrics import separability

RUN = ["dim", "seed"]  # runs that differ in their loss only
# What stands under the images: a column, how it is called there, and how it is written.
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


def numbers_of(sphere: Sphere) -> dict[str, float | str | None]:
    """A row of spheres.csv; angles are in degrees, those of test images unless it is said.

    - mean_intra: of the angles to the mean direction of the own class; train_mean_intra: of the
      training images.
    - largest_intra, smallest_inter: between two images of one person, and of two.
    - fisher_score: `separability.angular_fisher_score`; the lower, the better.
    - margin: (m - 1) / (m + 1) theta_12, which the loss asks of classes whose weights are beside
      each other; train_gap and test_gap: the smallest angle between images of two such people.
      All three are means over these pairs of classes.
    """
    embeddings, labels = sphere.test.embeddings, sphere.test.labels
    angles = separability.class_angles(embeddings, labels)
    train = separability.class_angles(sphere.train.embeddings, sphere.train.labels)
    beside = separability.nearest_classes(sphere.test.kernel)

    def gap(cloud):
        return float(separability.angular_gaps(cloud.embeddings, cloud.labels, beside.pairs).mean())

    return {
        "dim": sphere.dim,
        "seed": sphere.seed,
        "loss": loss_name(sphere.m),
        "m": sphere.m,
        "test_accuracy": sphere.accuracy,
        "mean_intra": angles.mean_intra,
        "largest_intra": angles.largest_intra,
        "smallest_inter": angles.smallest_inter,
        "fisher_score": separability.angular_fisher_score(embeddings, labels),
        "margin": float(np.mean(angular_margin(beside.angles, sphere.m or 1))),
        "train_gap": gap(sphere.train),
        "test_gap": gap(sphere.test),
        "train_mean_intra": train.mean_intra,
    }


def table_of(rows: list[dict]) -> pd.DataFrame:
    """The rows of `numbers_of` as a table; `m` is missing for plain softmax."""
    return pd.DataFrame(rows).astype({"m": "Int64"})


def failures(table: pd.DataFrame) -> list[str]:
    """Where the mean intra-class angle does not fall from one m to the next, a sentence each."""
    found = []
    for (dim, seed), run in table.dropna(subset="m").groupby(RUN):
        run = run.sort_values("m")
        steps = itertools.pairwise(zip(run["loss"], run["mean_intra"], strict=True))
        found += [
            f"{dim}-D, seed {seed}: {before:.2f} degrees with {smaller}, {after:.2f} with {larger}"
            for (smaller, before), (larger, after) in steps
            if after >= before
        ]
    return found


def report(table: pd.DataFrame) -> str:
    """Means over the seeds as Markdown, and whether the clouds shrink with every m."""
    lines = []
    for dim, runs in table.groupby("dim"):
        losses = list(dict.fromkeys(runs["loss"]))
        seeds = runs["seed"].nunique()
        spread = f"mean of {seeds} seeds, +- standard deviation" if seeds > 1 else "one seed"
        lines += [
            f"| {dim}-D, {spread} | {' | '.join(losses)} |",
            "|---" * (1 + len(losses)) + "|",
        ]
        for column, (name, form) in LINES.items():
            cells = []
            for loss in losses:
                values = runs.loc[runs["loss"] == loss, column]
                spread = f" +- {form.format(values.std()).rstrip('°')}" if seeds > 1 else ""
                cells.append(form.format(values.mean()) + spread)
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    falls = failures(table)
    if len(table["m"].dropna().unique()) > 1:
        lines.append(
            "The mean intra-class angle does not fall everywhere: " + "; ".join(falls) + "."
            if falls
            else "The mean intra-class angle falls with every m, in every run."
        )
    return "\n".join(lines) + "\n"
