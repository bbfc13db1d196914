"""Errors by group in words: the part of a report, its figure, and groups.csv."""

import functools

import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.group_metrics import (
    MIN_IDENTITIES,
    GroupColumn,
    GroupMetrics,
    GroupRates,
    Ratio,
)
from keras_sphereface.evaluation.operating_point import OperatingPoint
from keras_sphereface.reporting.blocks import Block, Details, ImageBlock, Paragraph, Table, Warnings
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.utils.text import counted


def group_table(metrics: GroupMetrics) -> pd.DataFrame:
    """Return a row for each group, and for each two groups, of each column."""
    rows = []
    for column in metrics.columns:
        for one in (*column.within, *column.across):
            row: dict[str, str | int | float | None] = {
                "column": column.column,
                "first": one.groups[0],
                "second": one.groups[-1],
                "num_identities": one.num_identities,
                "num_images": one.num_images,
                "is_small": int(one.is_small),
            }
            for name, rate in (("fmr", one.fmr), ("fnmr", one.fnmr)):
                row[f"num_{name}_comparisons"] = rate.num_comparisons
                row[f"num_{name}_errors"] = rate.num_errors
                row[name] = rate.rate
                row[f"{name}_low"] = rate.interval.low if rate.interval else None
                row[f"{name}_high"] = rate.interval.high if rate.interval else None
            rows.append(row)
    return pd.DataFrame(rows)


def group_figure(metrics: GroupMetrics) -> FigurePngs:
    """Return the figure with the rates of all groups and columns."""
    heights = [1.2 + 0.3 * len(column.within) for column in metrics.columns] or [1.0]
    draw = functools.partial(_draw_columns, metrics=metrics, heights=heights)
    return draw_figure(draw, (10, sum(heights) + 0.6))


def _draw_columns(figure: Figure, metrics: GroupMetrics, heights: list[float]) -> None:
    all_axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    for axes, column in zip(all_axes, metrics.columns, strict=False):
        for i, name in enumerate(("FMR", "FNMR")):
            errors = {
                one.name + " (small)" * one.is_small: one.fnmr if i else one.fmr
                for one in column.within
            }
            rates = {group: (error.rate, error.interval) for group, error in errors.items()}
            overall = metrics.point.fnmr if i else metrics.point.fmr
            plots.plot_group_rates(axes[i], rates, overall, f"{column.column}: {name}")


def group_blocks(metrics: GroupMetrics, figure: FigurePngs | None = None) -> list[Block]:
    """Return the part of a report on groups, without its heading.

    Args:
        metrics: Errors by group.
        figure: That of `group_figure`.
    """
    blocks: list[Block] = [Paragraph(str(metrics.point)), Warnings(metrics.notes)]
    if figure and metrics.columns:
        text = (
            "False match and false non-match rate of each group at this threshold, with 95 % "
            "intervals by identity; the dashed line is the rate of all."
        )
        blocks.append(ImageBlock(figure.light, text, text, figure.dark))
    for column in metrics.columns:
        blocks += _column_blocks(column, metrics.point)
    return blocks


def _column_blocks(column: GroupColumn, point: OperatingPoint) -> list[Block]:
    header = ["group", "identities", "images", "FMR, %", "95 %", "FNMR, %", "95 %"]
    small = [one.name for one in column.within if one.is_small]
    note = "Intervals come from identities that are drawn anew."
    if small:
        note += (
            f" Fewer than {MIN_IDENTITIES} identities, so too small to be ranked: "
            f"{', '.join(small)}."
        )
    if column.num_without_group:
        note += f" {counted(column.num_without_group, 'image has', 'images have')} no group."
    across = Table(header, [_row(one) for one in column.across])
    return [
        Table(header, [_row(one) for one in column.within], note, f"By {column.column}"),
        Details(f"Across groups of {column.column}", [across]),
        Paragraph(" ".join(column_sentences(column, point))),
    ]


def column_sentences(column: GroupColumn, point: OperatingPoint) -> list[str]:
    """Return the findings on a column, a sentence each."""
    sentences = []
    for name, one in (("FMR", column.fmr), ("FNMR", column.fnmr)):
        if one is None:
            sentences.append(f"{name}: fewer than two groups are large enough to be compared.")
            continue
        ratio = one.worst_to_best
        if ratio.value == float("inf"):
            sentences.append(f"{name}: {one.best} has no error, so there is no ratio to it.")
            continue
        surely = ratio.interval is not None and ratio.interval.low > 1
        sentences.append(
            f"{name} is {_times(ratio)} as high for {one.worst} as for {one.best}, and "
            f"{_times(one.worst_to_geometric_mean)} the geometric mean of the groups"
            + (": the groups differ." if surely else "; this may be chance.")
        )
    if column.garbe is not None:
        interval = column.garbe.interval
        between = f" ({interval.low:.2f} to {interval.high:.2f})" if interval else ""
        sentences.append(
            f"GARBE {column.garbe.value:.2f}{between}, 0 where the rates of all groups are equal, "
            "1 where one has all errors."
        )
    return sentences + _across_sentences(column, point)


def _across_sentences(column: GroupColumn, point: OperatingPoint) -> list[str]:
    listed = column.listed
    if not listed.num_across:
        return []
    sentences = [
        f"{100 * listed.share:.0f} % of the listed mismatched pairs are across groups of "
        f"{column.column}, and so easier to tell apart."
    ]
    if listed.auc_without is not None and listed.eer_without is not None:
        sentences.append(
            f"Without them the EER is {100 * listed.eer_without:.2f} % in place of "
            f"{100 * listed.eer:.2f} %, and the AUC {listed.auc_without:.4f} in place of "
            f"{listed.auc:.4f}."
        )
    if listed.fnmr_without is not None:
        sentences.append(
            f"At a FMR of {100 * point.fmr:.3g} % over mismatched comparisons within groups alone, "
            f"the FNMR is {100 * listed.fnmr_without:.3g} % in place of {100 * point.fnmr:.3g} %."
        )
    return sentences


def _times(ratio: Ratio) -> str:
    between = ""
    if ratio.interval:
        between = f" ({ratio.interval.low:.2f} to {ratio.interval.high:.2f})"
    return f"{ratio.value:.2f} times{between}"


def _row(one: GroupRates) -> list[str]:
    cells = [one.name, f"{one.num_identities:,}", f"{one.num_images:,}"]
    for rate in (one.fmr, one.fnmr):
        if rate.rate is None:
            cells += ["none", ""]
            continue
        ends = rate.interval
        between = f"{100 * ends.low:.3g} to {100 * ends.high:.3g}" if ends else ""
        cells += [f"{100 * rate.rate:.3g}", between]
    return cells
