"""Several models on one set of pairs, and the report on all models and sets."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.error_report import common_doubts, doubt_table
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.formatting import (
    format_accuracy,
    format_decimal,
    format_range,
    format_rate,
)
from keras_sphereface.evaluation.model_differences import (
    ModelDifference,
    compare_models,
    disagreements,
)
from keras_sphereface.evaluation.pair_faces import draw_face_pairs
from keras_sphereface.evaluation.result import EvaluationResult
from keras_sphereface.evaluation.set_folder import published_blocks
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.reporting import html
from keras_sphereface.reporting.blocks import (
    Block,
    Details,
    Heading,
    ImageBlock,
    Paragraph,
    Statements,
    Table,
    Warnings,
)
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.utils.text import counted

MAX_SHOWN = 3  # models that are all compared on the page; of more, each with the first
NUM_DISAGREEMENTS = 10  # pairs of faces, for each of two models
TITLES = {"accuracy": "accuracy", "auc": "AUC", "eer": "EER"}


@dataclasses.dataclass(frozen=True)
class SetComparison:
    """Several models on one set of pairs.

    Attributes:
        set: Name of the set.
        differences: A row for each two models and each measure; empty without draws.
        curves: ROC and DET of all models.
        sheets: {title: PNG of pairs that the one model decides right and the other wrong}.
    """

    set: str
    differences: tuple[ModelDifference, ...]
    curves: FigurePngs
    sheets: Mapping[str, bytes]


def compare_set(
    results: Sequence[EvaluationResult], dataset: PairDataset, replicates: int, seed: int
) -> SetComparison:
    """Compare the results of several models on one set of pairs.

    Args:
        results: One for each model, two or more.
        dataset: The pairs, with the loaders of their faces if there are any.
        replicates: Int. Number of bootstrap draws; 0 computes no differences.
        seed: Int. Seed of the draws.
    """
    by_name = [(result.metrics.model, result.verification) for result in results]
    name = results[0].metrics.set
    differences = (
        compare_models(name, by_name, dataset.has_names, replicates, seed) if replicates else []
    )
    sheets: dict[str, bytes] = {}
    verifications = dict(by_name)
    for both in _shown(list(verifications)):
        first, second = (verifications[model] for model in both)
        sheets |= _sheets(both, disagreements(first, second), dataset)
    draw = functools.partial(_draw_curves, verifications=verifications)
    return SetComparison(name, tuple(differences), draw_figure(draw, (12.8, 4.8)), sheets)


def _shown(models: Sequence[str]) -> list[tuple[str, str]]:
    """Return the two models of each comparison that the page shows at once."""
    if len(models) <= MAX_SHOWN:
        return list(itertools.combinations(models, 2))
    return [(models[0], other) for other in models[1:]]


def _sheets(
    models: tuple[str, str],
    rows: Sequence[tuple[str, str, bool, float, float]],
    dataset: PairDataset,
) -> dict[str, bytes]:
    """Return {title: PNG} of the clearest pairs that only the first, or only the second decides."""
    sheets = {}
    for right in (0, 1):
        pairs = [
            (first, second, "same identity" if is_same else "different identities")
            for first, second, is_same, *leads in rows
            if leads[right] > 0
        ]
        png = draw_face_pairs(dataset.faces, dataset.templates, pairs[:NUM_DISAGREEMENTS])
        if png is not None:
            title = (
                f"Right by {models[right]}, wrong by {models[1 - right]}: "
                f"{counted(len(pairs), 'pair')}, the clearest first"
            )
            sheets[title] = png
    return sheets


def _draw_curves(figure: Figure, verifications: Mapping[str, Verification]) -> None:
    curves = {name: verification.curve for name, verification in verifications.items()}
    bands = {name: one.band for name, one in verifications.items() if one.band is not None}
    left, right = figure.subplots(1, 2)
    plots.plot_roc(left, curves, bands)
    plots.plot_det(right, curves, bands)


def comparison_report(
    results: Sequence[EvaluationMetrics], comparisons: Sequence[SetComparison]
) -> str:
    """Return the report on several models or sets, as HTML.

    Args:
        results: Contents of each metrics.json.
        comparisons: Models compared on each set; none with a single model.
    """
    protocols = list(results[0].verification.accuracy_by_protocol)
    by_protocol = [
        [m.model, m.set, *(f"{100 * a.accuracy_mean:.2f}" for a in accuracies.values())]
        for m in results
        for accuracies in [m.verification.accuracy_by_protocol]
    ]
    blocks: list[Block] = [
        Warnings([f"{m.model} on {m.set}: {warning}" for m in results for warning in m.warnings]),
        *published_blocks(results),
        _comparison_table(results),
        *itertools.chain.from_iterable(map(_set_blocks, comparisons)),
        Heading("Accuracy by protocol, %"),
        Table(["model", "set", *protocols], by_protocol),
        *_common_doubts(results),
    ]
    return html.render_page("Face verification compared", blocks)


def _set_blocks(comparison: SetComparison) -> list[Block]:
    """Return the part of the report on one set: differences, curves and faces."""
    alt = f"ROC and DET curves on {comparison.set}"
    caption = "Bands are 95 % intervals by identity." if comparison.differences else ""
    curves = ImageBlock(comparison.curves.light, alt, caption, comparison.curves.dark)
    blocks: list[Block] = [Heading(f"The models on {comparison.set}"), curves]
    if comparison.differences:
        blocks.insert(1, Statements(_which_is_better(comparison.differences)))
        blocks += _difference_tables(comparison.differences)
    sheets = [ImageBlock(png, title, title) for title, png in comparison.sheets.items()]
    if sheets:
        blocks += [Heading("Where they disagree", 3), *sheets]
    return blocks


def _which_is_better(differences: Sequence[ModelDifference]) -> list[tuple[str, str]]:
    """Return for each two models that are shown whether these pairs tell them apart."""
    statements = []
    for first, second in _shown(_models_of(differences)):
        rows = {
            row.measure: row for row in differences if (row.first, row.second) == (first, second)
        }
        answers = [
            f"{title} {show(rows[measure].difference)}{unit} ({format_range(interval, show)})"
            + ("" if interval.low > 0 or interval.high < 0 else ", which may be chance")
            for measure, title, show, unit in (
                ("accuracy", "accuracy", _signed_percent, " points"),
                ("auc", "AUC", _signed_decimal, ""),
            )
            for interval in [rows[measure].interval or rows[measure].pair_interval]
        ]
        statements.append((f"{first} or {second}?", f"{first}: {'; '.join(answers)}."))
    return statements


def _models_of(differences: Sequence[ModelDifference]) -> list[str]:
    """Return the names of the models that were compared, in their order."""
    return list(dict.fromkeys(model for row in differences for model in (row.first, row.second)))


def _difference_tables(differences: Sequence[ModelDifference]) -> list[Block]:
    two = list(dict.fromkeys((row.first, row.second) for row in differences))
    shown = _shown(_models_of(differences))
    tables = {
        both: _difference_table([row for row in differences if (row.first, row.second) == both])
        for both in two
    }
    folded = [tables[both] for both in two if both not in shown]
    text = (
        "Each draw of the bootstrap judges both models, so the interval is that of the difference "
        "itself. Where it holds zero, these pairs do not tell which model is better. With many "
        "measures and models some p-values are small by chance."
    )
    others = [Details("The other models against each other", folded)] if folded else []
    return [*(tables[both] for both in shown), Paragraph(text), *others]


def _difference_table(rows: Sequence[ModelDifference]) -> Table:
    by_identity = rows[0].interval is not None
    table = []
    for row in rows:
        show = _signed_decimal if row.measure == "auc" else _signed_percent
        intervals = [row.pair_interval] if row.interval is None else [row.interval]
        intervals += [row.pair_interval] if by_identity else []
        table.append(
            [
                TITLES.get(row.measure, f"TAR at FAR {row.measure}"),
                show(row.difference),
                *(format_range(interval, show) for interval in intervals),
                f"{row.p_value:.3f}",
            ]
        )
    header = ["95 % interval by identity", "by pair"] if by_identity else ["95 % interval by pair"]
    return Table(
        ["measure", "difference", *header, "p"],
        table,
        caption=f"{rows[0].first} minus {rows[0].second}, {counted(rows[0].num_pairs, 'pair')}; "
        "rates in percentage points",
    )


def _signed_decimal(value: float) -> str:
    return f"{value:+.4f}"


def _signed_percent(value: float) -> str:
    return f"{100 * value:+.2f}"


def _common_doubts(results: Sequence[EvaluationMetrics]) -> list[Block]:
    """Return the pairs of each set that all of its models find labeled wrong."""
    blocks: list[Block] = []
    for name in dict.fromkeys(metrics.set for metrics in results):
        of_set = [m.errors for m in results if m.set == name and m.errors is not None]
        if len(of_set) > 1 and (doubts := common_doubts(of_set)):
            heading = Heading(f"Labels of {name} that all models doubt")
            blocks += [heading, doubt_table(doubts)]
    return blocks


def _comparison_table(results: Sequence[EvaluationMetrics]) -> Table:
    """Return the main numbers, with the false accept rates that some set supports."""
    measured = [
        far
        for far in results[0].verification.tar_at_far
        if any(m.verification.tar_at_far[far] is not None for m in results)
    ]
    header = ["model", "set", "pairs", "accuracy, %", "95 %", "EER, %", "AUC"]
    header += [f"TAR at FAR {far}, %" for far in measured]
    rows = [
        [
            metrics.model,
            metrics.set,
            f"{numbers.num_pairs:,}",
            format_accuracy(numbers).replace(" %", ""),
            format_range(numbers.intervals.accuracy, format_rate),
            f"{100 * numbers.eer:.2f}",
            format_decimal(numbers.auc),
            *(format_rate(numbers.tar_at_far[far]) for far in measured),
        ]
        for metrics in results
        for numbers in [metrics.verification]
    ]
    return Table(header, rows, note=f"Protocol {results[0].verification.protocol}.")
