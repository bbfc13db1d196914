"""Numbers of an evaluation as text, the same in terminal, reports and model cards."""

from collections.abc import Callable

from keras_sphereface.evaluation.verification_metrics import VerificationMetrics
from keras_sphereface.metrics.bootstrap import Interval


def percent(rate: float, digits: int = 2) -> str:
    """Return a rate in per cent, with the sign."""
    return f"{100 * rate:.{digits}f} %"


def format_rate(rate: float | None) -> str:
    """Return a rate in per cent, for a column that names the unit."""
    return "too few pairs" if rate is None else f"{100 * rate:.2f}"


def format_decimal(value: float) -> str:
    """Return a number with four decimals, as for an AUC."""
    return f"{value:.4f}"


def format_accuracy(numbers: VerificationMetrics) -> str:
    """Return the mean accuracy and its standard deviation over the folds, in per cent."""
    return f"{100 * numbers.accuracy_mean:.2f} % +- {100 * numbers.accuracy_std:.2f}"


def format_range(interval: Interval | None, show: Callable[[float], str] = percent) -> str:
    """Return the ends of an interval; empty if it was not computed."""
    if interval is None:
        return ""
    return f"{show(interval.low).removesuffix(' %')} to {show(interval.high)}"


def smallest_fmr(numbers: VerificationMetrics) -> str | None:
    """Return the smallest false match rate that the pairs support, a key of `tar_at_far`."""
    measured = [far for far, tar in numbers.tar_at_far.items() if tar is not None]
    return measured[-1] if measured else None
