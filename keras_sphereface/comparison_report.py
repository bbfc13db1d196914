"""What came of a comparison of losses: its table, its differences, and its picture."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import bootstrap, metric_losses, plots
from keras_sphereface.measuring import machine

COLUMNS = (
    *("loss", "seed", "accuracy", "auc", "tar_at_far_0.01", "training_accuracy"),
    *("ms_per_step", "memory_mb"),
)
REFERENCE = "softmax"
# The ranking of the paper (its Tables 3 and 5): each is above the next.
RANKING = ("asoftmax-4", "modified-softmax", "softmax")
REPLICATES = 2000
FURTHER = ("gain over softmax", "time of a step", "memory, MB")
# What the first three columns of numbers hold, in per cent.
MEASURES = {
    "accuracy": "accuracy, %",
    "auc": "AUC, %",
    "tar_at_far_0.01": "TAR at FAR 0.01, %",
}


def table_of(results: Sequence[dict], losses: Sequence[str]) -> pd.DataFrame:
    """A row for each run, in the order of the losses, with `COLUMNS`."""
    table = pd.DataFrame(results).reindex(columns=list(COLUMNS))
    order = {loss: place for place, loss in enumerate(losses)}
    return table.sort_values(
        ["loss", "seed"], key=lambda c: c.map(order) if c.name == "loss" else c
    )


def difference(
    better: Sequence[pd.DataFrame], worse: Sequence[pd.DataFrame], seed: int
) -> tuple[np.ndarray, bootstrap.Interval]:
    """How much higher the accuracy of one loss is than that of another.

    Args:
        better, worse: of each seed the table of the pairs, as in pairs.csv; the pairs are the same.
        seed: of the bootstrap.

    Returns:
        The difference of each seed, and the interval of their mean if other pairs were drawn.
    """
    gains = np.array(
        [
            one["is_right"].to_numpy(float) - other["is_right"].to_numpy(float)
            for one, other in zip(better, worse, strict=True)
        ]
    )  # (seeds, P)
    is_same = better[0]["is_same"].to_numpy() == 1
    rng = np.random.default_rng(seed)
    interval = bootstrap.mean_interval(gains.mean(axis=0), is_same, REPLICATES, rng)
    return gains.mean(axis=1), interval


def report(
    table: pd.DataFrame, pairs: Mapping[tuple[str, int], pd.DataFrame], budget: str, seed: int
) -> str:
    """The text of losses.md.

    Args:
        table: of `table_of`.
        pairs: {(loss, seed): pairs.csv} of the runs that have one.
        budget: what all runs share, in a sentence.
        seed: of the bootstrap.
    """
    seeds = table["seed"].nunique()
    spread = f"means of {seeds} seeds +- standard deviation" if seeds > 1 else "one seed"
    lines = [
        f"{budget} Verification of people never trained on; {spread}. The gain over softmax is in "
        "points of accuracy, with the interval that holds 95 % of 2,000 draws of pairs.",
        "",
        f"| loss | {' | '.join([*MEASURES.values(), *FURTHER])} |",
        "|---" * (1 + len(MEASURES) + len(FURTHER)) + "|",
        *(_row(table, pairs, loss, seed) for loss in _ranked(table)),
        "",
        *_ranking_lines(pairs, table["loss"].unique(), seed),
        "Time is the median step of a run, over that of softmax with the same seed: the median of "
        f"the seeds. Memory is the most that the process of a training held. {machine()}. "
        f"Contrastive and triplet losses: {metric_losses.implementation().name}.",
    ]
    return "\n".join(lines) + "\n"


def _ranked(table) -> list[str]:
    """The losses, that with the highest mean accuracy first and those without any last."""
    means = table.groupby("loss", sort=False)["accuracy"].mean()
    return list(means.sort_values(ascending=False, kind="stable", na_position="last").index)


def _row(table, pairs, loss, seed):
    rows = table[table["loss"] == loss]
    cells = [loss, *(_mean_and_spread(100 * rows[name]) for name in MEASURES)]
    cells.append(_gain(pairs, loss, REFERENCE, seed) if loss != REFERENCE else "")
    times = times_of_reference(table, loss)
    cells.append(f"{times.median():.2f}" if times.notna().any() else "")
    cells.append(f"{rows['memory_mb'].median():,.0f}" if rows["memory_mb"].notna().any() else "")
    return f"| {' | '.join(cells)} |"


def _mean_and_spread(values):
    if values.isna().any():
        return f"{int(values.isna().sum())} of {len(values)} diverged"
    spread = f" +- {values.std():.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def times_of_reference(table: pd.DataFrame, loss: str) -> pd.Series:
    """The time of a step over that of softmax, seed by seed; missing where softmax is not there."""
    times = table.pivot_table("ms_per_step", "seed", "loss")
    if REFERENCE not in times:
        return pd.Series([np.nan])
    return times[loss] / times[REFERENCE]


def _both(pairs, loss, other):
    """The tables of pairs of two losses, of the seeds that both have."""
    seeds = sorted(s for name, s in pairs if name == loss and (other, s) in pairs)
    return [pairs[loss, s] for s in seeds], [pairs[other, s] for s in seeds]


def _gain(pairs, loss, other, seed):
    better, worse = _both(pairs, loss, other)
    if not better:
        return ""
    by_seed, interval = difference(better, worse, seed)
    return f"{100 * by_seed.mean():+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def _ranking_lines(pairs, losses, seed):
    """Whether the ranking of the paper holds, a line for each of its steps."""
    lines = []
    for above, below in itertools.pairwise(RANKING):
        if not {above, below} <= set(losses):
            continue
        better, worse = _both(pairs, above, below)
        if not better:
            lines.append(f"- {above} above {below}: no seed has both.")
            continue
        by_seed, (low, high) = difference(better, worse, seed)
        verdict = "yes" if low > 0 else "no, the other way round" if high < 0 else "not told apart"
        points = ", ".join(f"{100 * gain:+.2f}" for gain in by_seed)
        lines.append(
            f"- {above} above {below}: {verdict}; {points} points by seed, mean "
            f"{100 * by_seed.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})."
        )
    return ["The ranking of the paper:", "", *lines, ""] if lines else []


def draw(table: pd.DataFrame) -> Figure:
    """Accuracy, and the time of a step, of each loss: the picture of losses.png."""
    losses = _ranked(table)
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(losses)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    accuracies = [100 * table.loc[table["loss"] == loss, "accuracy"] for loss in losses]
    plots.plot_runs(left, losses, accuracies, "verification accuracy, %", REFERENCE)
    times = [times_of_reference(table, loss) for loss in losses]
    plots.plot_runs(right, losses, times, "time of a step, softmax = 1", REFERENCE, np.median)
    return figure
