"""What an evaluation says, in sentences: the first screen of the report, and the model card."""

from collections.abc import Iterator

from keras_sphereface.evaluation.calibration_metrics import CalibrationMetrics
from keras_sphereface.evaluation.calibration_report import rate
from keras_sphereface.evaluation.formatting import (
    format_decimal,
    format_range,
    percent,
    smallest_fmr,
)
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics, VerificationMetrics
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.recognition.comparison import USUAL_FMR
from keras_sphereface.utils.text import counted

MIN_IDENTITIES = 100  # below, an interval of a rate is too wide to decide by


def decision_statements(metrics: EvaluationMetrics) -> list[tuple[str, str]]:
    """Return the questions of someone who decides, each with its answer in a sentence or two.

    Example:
        >>> from keras_sphereface.config import EvaluateConfig
        >>> from keras_sphereface.evaluation import evaluate
        >>> (metrics,) = evaluate(EvaluateConfig(
        ...     out="evaluation", model=("model",), images=("faces/images",),
        ...     pairs=("faces/pairs.txt",), landmarks=("faces/landmarks.txt",), bootstrap=0))
        >>> [question for question, _ in decision_statements(metrics)][:3]
        ['How good is it?', 'How sure is that?', 'Which threshold?']
    """
    numbers = metrics.verification
    return [
        ("How good is it?", _how_good(numbers)),
        ("How sure is that?", _how_sure(numbers)),
        ("Which threshold?", _which_threshold(metrics)),
        *_worst_groups(metrics),
        *_refusal(metrics),
        *_failures(metrics),
    ]


def _how_good(numbers: VerificationMetrics) -> str:
    text = (
        f"It decides {percent(numbers.accuracy_mean)} of the pairs right. With a threshold where "
        f"both errors are equally frequent, {percent(numbers.eer)} of the matched and of the "
        "mismatched pairs are wrong."
    )
    fmr = smallest_fmr(numbers)
    if fmr is not None and (tar := numbers.tar_at_far[fmr]) is not None:
        text += (
            f" Where one of {1 / float(fmr):,.0f} mismatched pairs is accepted (FMR {fmr}), it "
            f"misses {percent(1 - tar)} of the matched ones (FNMR)."
        )
    return text


def _how_sure(numbers: VerificationMetrics) -> str:
    intervals = numbers.intervals
    if intervals.accuracy is None:
        return "No intervals were computed; --bootstrap computes them."
    text = (
        f"The accuracy of {percent(numbers.accuracy_mean)} has a 95 % interval from "
        f"{format_range(intervals.accuracy)}"
    )
    if intervals.num_identities is None:
        return (
            f"{text}. The identities of these pairs are unknown, so the interval takes the pairs "
            "for independent and is too narrow if they share identities."
        )
    text += (
        f", by drawing the {counted(intervals.num_identities, 'identity')} of the "
        f"{numbers.num_pairs:,} pairs anew."
    )
    if intervals.num_identities < MIN_IDENTITIES:
        text += f" With fewer than {MIN_IDENTITIES} identities, take it for a first impression."
    return text


def _which_threshold(metrics: EvaluationMetrics) -> str:
    if metrics.calibration is not None and metrics.calibration.thresholds:
        return _calibrated_threshold(metrics.calibration)
    numbers = metrics.verification
    fmr = smallest_fmr(numbers)
    threshold = fmr and numbers.threshold_at_far[fmr]
    if fmr is None or threshold is None:
        return (
            "These pairs are too few to choose one by a false match rate; --calibrate, with more "
            "pairs, chooses thresholds on other identities than those it judges."
        )
    return (
        f"On these pairs {threshold:.4f} ({numbers.score_unit}) gives FMR {fmr}. It was chosen on "
        "the pairs that it judges: --calibrate chooses thresholds on other identities, with an "
        "interval, and writes them for later use."
    )


