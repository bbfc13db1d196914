"""Verification in words: a summary for the terminal, and report.html."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from keras_sphereface.evaluation.calibration_report import calibration_summary
from keras_sphereface.evaluation.decision import decision_statements
from keras_sphereface.evaluation.findings import finding_blocks
from keras_sphereface.evaluation.formatting import (
    format_accuracy,
    format_decimal,
    format_range,
    format_rate,
    percent,
    smallest_fmr,
)
from keras_sphereface.evaluation.verification_metrics import (
    AccuracyVariant,
    BootstrapIntervals,
    Criterion,
    EmbeddingRuntime,
    EvaluationMetrics,
    VerificationMetrics,
)
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.reporting import html
from keras_sphereface.reporting.blocks import (
    Block,
    Details,
    Heading,
    ImageBlock,
    KeyNumbers,
    Paragraph,
    Statements,
    Table,
    Warnings,
)
from keras_sphereface.reporting.figures import FigurePngs
from keras_sphereface.utils.text import counted
from keras_sphereface.version import __version__

TOO_FEW = "too few mismatched pairs"
CAPTIONS = {
    "roc.png": "True accept rate (TAR) over false match rate, the latter on a log scale.",
    "det.png": "False non-match rate over false match rate, on normal-deviate scales: lower is "
    "better. The dot is the equal error rate.",
    "similarities.png": "Scores of matched and mismatched pairs, with the mean threshold.",
    "angles.png": "Angles within and between identities. The criterion of SphereFace asks that "
    "the largest angle within is smaller than the smallest between.",
    "false_accepts.png": "Mismatched pairs that were accepted, the worst first.",
    "false_rejects.png": "Matched pairs that were rejected, the worst first.",
}
CURVES = ("roc.png", "det.png", "similarities.png")
WORST = ("false_accepts.png", "false_rejects.png")


def verification_summary(metrics: EvaluationMetrics) -> str:
    """Return the numbers as lines of text."""
    numbers = metrics.verification
    per_fold = ", ".join(f"{100 * fold.accuracy:.2f}" for fold in numbers.folds)
    by_protocol = (
        f"{name} {percent(accuracy.accuracy_mean)}"
        for name, accuracy in numbers.accuracy_by_protocol.items()
    )
    tars = (
        f"{far}: " + ("too few pairs" if tar is None else percent(tar))
        for far, tar in numbers.tar_at_far.items()
    )
    return "\n".join(
        [
            f"{metrics.model} on {metrics.set}: {numbers.protocol}",
            f"pairs              {numbers.num_pairs}",
            f"accuracy           {format_accuracy(numbers)}, standard error "
            f"{100 * numbers.accuracy_standard_error:.2f} (folds: {per_fold})",
            f"  by protocol      {', '.join(by_protocol)}",
            *(
                f"  {variant.pairs}: {_variant(variant, percent)} of "
                f"{counted(variant.num_pairs, 'pair')}"
                for variant in metrics.variants
            ),
            "AUC                "
            + _with_interval(numbers.auc, numbers.intervals.auc, format_decimal),
            "EER                " + _with_interval(numbers.eer, numbers.intervals.eer, percent),
            f"TAR at FAR         {', '.join(tars)}",
            *calibration_summary(metrics.calibration),
            f"criterion          {_criterion(metrics.criterion)}",
        ]
    )


def verification_report(
    metrics: EvaluationMetrics,
    images: Mapping[str, FigurePngs],
    worst: Mapping[str, pd.DataFrame],
    settings: Mapping[str, str] | None = None,
) -> str:
    """Return the report of one model on one set of pairs, as HTML.

    Args:
        metrics: Contents of metrics.json.
        images: {file: figure, or faces without a dark twin}.
        worst: {kind of error: rows of pairs.csv}, the worst first.
        settings: {name: value} of the evaluation.
    """
    numbers, criterion = metrics.verification, _criterion(metrics.criterion)
    blocks: list[Block] = [
        Paragraph(
            f"{metrics.model} on the {counted(numbers.num_pairs, 'pair')} of {metrics.set}: "
            f"{numbers.num_matched:,} matched, {numbers.num_mismatched:,} mismatched, "
            f"{counted(len(numbers.folds), 'fold')}."
        ),
        Statements(decision_statements(metrics)),
        _key_numbers(numbers),
        Warnings(metrics.warnings),
        Heading("Accuracy"),
        Paragraph(f"Protocol {numbers.protocol}."),
        _protocol_table(numbers),
        *_variant_table(metrics),
        Details("Accuracy and threshold of each fold", [_fold_table(numbers)]),
        *_missing(numbers),
        Heading("Error rates"),
        _error_table(metrics),
        *_interval_table(numbers),
        *_images(images, CURVES),
        *finding_blocks(metrics, images),
        Heading("The worst errors"),
        *_worst(images, worst),
        Heading("The criterion of SphereFace"),
        Paragraph(f"{criterion[:1].upper()}{criterion[1:]}."),
        *_images(images, ("angles.png",)),
        *_runtime(metrics.runtime),
        *_settings(settings),
        Heading("How to read this report"),
        Paragraph(_how_to_read(numbers)),
    ]
    return html.render_page(f"Face verification: {metrics.model} on {metrics.set}", blocks)


def _between(interval: Interval | None, show: Callable[[float], str]) -> str:
    return f"95 %: {format_range(interval, show)}" if interval else ""


def _with_interval(value: float, interval: Interval | None, show: Callable[[float], str]) -> str:
    between = _between(interval, show)
    return show(value) + f" ({between})" * bool(between)


def _key_numbers(numbers: VerificationMetrics) -> KeyNumbers:
    spread = f"standard deviation of the folds {100 * numbers.accuracy_std:.2f}"
    intervals = numbers.intervals
    return KeyNumbers(
        [
            (
                "accuracy",
                percent(numbers.accuracy_mean),
                _between(intervals.accuracy, percent) or spread,
            ),
            ("equal error rate", percent(numbers.eer), _between(intervals.eer, percent)),
            ("AUC", format_decimal(numbers.auc), _between(intervals.auc, format_decimal)),
            _fnmr_at_smallest_fmr(numbers),
        ]
    )


def _fnmr_at_smallest_fmr(numbers: VerificationMetrics) -> tuple[str, str, str]:
    """Return the key number of the smallest false match rate that the pairs support."""
    fmr = smallest_fmr(numbers)
    if fmr is None:
        return ("FNMR at FMR", "none", TOO_FEW)
    tar = numbers.tar_at_far[fmr]
    of_tar = numbers.intervals.tar_at_far.get(fmr)
    detail = _between(of_tar and of_tar.complement, percent)
    return (f"FNMR at FMR {fmr}", "" if tar is None else percent(1 - tar), detail)


def _protocol_table(numbers: VerificationMetrics) -> Table:
    rows = [
        [name, *(f"{100 * value:.2f}" for value in vars(accuracy).values())]
        for name, accuracy in numbers.accuracy_by_protocol.items()
    ]
    header = ["protocol", "accuracy, %", "standard deviation", "standard error"]
    note = "Mean over the folds; the threshold of a fold comes from the other folds."
    return Table(header, rows, note=note)


def _variant_table(metrics: EvaluationMetrics) -> list[Block]:
    if not metrics.variants:
        return []
    numbers = metrics.verification
    rows = [
        ["as above", f"{numbers.num_pairs:,}", format_rate(numbers.accuracy_mean)],
        *(
            [variant.pairs, f"{variant.num_pairs:,}", _variant(variant, format_rate)]
            for variant in metrics.variants
        ),
    ]
    return [Table(["which pairs", "pairs", "accuracy, %"], rows, caption="With other pairs")]


def _variant(variant: AccuracyVariant, show: Callable[[float], str]) -> str:
    accuracy = variant.accuracy_mean
    return "not measurable" if accuracy is None else show(accuracy)


def _fold_table(numbers: VerificationMetrics) -> Table:
    rows = [
        [str(fold.fold), f"{100 * fold.accuracy:.2f}", f"{fold.threshold:.4f}"]
        for fold in numbers.folds
    ]
    return Table(["fold", "accuracy, %", f"threshold, {numbers.score_unit}"], rows)


def _error_table(metrics: EvaluationMetrics) -> Table | Paragraph:
    numbers, acquired = metrics.verification, metrics.acquisition
    counts_failures = acquired is not None and acquired.num_failures_to_acquire > 0
    rows, unsupported = [], []
    for fmr, tar in numbers.tar_at_far.items():
        if tar is None:
            unsupported.append(fmr)
            continue
        of_tar = numbers.intervals.tar_at_far.get(fmr)
        between = format_range(of_tar and of_tar.complement, format_rate)
        threshold = numbers.threshold_at_far[fmr]
        row = [fmr, f"{float(fmr) * numbers.num_mismatched:.3g}", format_rate(1 - tar), between]
        if acquired is not None and counts_failures:
            row.append(format_rate(acquired.fnmr_at_fmr.get(fmr)))
        rows.append([*row, format_rate(tar), "none" if threshold is None else f"{threshold:.4f}"])
    if not rows:
        return Paragraph(f"There are {TOO_FEW} for an error rate at any false match rate.")
    failures = ["with failures, %"] * counts_failures
    note = (
        "FMR, the false match rate, is the share of mismatched pairs that are accepted, also "
        "called FAR; FNMR, the false non-match rate, is the share of matched pairs that are "
        "rejected, 1 - TAR. Where the FMR allows a few false matches the interval is wide."
    )
    if counts_failures:
        note += " With failures: pairs with a face that is missing count as not matching."
    if unsupported:
        note += f" There are {TOO_FEW} for an FMR of {', '.join(unsupported)}."
    return Table(
        ["FMR", "false matches", "FNMR, %", "95 % interval", *failures, "TAR, %", "threshold"],
        rows,
        note=note,
    )


def _criterion(criterion: Criterion) -> str:
    angles = (
        f"the largest angle within is {criterion.largest_intra_class_angle:.1f} degrees, the "
        f"smallest between {criterion.smallest_inter_class_angle:.1f}"
    )
    verdict = "it holds" if criterion.holds else "it does not hold"
    if criterion.share_of_identities is None:
        return f"{verdict} for the pairs: {angles}"
    of_all = counted(criterion.num_identities or 0, "identity")
    several = counted(criterion.num_identities_with_several_images or 0, "identity")
    return (
        f"{verdict} over all {of_all}: {angles}; singly it holds for "
        f"{percent(criterion.share_of_identities, 1)} of the {several} with several images"
    )


def _images(images: Mapping[str, FigurePngs], names: Sequence[str]) -> list[Block]:
    return [
        ImageBlock(images[name].light, CAPTIONS[name], CAPTIONS[name], images[name].dark)
        for name in names
        if name in images
    ]


def _worst(images: Mapping[str, FigurePngs], worst: Mapping[str, pd.DataFrame]) -> list[Block]:
    blocks = _images(images, WORST)
    for name, errors in worst.items():
        kind = name.replace("_", " ")
        if errors.empty:
            blocks.append(Paragraph(f"There are no {kind}."))
            continue
        rows = [
            [row.first, row.second, f"{row.score:.4f}", f"{row.threshold:.4f}"]
            for row in errors.itertuples()
        ]
        header = ["first", "second", "score", "threshold"]
        blocks.append(Details(f"The worst {len(rows)} {kind} by name", [Table(header, rows)]))
    return blocks


def _settings(settings: Mapping[str, str] | None) -> list[Block]:
    if not settings:
        return []
    note = "`sphereface evaluate --config settings.yaml` repeats the evaluation."
    rows = [[name.replace("_", " "), value] for name, value in settings.items()]
    return [Heading("Data and settings"), Table(["setting", "value"], rows, note)]


def _runtime(runtime: EmbeddingRuntime | None) -> list[Block]:
    if runtime is None:
        return []
    numbers = KeyNumbers(
        [
            ("time an image", f"{runtime.milliseconds_per_image:.2f} ms", "with its mirror image"),
            (
                "embeddings a second",
                f"{runtime.images_per_second:,.0f}",
                f"in batches of {runtime.batch_size}",
            ),
            ("template", f"{runtime.bytes_per_template:,} bytes", "float32"),
        ]
    )
    note = f"Median over the batches, without reading and aligning images. {runtime.machine}."
    return [Heading("Runtime"), numbers, Paragraph(note)]


def _missing(numbers: VerificationMetrics) -> list[Block]:
    if not numbers.missing:
        return []
    rows = list(map(list, numbers.missing.items()))
    return [Details(f"{len(rows)} missing images", [Table(["image", "reason"], rows)])]


def _how_intervals_are_drawn(intervals: BootstrapIntervals) -> str:
    if intervals.resampled == "identities":
        return (
            "Intervals are from a bootstrap that draws "
            f"{counted(intervals.num_identities or 0, 'identity')} "
            f"with all of their pairs, {intervals.replicates:,} times."
        )
    return (
        "Intervals are from a bootstrap that draws the matched and the mismatched pairs "
        f"{intervals.replicates:,} times. These pairs name no identities; pairs that share one are "
        "not independent, so the true spread is wider."
    )


def _interval_table(numbers: VerificationMetrics) -> list[Block]:
    """Return the intervals by identity beside those by pair, where there are both."""
    ours, others = numbers.intervals, numbers.pair_intervals
    if ours.resampled != "identities":
        return []
    values = [
        ("accuracy, %", numbers.accuracy_mean, ours.accuracy, others.accuracy, format_rate),
        ("AUC", numbers.auc, ours.auc, others.auc, format_decimal),
        ("EER, %", numbers.eer, ours.eer, others.eer, format_rate),
        *(
            (f"TAR at FAR {far}, %", tar, ours.tar_at_far[far], others.tar_at_far[far], format_rate)
            for far, tar in numbers.tar_at_far.items()
            if tar is not None
        ),
    ]
    rows = [
        [name, show(value), format_range(one, show), format_range(other, show)]
        for name, value, one, other, show in values
    ]
    note = "Pairs of one identity are alike; the last column takes them for independent."
    table = Table(["measure", "value", "95 % by identity", "95 % by pair"], rows, note=note)
    return [Details("Intervals by identity and by pair", [table])]


def _how_to_read(numbers: VerificationMetrics) -> str:
    sentences = [
        "The threshold of a fold is chosen on the other folds, never on the pairs that it judges.",
        _how_intervals_are_drawn(numbers.intervals),
    ]
    if numbers.num_views == 1:
        sentences.append("There are no embeddings of mirror images: features are of one view.")
    return " ".join([*sentences, f"Made with keras_sphereface {__version__}."])
