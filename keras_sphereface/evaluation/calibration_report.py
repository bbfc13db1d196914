"""A calibration in words, and as a figure."""

import numpy as np
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.calibration import Calibration
from keras_sphereface.evaluation.calibration_metrics import CalibrationMetrics
from keras_sphereface.evaluation.formatting import format_range, percent
from keras_sphereface.reporting.blocks import Block, Heading, ImageBlock, Paragraph, Table
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.utils.text import counted

WORTHLESS = 1.0  # Cllr, in bits, of always answering that nothing is known
FIGURE_SIZE = (5.4, 4.2)  # inches
CALIBRATION_FILE = "calibration.png"
CAPTION = (
    "Log-likelihood ratios of the calibration, and those that the tested pairs themselves show. On "
    "the line a ratio means what it says."
)


def calibration_blocks(
    calibration: CalibrationMetrics | None, figure: FigurePngs | None
) -> list[Block]:
    """Return the section of the report, of which the first block is its heading; empty without."""
    if calibration is None:
        return []
    blocks: list[Block] = [
        Heading("Thresholds and log-likelihood ratios"),
        Paragraph(" ".join(calibration_sentences(calibration))),
    ]
    if calibration.thresholds:
        blocks.append(_threshold_table(calibration))
    if figure is not None:
        blocks.append(ImageBlock(figure.light, CAPTION, CAPTION, figure.dark))
    return blocks


def calibration_sentences(calibration: CalibrationMetrics) -> list[str]:
    """Return what was calibrated on what, and what it is worth, in sentences."""
    sides = [
        (calibration.num_calibration_pairs, calibration.num_calibration_identities),
        (calibration.num_judged_pairs, calibration.num_judged_identities),
    ]
    counts = [
        f"{counted(pairs, 'pair')}" + (f" of {counted(n, 'identity')}" if n is not None else "")
        for pairs, n in sides
    ]
    interval = calibration.cllr_interval
    between = f" (95 %: {format_range(interval, bits)})" if interval else ""
    sentences = [
        f"{calibration.split} The calibration that is kept comes from {counts[0]}, and was tested "
        f"on {counts[1]}.",
        f"Log-likelihood ratio = {calibration.slope:.2f} x cosine {calibration.offset:+.2f} nats.",
        f"Its cost Cllr is {bits(calibration.cllr)} bits{between}, where 0 is perfect and 1 worth "
        f"nothing; no calibration of these scores could cost less than "
        f"{bits(calibration.min_cllr)}. Isotonic regression costs "
        f"{bits(calibration.isotonic_cllr)}.",
    ]
    if calibration.cllr >= WORTHLESS:
        sentences.append(
            "It would cost less to give no ratio at all. Were the identities that were calibrated "
            "on in the training set? Their scores are then better than those of others."
        )
    if calibration.num_pairs_dropped:
        sentences.append(
            f"{counted(calibration.num_pairs_dropped, 'pair is', 'pairs are')} left out: an "
            "identity on each side."
        )
    return sentences


def calibration_summary(calibration: CalibrationMetrics | None) -> list[str]:
    """Return lines for the terminal, of thresholds those at powers of ten; none without one."""
    if calibration is None:
        return []
    lines = [
        f"calibration        Cllr {bits(calibration.cllr)} bits, minimum "
        f"{bits(calibration.min_cllr)}; LLR = {calibration.slope:.2f} x cosine "
        f"{calibration.offset:+.2f}"
    ]
    for point in calibration.thresholds:
        if not f"{point.fmr:e}".startswith("1.0"):
            continue
        lines.append(
            f"  FMR {point.fmr:<12g} threshold {point.threshold:.4f}; on other people FMR "
            f"{rate(point.judged_fmr)}, FNMR {rate(point.judged_fnmr)}"
        )
    return lines


def bits(value: float) -> str:
    """Return a cost in bits with three decimals."""
    return f"{value:.3f}"


def rate(value: float) -> str:
    """Return a rate in per cent, with as many decimals as a small one needs."""
    return percent(value, 2 if value >= 0.001 or value == 0 else 4)


def calibration_figure(calibration: Calibration) -> FigurePngs:
    """Return the calibration plot."""

    def draw(figure: Figure) -> None:
        plots.plot_calibration(figure.subplots(), calibration.llrs, calibration.is_same)

    return draw_figure(draw, FIGURE_SIZE)


def _threshold_table(calibration: CalibrationMetrics) -> Table:
    def cosine(value: float) -> str:
        return f"{value:.4f}"

    rows = [
        [
            f"{point.fmr:g}" + "*" * point.is_of_all_pairs,
            cosine(point.threshold),
            format_range(point.threshold_interval, cosine),
            f"{point.llr / np.log(10):.2f}",
            rate(point.judged_fmr),
            format_range(point.judged_fmr_interval, rate),
            rate(point.judged_fnmr),
            format_range(point.judged_fnmr_interval, rate),
        ]
        for point in calibration.thresholds
    ]
    header = ["wanted FMR", "threshold", "95 %", "log10 LR", "FMR", "95 %", "FNMR", "95 %"]
    note = (
        "Thresholds are cosines; they come from other identities than the rates beside them. "
        "*: from all pairs of the images of either side, because the list has too few pairs for "
        "the rate. For smaller rates than these, all pairs together are too few."
    )
    return Table(header, rows, note=note)
