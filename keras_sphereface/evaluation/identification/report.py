"""Results of identification as files: metrics.json, probes.csv, a curve, and report.html."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from keras_sphereface import plots
from keras_sphereface.evaluation.formatting import format_range, percent
from keras_sphereface.evaluation.identification.distractors import DistractorsMetrics
from keras_sphereface.evaluation.identification.gallery_search import GalleryMetrics
from keras_sphereface.evaluation.identification.nearest_faces import CAPTION
from keras_sphereface.evaluation.identification.open_set import OpenSetMetrics
from keras_sphereface.evaluation.identification.result import (
    IdentificationMetrics,
    IdentificationResult,
)
from keras_sphereface.evaluation.report import TOO_FEW
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.reporting import figures, html
from keras_sphereface.reporting.blocks import (
    Block,
    Details,
    Heading,
    ImageBlock,
    Paragraph,
    Table,
    Warnings,
)
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.version import __version__

METRICS_FILE, PROBES_FILE, REPORT_FILE = "metrics.json", "probes.csv", "report.html"


class ProtocolReport(NamedTuple):
    """Title, curve and explanation of a protocol in files and reports.

    Attributes:
        title: Title of the report.
        curve_file: Name of the file of the curve.
        plot: Function from an Axes and {model: curve} to the Axes.
        explanation: Note below the table of the measures.
    """

    title: str
    curve_file: str
    plot: Callable[[Axes, Mapping[str, Any]], Axes]
    explanation: str


PROTOCOL_REPORTS = {
    "closed-set": ProtocolReport(
        "Closed-set identification",
        "cmc.png",
        plots.plot_cmc,
        "The identity of every probe is in the gallery. Rank k: share of probes whose identity is "
        "among the k most similar identities of the gallery; a tie counts against the probe.",
    ),
    "open-set": ProtocolReport(
        "Open-set identification",
        "dir.png",
        plots.plot_dir,
        "Some probes are of unknown identities. DIR at FAR: share of mated probes whose identity "
        "is the most similar one, at or above the threshold where that share of the non-mated "
        "probes raises a false alarm: the false positive identification rate (FPIR). The false "
        "negative identification rate (FNIR) is 1 - DIR, with probes and identities of which no "
        "image could be embedded counted as not found. TPIR at FPIR asks for the identity anywhere "
        "in the list of candidates instead.",
    ),
    "distractors": ProtocolReport(
        "Identification among distractors",
        "distractors.png",
        plots.plot_distractors,
        "For each two images of an identity one joins the distractors, and the other is the probe "
        "that searches for it. TAR at FAR: all probes against all distractors.",
    ),
}


def write_results(out: Path, protocol: str, results: Sequence[IdentificationResult]) -> None:
    """Write all files of the results; metrics.json is the last, so it stands for a whole result.

    Args:
        out: Folder, which may hold another result.
        protocol: "closed-set", "open-set" or "distractors".
        results: One for each system.
    """
    out.mkdir(parents=True, exist_ok=True)
    curve_files = {name: report.curve_file for name, report in PROTOCOL_REPORTS.items()}
    for name in (METRICS_FILE, *curve_files.values()):  # of an earlier evaluation
        (out / name).unlink(missing_ok=True)
    with atomic_file(out / PROBES_FILE) as partial:
        pd.concat([result.probes for result in results]).to_csv(partial, index=False)
    curve = _draw_curve(protocol, results)
    with atomic_file(out / curve_files[protocol]) as partial:
        partial.write_bytes(curve.light)
    metrics = [result.metrics for result in results]
    with atomic_file(out / REPORT_FILE) as partial:
        shown = {one.metrics.model: one.nearest_faces for one in results if one.nearest_faces}
        page = identification_report(protocol, metrics, curve, shown)
        partial.write_text(page, encoding="utf-8")
    write_metrics(out / METRICS_FILE, {"protocol": protocol, "systems": metrics})


def _draw_curve(protocol: str, results: Sequence[IdentificationResult]) -> figures.FigurePngs:
    curves = {result.metrics.model: result.curve for result in results}
    plot: Callable[..., Axes] = PROTOCOL_REPORTS[protocol].plot
    sizes = {m.num_gallery_identities for m in _of_gallery(results)}
    if protocol == "closed-set" and len(sizes) == 1:
        plot = functools.partial(plot, gallery_size=sizes.pop())
    return figures.draw_figure(lambda figure: plot(figure.subplots(), curves))


def _of_gallery(results: Sequence[IdentificationResult]) -> list[GalleryMetrics]:
    return [one.metrics for one in results if isinstance(one.metrics, GalleryMetrics)]


def summarize(metrics: IdentificationMetrics) -> str:
    """Return the numbers of one system as lines of text.

    Example:
        >>> from keras_sphereface.evaluation.identification import ClosedSetMetrics
        >>> metrics = ClosedSetMetrics("casia", {}, (), 4, 2, 2, 0.5, 1.0, 1.0, (0.5, 1.0))
        >>> print(summarize(metrics))
        casia: 4 probes, a gallery of 2 identities with 2 images
          rank 1   50.00 %
          rank 5   100.00 %
          rank 10  100.00 %
    """
    lines = [f"{metrics.model}: {metrics.sizes}"]
    if isinstance(metrics, DistractorsMetrics):
        return "\n".join([*lines, *_aligned([_distractors_header(metrics), *_rows(metrics)])])
    intervals = metrics.intervals if isinstance(metrics, GalleryMetrics) else {}
    rows = [
        (
            name,
            _percent_or_too_few(rate),
            f"95 %: {_between(intervals[name].by_identity)} %" if name in intervals else "",
        )
        for name, rate in metrics.measures().items()
    ]
    return "\n".join([*lines, *_aligned(rows)])


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def identification_report(
    protocol: str,
    results: Sequence[IdentificationMetrics],
    curve: figures.FigurePngs,
    nearest_faces: Mapping[str, bytes] | None = None,
) -> str:
    """Return the report on all systems as HTML.

    Args:
        protocol: "closed-set", "open-set" or "distractors".
        results: Numbers of each system.
        curve: Figure of their curves.
        nearest_faces: {system: PNG of probes beside the faces nearest to them}.
    """
    warnings = [f"{m.model}: {warning}" for m in results for warning in m.warnings]
    sizes = {metrics.model: metrics.sizes for metrics in results}
    if len(set(sizes.values())) == 1:
        paragraphs = [next(iter(sizes.values()))]
    else:  # some images are missing for some of the systems
        paragraphs = [f"{model}: {text}" for model, text in sizes.items()]
    title, explanation = PROTOCOL_REPORTS[protocol].title, PROTOCOL_REPORTS[protocol].explanation
    blocks: list[Block] = [
        Warnings(warnings),
        *map(Paragraph, paragraphs),
        _report_table(results, explanation),
        ImageBlock(curve.light, f"{title}: the curves of all systems", dark_png=curve.dark),
        *_interval_tables(_gallery_metrics(results)),
        *_verification([m for m in results if isinstance(m, OpenSetMetrics)]),
        *_nearest(nearest_faces or {}),
        Paragraph(f"Made with keras_sphereface {__version__}."),
    ]
    return html.render_page(title, blocks)


def _gallery_metrics(results: Sequence[IdentificationMetrics]) -> list[GalleryMetrics]:
    return [one for one in results if isinstance(one, GalleryMetrics)]


def _interval_tables(results: Sequence[GalleryMetrics]) -> list[Block]:
    """Return a table of the intervals of each system that has some."""
    note = (
        "Identities are drawn anew, each with all of its probes; the last column takes probes of "
        "one identity for independent. The gallery stays as it is."
    )
    header = ["measure", "value, %", "95 % by identity", "95 % by probe"]
    blocks: list[Block] = []
    for metrics in results:
        values = metrics.measures()
        rows = [
            [name, f"{100 * value:.2f}", _between(both.by_identity), _between(both.by_probe)]
            for name, both in metrics.intervals.items()
            if (value := values[name]) is not None
        ]
        if rows:
            title = "Intervals" if len(results) == 1 else f"Intervals: {metrics.model}"
            blocks.append(Details(title, [Table(header, rows, note)]))
    return blocks


def _between(interval: Interval) -> str:
    return format_range(interval, lambda rate: f"{100 * rate:.2f}")


def _nearest(nearest_faces: Mapping[str, bytes]) -> list[Block]:
    blocks: list[Block] = []
    for model, png in nearest_faces.items():
        heading = "The hardest probes and their nearest"
        blocks.append(Heading(heading if len(nearest_faces) == 1 else f"{heading}: {model}"))
        blocks.append(ImageBlock(png, CAPTION, CAPTION))
    return blocks


def _report_table(results: Sequence[IdentificationMetrics], note: str) -> Table:
    among_distractors = [m for m in results if isinstance(m, DistractorsMetrics)]
    if among_distractors:  # a row for each number of distractors
        header = ["model", *_distractors_header(among_distractors[0])]
        return Table(header, [[m.model, *row] for m in among_distractors for row in _rows(m)], note)
    measures = [metrics.measures() for metrics in results]
    rows = [[name, *(_percent_or_too_few(m[name]) for m in measures)] for name in measures[0]]
    return Table(["measure", *(metrics.model for metrics in results)], rows, note)


def _distractors_header(metrics: DistractorsMetrics) -> list[str]:
    return ["distractors", *metrics.distractors[0].measures()]


def _rows(metrics: DistractorsMetrics) -> list[list[str]]:
    return [
        [f"{count.num_distractors:,}", *map(_percent_or_too_few, count.measures().values())]
        for count in metrics.distractors
    ]


def _percent_or_too_few(rate: float | None) -> str:
    return "too few" if rate is None else percent(rate)


def _verification(results: Sequence[OpenSetMetrics]) -> list[Block]:
    """Return the blocks on the verification of every probe against every gallery entry."""
    if not results:
        return []
    columns = {m.model: m.verification for m in results if m.verification is not None}
    if not columns:
        text = "Each probe against each gallery image would be too many comparisons to verify."
        return [Paragraph(text)]
    values = list(columns.values())
    rows = [
        ["mismatched pairs", *(f"{value.num_mismatched:,}" for value in values)],
        ["AUC", *(f"{value.auc:.4f}" for value in values)],
        ["EER", *(percent(value.eer) for value in values)],
    ]
    for far, tar in values[0].tar_at_far.items():
        if tar is not None:
            rates = (value.tar_at_far[far] for value in values)
            rows.append([f"TAR at FAR {far}", *map(_percent_or_too_few, rates)])
    note = f"Smaller false accept rates have {TOO_FEW}."
    return [
        Heading("Verification: each probe against each gallery image"),
        Table(["measure", *columns], rows, note),
    ]
