"""A model card: what an evaluation found, as Markdown to lay beside the model.

Reference: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from keras_sphereface.evaluation.decision import decision_statements
from keras_sphereface.evaluation.formatting import format_decimal, format_range, percent
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics, VerificationMetrics
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.text import counted
from keras_sphereface.version import __version__

LIMITS = (
    "The numbers hold for images like those of the set above. Other cameras, ages, poses and "
    "groups of people need their own evaluation.",
    "A score is no proof: matches of consequence are to be decided by people who see the images.",
    "Embeddings are biometric data. Store as few as possible, and delete them on request.",
)


def model_card(metrics: EvaluationMetrics) -> str:
    """Return the card of a model, from the numbers of one set of pairs, as Markdown.

    Example:
        >>> from keras_sphereface.config import EvaluateConfig
        >>> from keras_sphereface.evaluation import evaluate
        >>> (metrics,) = evaluate(EvaluateConfig(
        ...     out="evaluation", model=("model",), images=("faces/images",),
        ...     pairs=("faces/pairs.txt",), landmarks=("faces/landmarks.txt",), bootstrap=0))
        >>> model_card(metrics).splitlines()[0].startswith("# Model card: ")
        True
    """
    numbers = metrics.verification
    name, _, description = numbers.protocol.partition(":")
    answers = (f"- **{q}** {answer}" for q, answer in decision_statements(metrics))
    sections = {
        "Results": "\n".join(answers),
        "Measures": _measures(numbers),
        "Data": "\n".join(_data(metrics)),
        "Runtime": _runtime(metrics),
        "Use and limits": "\n".join(f"- {limit}" for limit in LIMITS),
        "How it was measured": (
            f"Protocol `{name}`:{description}. "
            "Intervals are the middle 95 % of a bootstrap. `settings.yaml` of the evaluation "
            "repeats it: `sphereface evaluate --config settings.yaml`. "
            f"Made with keras_sphereface {__version__}."
        ),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"# Model card: {metrics.model}\n\n{body}\n"


def _measures(numbers: VerificationMetrics) -> str:
    intervals = numbers.intervals
    rows = [
        ["accuracy", percent(numbers.accuracy_mean), format_range(intervals.accuracy)],
        ["equal error rate", percent(numbers.eer), format_range(intervals.eer)],
        ["AUC", format_decimal(numbers.auc), format_range(intervals.auc, format_decimal)],
    ]
    for far, tar in numbers.tar_at_far.items():
        if tar is not None:
            interval = intervals.tar_at_far.get(far)
            missed = interval and interval.complement
            rows.append([f"FNMR at FMR {far}", percent(1 - tar), format_range(missed)])
    unit = "identities" if intervals.resampled == "identities" else "pairs"
    return markdown_table(["measure", "value", f"95 % interval, by {unit}"], rows).rstrip()


def _data(metrics: EvaluationMetrics) -> list[str]:
    numbers = metrics.verification
    lines = [
        f"- {metrics.set}: {counted(numbers.num_pairs, 'pair')}, {numbers.num_matched:,} matched "
        f"and {numbers.num_mismatched:,} mismatched, in {counted(len(numbers.folds), 'fold')}"
    ]
    if metrics.criterion.num_identities:
        lines.append(f"- {counted(metrics.criterion.num_identities, 'identity')}")
    if numbers.num_pairs_left_out:
        lines.append(
            f"- {counted(numbers.num_pairs_left_out, 'pair')} left out, a face of which is missing"
        )
    return lines + [f"- Warning: {warning}" for warning in metrics.warnings]


def _runtime(metrics: EvaluationMetrics) -> str:
    runtime = metrics.runtime
    if runtime is None:
        return ""
    return (
        f"{runtime.milliseconds_per_image:.2f} ms an image with its mirror image, in batches of "
        f"{runtime.batch_size} ({runtime.images_per_second:,.0f} a second); "
        f"{runtime.bytes_per_template:,} bytes a template. On {runtime.machine}."
    )
