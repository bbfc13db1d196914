"""The results of a comparison of losses: table, text and figure."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.experiments.compare_losses.gains import REPLICATES, Gain, accuracy_gain
from keras_sphereface.experiments.compare_losses.single import RunResult
from keras_sphereface.reporting.markdown import markdown_table

BASELINE = "softmax"
# The ranking of Liu et al. on LFW: each loss is above the next.
RANKING = ("asoftmax-4", "modified-softmax", "softmax")
MEASURES = {
    "accuracy": "accuracy, %",
    "auc": "AUC, %",
    "tar_at_far_0_01": "TAR at FAR 0.01, %",
}
HEADER = ["loss", *MEASURES.values(), "gain over softmax", "time of a step", "memory, MB"]

Pairs = Mapping[tuple[str, int], pd.DataFrame]  # {(loss, seed): pairs.csv}


def results_table(
    results: Mapping[tuple[str, int], RunResult], losses: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each run: loss, seed and `RunResult`, in the order of the losses.

    Args:
        results: {(loss, seed): numbers of the run}.
        losses: The losses in their order.
    """
    rows = [
        {"loss": loss, "seed": seed, **dataclasses.asdict(result)}
        for (loss, seed), result in results.items()
    ]
    rows.sort(key=lambda row: (losses.index(row["loss"]), row["seed"]))
    names = [field.name for field in dataclasses.fields(RunResult) if field.name != "diverged"]
    return pd.DataFrame(rows).astype(dict.fromkeys(names, float))


def describe_comparison(
    table: pd.DataFrame,
    pairs: Pairs,
    budget: str,
    settings: Mapping[str, str],
    machine: str,
    seed: int,
) -> str:
    """Return the text of losses.md.

    Args:
        table: Of `results_table`.
        pairs: {(loss, seed): pairs.csv} of the runs that have one.
        budget: Sentences about what all runs share.
        settings: {loss: its settings}.
        machine: Description of the machine.
        seed: Int. Seed of the bootstrap.
    """
    seeds = table["seed"].nunique()
    means = f"Means of {seeds} seeds +- standard deviation." if seeds > 1 else "One seed."
    rows = [[*_cells(table, pairs, loss, seed), settings.get(loss, "")] for loss in ranked(table)]
    return (
        f"{budget} {means}\n\n"
        + markdown_table([*HEADER, "settings"], rows)
        + "\n"
        + _describe_ranking(pairs, set(table["loss"]), seed)
        + "The gain is in points of accuracy on the same pairs, with the middle 95 % of "
        f"{REPLICATES:,} draws of seeds and identities, which take their pairs with them. The "
        "thresholds were not chosen anew for these, and nothing is corrected for the number of "
        "losses.\n\n"
        "The time of a step is over that of softmax with the same seed: the median of the seeds, "
        "the lowest and the highest. A run's time is the median of its log's rows. Memory is the "
        "peak memory of a training (on a GPU: of its memory), the median of the seeds.\n\n"
        f"{machine}.\n"
    )


def ranked(table: pd.DataFrame) -> list[str]:
    """Return the losses by mean accuracy, the highest first; those that diverged come last."""
    groups = table.groupby("loss", sort=False)["accuracy"]
    order = pd.DataFrame(
        {"diverged": groups.apply(lambda values: values.isna().any()), "mean": groups.mean()}
    )
    order = order.sort_values(["diverged", "mean"], ascending=[True, False], kind="stable")
    return list(order.index)


def times_of_baseline(table: pd.DataFrame, loss: str) -> pd.Series:
    """Return the time of a step over that of softmax, by seed; missing where there is none."""
    times = table.pivot(index="seed", columns="loss", values="ms_per_step")  # noqa: PD010
    if BASELINE not in times:
        return pd.Series(np.nan, times.index)
    return times[loss] / times[BASELINE]


def _cells(table: pd.DataFrame, pairs: Pairs, loss: str, seed: int) -> list[str]:
    rows = table[table["loss"] == loss]
    accuracy, *others = (_mean_and_spread(100 * rows[name]) for name in MEASURES)
    if diverged := int(rows["diverged"].notna().sum()):
        accuracy += f" ({diverged} of {len(rows)} diverged)"
    gain = None if loss == BASELINE else _gain(pairs, loss, BASELINE, seed)
    memory = rows["memory_mb"].median()
    return [
        loss,
        accuracy,
        *others,
        gain.points if gain else "",
        _median_and_range(times_of_baseline(table, loss).dropna()),
        "" if np.isnan(memory) else f"{memory:,.0f}",
    ]


def _mean_and_spread(values: pd.Series) -> str:
    values = values.dropna()
    if values.empty:
        return ""
    return f"{values.mean():.2f}" + (f" +- {values.std():.2f}" if len(values) > 1 else "")


def _median_and_range(values: pd.Series) -> str:
    if values.empty:
        return ""
    spread = f" ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
    return f"{values.median():.2f}{spread}"


def _gain(pairs: Pairs, loss: str, other: str, seed: int) -> Gain | None:
    """Return the gain over the seeds that both losses have, None without any."""
    seeds = sorted(s for name, s in pairs if name == loss and (other, s) in pairs)
    if not seeds:
        return None
    return accuracy_gain([pairs[loss, s] for s in seeds], [pairs[other, s] for s in seeds], seed)


def _describe_ranking(pairs: Pairs, losses: set[str], seed: int) -> str:
    """Return whether the ranking of Liu et al. holds, a line for each of its steps."""
    lines = []
    for above, below in itertools.pairwise(RANKING):
        if not {above, below} <= losses:
            continue
        gain = _gain(pairs, above, below, seed)
        if gain is None:
            lines.append(f"- {above} above {below}: no seed has both.")
            continue
        points = ", ".join(f"{100 * difference:+.2f}" for difference in gain.by_seed)
        lines.append(
            f"- {above} above {below}: {gain.verdict}; {points} points by seed, mean {gain.points}."
        )
    if not lines:
        return ""
    return "\n".join(
        [
            "The ranking of the paper (yes: outside of the interval, with one sign for all seeds):",
            "",
            *lines,
            "\n",
        ]
    )


def draw_comparison(table: pd.DataFrame) -> Figure:
    """Draw accuracy and time of a step of each loss."""
    losses = ranked(table)
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(losses)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    accuracies = [100 * table.loc[table["loss"] == loss, "accuracy"] for loss in losses]
    plots.plot_runs(left, losses, accuracies, "verification accuracy, %", BASELINE)
    times = [times_of_baseline(table, loss) for loss in losses]
    plots.plot_runs(right, losses, times, "time of a step, softmax = 1", BASELINE, np.median)
    return figure