def _calibrated_threshold(calibration: CalibrationMetrics) -> str:
    """Return what is known of the threshold that `sphereface compare` takes by default."""
    by_rate = sorted(calibration.thresholds, key=lambda point: -point.fmr)
    usual = [point for point in by_rate if point.fmr <= USUAL_FMR * (1 + 1e-9)]
    one = (usual or by_rate[-1:])[0]
    interval = one.threshold_interval
    between = f" (95 %: {format_range(interval, format_decimal)})" if interval else ""
    others = (
        "On other identities"
        if calibration.identities_are_apart
        else "On other pairs, maybe of the same identities,"
    )
    return (
        f"A cosine of {one.threshold:.4f}{between}, chosen for FMR {one.fmr:g}. {others} it gave "
        f"FMR {rate(one.judged_fmr)} ({format_range(one.judged_fmr_interval, rate)}) and FNMR "
        f"{rate(one.judged_fnmr)} ({format_range(one.judged_fnmr_interval, rate)}). "
        "sphereface compare takes it by default; recognition.json has those for other rates."
    )


def _worst_groups(metrics: EvaluationMetrics) -> Iterator[tuple[str, str]]:
    """Yield the answer by group, where groups are known and at least two of a column are ranked."""
    if metrics.groups is None:
        return
    sentences = []
    for column in metrics.groups.columns:
        rates = (("FMR", column.fmr), ("FNMR", column.fnmr))
        for name, differential in rates:
            if differential is None:
                continue
            ratio = differential.worst_to_best
            sentences.append(
                f"By {column.column}, {name} is highest for {differential.worst}: "
                f"{ratio.value:.1f} times that of {differential.best}{_chance(ratio.interval)}."
            )
    if sentences:
        yield ("For whom does it fail?", " ".join(sentences))


def _refusal(metrics: EvaluationMetrics) -> Iterator[tuple[str, str]]:
    """Yield the images to refuse at enrollment, where the length of embeddings tells which."""
    if metrics.quality is None:
        return
    one, point = metrics.quality.suggested, metrics.quality.point
    if one is None or one.fnmr is None:
        text = "No refusal by |x| surely lowers the FNMR: the length of an embedding does not tell."
    else:
        lost = (
            f", which leaves {counted(one.num_identities_lost, 'identity')} without any"
            if one.num_identities_lost
            else ""
        )
        text = (
            f"Images with |x| below {one.limit:.4g}: {100 * one.share:g} % of them{lost}. It "
            f"lowers the FNMR from {percent(point.fnmr, 1)} to {percent(one.fnmr, 1)} at the "
            f"cosine {point.threshold:.4f}."
        )
    yield ("What to refuse at enrollment?", text)


def _failures(metrics: EvaluationMetrics) -> Iterator[tuple[str, str]]:
    acquired = metrics.acquisition
    if acquired is None or not acquired.num_failures_to_acquire:
        return
    text = (
        f"{acquired.num_failures_to_acquire:,} of {counted(acquired.num_images, 'image')} "
        f"({percent(acquired.fta)}, FTA)"
    )
    if acquired.num_failures_to_enroll:
        text += (
            f", and {acquired.num_failures_to_enroll:,} of "
            f"{counted(acquired.num_templates, 'template')} "
            f"({percent(acquired.fte or 0.0)}, FTE)"
        )
    measured = [(fmr, fnmr) for fmr, fnmr in acquired.fnmr_at_fmr.items() if fnmr is not None]
    if measured:
        fmr, fnmr = measured[-1]
        text += f". With them counted as not matching, FNMR at FMR {fmr} is {percent(fnmr)}"
    yield ("What could it not use?", f"{text}.")


def _chance(interval: Interval | None) -> str:
    """Return the interval of a ratio in brackets, with a remark if it holds 1."""
    if interval is None:
        return ""
    remark = ", so it may be chance" if interval.low <= 1 else ""
    return f" (95 %: {interval.low:.1f} to {interval.high:.1f}{remark})"
