"""False match rates beyond the listed pairs, as a part of the report."""

from keras_sphereface.evaluation.beyond_metrics import BeyondMetrics, BeyondPoint
from keras_sphereface.evaluation.calibration_report import rate
from keras_sphereface.evaluation.formatting import format_range
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.reporting.blocks import Block, Heading, Paragraph, Table


def beyond_blocks(beyond: BeyondMetrics | None) -> list[Block]:
    """Return the section of the report; empty without."""
    if beyond is None:
        return []
    sentence = (
        f"The {beyond.num_images:,} images of the pairs, of {beyond.num_identities:,} identities, "
        f"have {beyond.num_mismatched:,} mismatched and {beyond.num_matched:,} matched pairs, all "
        f"of which are compared by their plain cosine; the list names "
        f"{beyond.num_listed_mismatched:,} of the mismatched ones."
    )
    blocks: list[Block] = [
        Heading("Beyond the listed pairs"),
        Paragraph(" ".join([sentence, *_check_sentences(beyond)])),
    ]
    measured = [point for point in beyond.points if point.threshold is not None]
    if measured:
        header = ["FMR", "threshold, all pairs", "95 %", "FNMR", "95 %"]
        blocks.append(Table(header, [_measured_row(point) for point in measured]))
    header = ["FMR", "extrapolated, all pairs", "95 %", "extrapolated, list", "FMR there", "95 %"]
    note = (
        "Extrapolated, from all pairs or from the list: the threshold by the generalized Pareto "
        "distribution of the highest scores. It rests on the assumption that rarer scores continue "
        "the tail. The last columns check it: the rate that all pairs show at the threshold that "
        "the list alone would promise for the rate on the left."
    )
    return [*blocks, Table(header, [_extrapolated_row(point) for point in beyond.points], note)]


def _check_sentences(beyond: BeyondMetrics) -> list[str]:
    """Return whether the extrapolation from the list holds, at the first rate it does not carry."""
    for point in beyond.points:
        is_beyond = point.fmr * beyond.num_listed_mismatched < 1
        if is_beyond and point.listed_fmr is not None and point.listed_fmr_interval is not None:
            interval = point.listed_fmr_interval
            holds = interval.low <= point.fmr <= interval.high
            return [
                f"Extrapolated from the list alone, the threshold for a false match rate of "
                f"{point.fmr:g} has one of {point.listed_fmr:.2g} "
                f"({format_range(interval, '{:.2g}'.format)}) by all pairs: the extrapolation "
                + ("holds." if holds else "does not hold.")
            ]
    return []


def _measured_row(point: BeyondPoint) -> list[str]:
    return [
        f"{point.fmr:g}",
        _cosine(point.threshold),
        _between(point.threshold_interval),
        "" if point.fnmr is None else rate(point.fnmr),
        format_range(point.fnmr_interval, rate),
    ]


def _extrapolated_row(point: BeyondPoint) -> list[str]:
    return [
        f"{point.fmr:g}",
        _cosine(point.extrapolated_threshold),
        _between(point.extrapolated_interval),
        _cosine(point.listed_threshold),
        "" if point.listed_fmr is None else f"{point.listed_fmr:.2g}",
        format_range(point.listed_fmr_interval, "{:.2g}".format),
    ]


def _cosine(value: float | None) -> str:
    if value is not None and value > 1:
        return "> 1"  # no score reaches it
    return "" if value is None else f"{value:.3f}"


def _between(interval: Interval | None) -> str:
    """Return the ends of an interval of thresholds."""
    return format_range(interval, _cosine)
