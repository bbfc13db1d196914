"""What came of a comparison of losses: its table, its differences, and its image."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.metrics import bootstrap

# "training_accuracy" is without the margin; of triplets it counts nearest neighbors in the batch.
COLUMNS = (
    *("loss", "seed", "accuracy", "auc", "tar_at_far_0.01", "training_accuracy"),
    *("ms_per_step", "memory_mb", "diverged"),
)
REFERENCE = "softmax"
# The ranking of the paper on LFW: each is above the next.
RANKING = ("asoftmax-4", "modified-softmax", "softmax")
REPLICATES = 2000
MEASURES = {
    "accuracy": "accuracy, %",
    "auc": "AUC, %",
    "tar_at_far_0.01": "TAR at FAR 0.01, %",
}
FURTHER = ("gain over softmax", "time of a step", "memory, MB", "what it sets")


def table_of(results: Sequence[dict], losses: Sequence[str]) -> pd.DataFrame:
    """A row for each run, in the order of the losses, with `COLUMNS`; `diverged` says why."""
    table = pd.DataFrame(results).reindex(columns=list(COLUMNS))
    order = {loss: place for place, loss in enumerate(losses)}
    places = table["loss"].map(order)
    return table.assign(place=places).sort_values(["place", "seed"]).drop(columns="place")


def difference(
    better: Sequence[pd.DataFrame], worse: Sequence[pd.DataFrame], seed: int
) -> tuple[np.ndarray, bootstrap.Interval]:
    """How much higher the accuracy of one loss is than that of another.

    Args:
        better, worse: of each seed the table of the pairs, as in pairs.csv.
        seed: of the bootstrap.

    Returns:
        The difference of each seed, and the interval of their mean if other seeds and other
        pairs were drawn. (The thresholds are not chosen anew.)

    Raises:
        ValueError: if the tables do not hold the same pairs.
    """
    names = ["first", "second", "is_same"]
    for other in (*better, *worse):
        if not other[names].equals(better[0][names]):
            raise ValueError(
                "All runs must have the same pairs, or be made anew. "
                f"Received: {len(other)} pairs that are not the {len(better[0])} of the first run"
            )
    gains = np.array(
        [
            one["is_correct"].to_numpy(float) - other["is_correct"].to_numpy(float)
            for one, other in zip(better, worse, strict=True)
        ]
    )  # (seeds, P)
    is_same = better[0]["is_same"].to_numpy() == 1
    rng = np.random.default_rng(seed)
    return gains.mean(axis=1), bootstrap.bootstrap_mean_interval(gains, is_same, REPLICATES, rng)


def verdict(by_seed: np.ndarray, interval: bootstrap.Interval) -> str:
    """Whether a difference is one: outside of its interval, and of one sign with every seed."""
    if interval.low > 0 and by_seed.min() > 0:
        return "yes"
    if interval.high < 0 and by_seed.max() < 0:
        return "no, the other way round"
    return "not told apart"


def report(
    table: pd.DataFrame,
    pairs: Mapping[tuple[str, int], pd.DataFrame],
    shared: str,
    own: Mapping[str, str],
    conditions: Mapping[str, str],
    seed: int,
) -> str:
    """The text of losses.md.

    Args:
        table: of `table_of`.
        pairs: {(loss, seed): pairs.csv} of the runs that have one.
        shared: what all runs share, in a sentence.
        own: {loss: what its runs set that others do not}.
        conditions: "machine" of the runs.
        seed: of the bootstrap.
    """
    seeds = table["seed"].nunique()
    lines = [
        f"{shared} "
        + (f"Means of {seeds} seeds +- standard deviation." if seeds > 1 else "One seed."),
        "",
        f"| loss | {' | '.join([*MEASURES.values(), *FURTHER])} |",
        "|---" * (1 + len(MEASURES) + len(FURTHER)) + "|",
        *(_row(table, pairs, loss, own.get(loss, ""), seed) for loss in _ranked(table)),
        "",
        *_ranking_lines(pairs, table["loss"].unique(), seed),
        "The gain is in points of accuracy on the same pairs, with the middle 95 % of "
        f"{REPLICATES:,} draws of seeds and pairs. The thresholds were not chosen anew for these, "
        "pairs that share a person count as independent, and nothing is corrected for the number "
        "of losses.",
        "",
        "The time of a step is over that of softmax with the same seed: the median of the seeds, "
        "the lowest and the highest. A run's time is the median of its log's rows. Memory is the "
        "most that was held in a training (on a GPU: of its memory), the median of the seeds.",
        "",
        f"{conditions['machine']}.",
    ]
    return "\n".join(lines) + "\n"


def _ranked(table) -> list[str]:
    """The losses, that with the highest mean accuracy first, and last those that diverged."""
    groups = table.groupby("loss", sort=False)["accuracy"]
    order = pd.DataFrame(
        {"diverged": groups.apply(lambda of: of.isna().any()), "mean": groups.mean()}
    )
    order = order.sort_values(["diverged", "mean"], ascending=[True, False], kind="stable")
    return list(order.index)


def _row(table, pairs, loss, own, seed):
    rows = table[table["loss"] == loss]
    cells = [loss, *(_mean_and_spread(100 * rows[name].astype(float)) for name in MEASURES)]
    if lost := int(rows["diverged"].notna().sum()):
        cells[1] += f" ({lost} of {len(rows)} diverged)"
    cells.append(_gain(pairs, loss, REFERENCE, seed) if loss != REFERENCE else "")
    cells.append(_times(times_of_reference(table, loss).dropna()))
    memory = rows["memory_mb"].median()
    cells.append("" if np.isnan(memory) else f"{memory:,.0f}")
    return f"| {' | '.join([*cells, own])} |"


def _mean_and_spread(values):
    values = values.dropna()
    if not len(values):
        return ""
    return f"{values.mean():.2f}" + (f" +- {values.std():.2f}" if len(values) > 1 else "")


def _times(times):
    if not len(times):
        return ""
    spread = f" ({times.min():.2f} to {times.max():.2f})" if len(times) > 1 else ""
    return f"{times.median():.2f}{spread}"


def times_of_reference(table: pd.DataFrame, loss: str) -> pd.Series:
    """The time of a step over that of softmax, seed by seed; missing where there is none."""
    times = table.set_index(["seed", "loss"])["ms_per_step"].astype(float).unstack("loss")  # noqa: PD010
    if REFERENCE not in times:
        return pd.Series(np.nan, times.index)
    return times[loss] / times[REFERENCE]


def _both(pairs, loss, other):
    """The tables of pairs of two losses, of the seeds that both have."""
    seeds = sorted(s for name, s in pairs if name == loss and (other, s) in pairs)
    return [pairs[loss, s] for s in seeds], [pairs[other, s] for s in seeds]


def _gain(pairs, loss, other, seed):
    better, worse = _both(pairs, loss, other)
    if not better:
        return ""
    return _points(*difference(better, worse, seed))


def _points(by_seed, interval):
    low, high = interval.low, interval.high
    return f"{100 * by_seed.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


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
        by_seed, interval = difference(better, worse, seed)
        points = ", ".join(f"{100 * gain:+.2f}" for gain in by_seed)
        lines.append(
            f"- {above} above {below}: {verdict(by_seed, interval)}; {points} points by seed, mean "
            f"{_points(by_seed, interval)}."
        )
    if not lines:
        return []
    told = "The ranking of the paper (yes: outside of the interval, and of one sign for all seeds):"
    return [told, "", *lines, ""]


def draw(table: pd.DataFrame) -> Figure:
    """Accuracy, and the time of a step, of each loss: the image of losses.png."""
    losses = _ranked(table)
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(losses)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    accuracies = [100 * table.loc[table["loss"] == loss, "accuracy"] for loss in losses]
    plots.plot_runs(left, losses, accuracies, "verification accuracy, %", REFERENCE)
    times = [times_of_reference(table, loss) for loss in losses]
    plots.plot_runs(right, losses, times, "time of a step, softmax = 1", REFERENCE, np.median)
    return figure
