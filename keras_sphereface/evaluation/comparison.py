"""The report that compares several models or sets of pairs."""

from collections.abc import Mapping, Sequence

from keras_sphereface.evaluation.report import format_accuracy, format_decimal, format_rate
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.reporting import html
from keras_sphereface.reporting.blocks import Block, Heading, ImageBlock, Table, Warnings
from keras_sphereface.reporting.figures import FigurePngs


def comparison_report(
    results: Sequence[EvaluationMetrics], images: Mapping[str, FigurePngs]
) -> str:
    """Return the report on several models or sets, as HTML.

    Args:
        results: Contents of each metrics.json.
        images: {set: figure with the curves of all models on it}.
    """
    protocols = list(results[0].verification.accuracy_by_protocol)
    by_protocol = [
        [m.model, m.set, *(f"{100 * a.accuracy_mean:.2f}" for a in accuracies.values())]
        for m in results
        for accuracies in [m.verification.accuracy_by_protocol]
    ]
    blocks: list[Block] = [
        Warnings([f"{m.model} on {m.set}: {warning}" for m in results for warning in m.warnings]),
        _comparison_table(results),
        Heading("Accuracy by protocol, %"),
        Table(["model", "set", *protocols], by_protocol),
    ]
    for name, png in images.items():
        alt = f"ROC and DET curves on {name}"
        blocks += [Heading(name), ImageBlock(png.light, alt, dark_png=png.dark)]
    return html.render_page("Face verification compared", blocks)


def _comparison_table(results: Sequence[EvaluationMetrics]) -> Table:
    """Return the main numbers, with the false accept rates that some set supports."""
    measured = [
        far
        for far in results[0].verification.tar_at_far
        if any(m.verification.tar_at_far[far] is not None for m in results)
    ]
    header = ["model", "set", "pairs", "accuracy, %", "EER, %", "AUC"]
    header += [f"TAR at FAR {far}, %" for far in measured]
    rows = [
        [
            metrics.model,
            metrics.set,
            f"{numbers.num_pairs:,}",
            format_accuracy(numbers).replace(" %", ""),
            f"{100 * numbers.eer:.2f}",
            format_decimal(numbers.auc),
            *(format_rate(numbers.tar_at_far[far]) for far in measured),
        ]
        for metrics in results
        for numbers in [metrics.verification]
    ]
    return Table(header, rows, note=f"Protocol {results[0].verification.protocol}.")
