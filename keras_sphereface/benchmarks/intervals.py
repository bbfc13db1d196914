"""Simulation of intervals: how often do 95 % intervals hold the truth where identities repeat?

Scores are drawn so that the truth is known. A mismatched pair of identities i and j scores
s (u_i + u_j) + noise, with u the tendency of an identity to resemble others; a matched pair of i
scores DISTANCE + t v_i + noise, with v the ease of an identity, and a correlation of u and v. Both
kinds of scores are normal with variance 1, so that AUC, EER, FNMR at an FMR and the accuracy at any
thresholds follow from the normal distribution, whatever the effects of identities are.
"""

import dataclasses
import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from keras_sphereface.config import IntervalsBenchmarkConfig
from keras_sphereface.evaluation.intervals import pair_statistic
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs, bootstrap_by_identity
from keras_sphereface.metrics.protocols import KFoldResult
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_integer

DISTANCE = 3.0  # of the means of both kinds of scores, in standard deviations
MISMATCHED_EFFECT, MATCHED_EFFECT, CORRELATION = 0.4, 0.6, 0.5  # s, t, of u and v
FARS = ("0.1", "0.01")
GOAL = (0.93, 0.97)  # of 95 % intervals that hold the truth
CSV_FILE, MARKDOWN_FILE = "intervals.csv", "intervals.md"


@dataclasses.dataclass(frozen=True)
class PairDesign:
    """How pairs of a simulated set meet their identities.

    Attributes:
        name: Name of the row.
        num_identities: Int.
        num_matched: Int. Matched pairs, of identities drawn at random.
        num_mismatched: Int. Mismatched pairs likewise; 0: all pairs of identities, once.

    Example:
        >>> PairDesign("all", num_identities=4, num_matched=9, num_mismatched=0).name
        'all'
    """

    name: str
    num_identities: int
    num_matched: int
    num_mismatched: int


DESIGNS = (
    PairDesign("two folds of LFW", 800, 600, 600),
    PairDesign("each identity in 6 and 12 pairs", 100, 600, 600),
    PairDesign("each identity in 10 and 20 pairs", 200, 2000, 2000),
    PairDesign("all pairs of identities", 150, 750, 0),
)


def benchmark_intervals(config: IntervalsBenchmarkConfig) -> str:
    """Simulate sets of pairs, and count the intervals that hold the truth.

    Each design adds its rows to intervals.csv when it ends.

    Returns:
        The text of intervals.md.

    Raises:
        ValueError: If a number is too small.
    """
    for name in ("num_sets", "replicates"):
        check_integer(getattr(config, name), name, 1)
    out, tables = Path(config.out), []
    out.mkdir(parents=True, exist_ok=True)
    for design in DESIGNS:
        rng = np.random.default_rng(config.seed)
        tables.append(coverage(design, config.num_sets, config.replicates, rng))
        table = pd.concat(tables)
        table.to_csv(out / CSV_FILE, index=False, float_format="%.4g")
    text = describe_coverage(table, config)
    (out / MARKDOWN_FILE).write_text(text, encoding="utf-8")
    return text


def coverage(
    design: PairDesign, num_sets: int, replicates: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the shares of intervals that hold the truth, and their mean width.

    Returns:
        A row for each measure with the columns "design", "measure", "by_identity", "by_pair"
        (shares, 0 to 1), "width_by_identity" and "width_by_pair".
    """
    sums: dict[str, np.ndarray] = {}
    for _ in progress_bar(range(num_sets), unit="set", desc=design.name):
        for name, row in _simulate(design, replicates, rng).items():
            sums[name] = sums.get(name, np.zeros(4)) + row
    columns = ["by_identity", "by_pair", "width_by_identity", "width_by_pair"]
    rows = [
        {"design": design.name, "measure": name}
        | dict(zip(columns, (row / num_sets).tolist(), strict=True))
        for name, row in sums.items()
    ]
    return pd.DataFrame(rows)


def _simulate(
    design: PairDesign, replicates: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw a set; return {measure: whether both intervals hold the truth, and their widths}."""
    scores, pairs = draw_scores(design, rng)
    folds = np.arange(len(scores)) % 2
    result = _two_folds(scores, pairs.is_same, folds)
    statistic = pair_statistic(result, pairs.is_same, folds)
    draws = bootstrap_by_identity(statistic.of_weights, pairs, replicates, rng)
    truth = {"accuracy": _true_accuracy(result, pairs.is_same, folds), **true_measures()}
    rows = {}
    for i, name in enumerate(statistic.names):
        if name in truth:
            intervals = (draws.rate_interval(i), draws.pair_interval(i))
            held = [interval.low <= truth[name] <= interval.high for interval in intervals]
            rows[name] = np.array([*held, *(one.high - one.low for one in intervals)], float)
    return rows


def _true_accuracy(result: KFoldResult, is_same: np.ndarray, folds: np.ndarray) -> float:
    """Return the accuracy in the population at the thresholds that the folds chose."""
    of_folds = []
    for fold, threshold in enumerate(result.thresholds.tolist()):
        share = float(np.mean(is_same[folds == fold]))
        of_folds.append(
            share * NormalDist().cdf(DISTANCE - threshold)
            + (1 - share) * NormalDist().cdf(threshold)
        )
    return float(np.mean(of_folds))


def true_measures() -> dict[str, float]:
    """Return {name of a measure: its value in the population of simulated pairs}.

    The accuracy is not among them: it depends on the thresholds that a set chooses.

    Example:
        >>> round(true_measures()["eer"], 4)
        0.0668
    """
    normal = NormalDist()
    return {
        "auc": normal.cdf(DISTANCE / math.sqrt(2)),
        "eer": normal.cdf(-DISTANCE / 2),
        **{far: normal.cdf(DISTANCE + normal.inv_cdf(float(far))) for far in FARS},
    }


def draw_scores(design: PairDesign, rng: np.random.Generator) -> tuple[np.ndarray, IdentityPairs]:
    """Return the scores (P,) of a simulated set, and the identities of its pairs."""
    n = design.num_identities
    alike, own = rng.normal(size=(2, n))
    ease = CORRELATION * alike + math.sqrt(1 - CORRELATION**2) * own
    matched = rng.integers(n, size=design.num_matched)
    if design.num_mismatched:
        first = rng.integers(n, size=design.num_mismatched)
        second = (first + rng.integers(1, n, size=design.num_mismatched)) % n
    else:
        first, second = np.triu_indices(n, 1)
    noise = (math.sqrt(1 - MATCHED_EFFECT**2), math.sqrt(1 - 2 * MISMATCHED_EFFECT**2))
    matched_scores = DISTANCE + MATCHED_EFFECT * ease[matched]
    matched_scores += noise[0] * rng.normal(size=len(matched))
    mismatched_scores = MISMATCHED_EFFECT * (alike[first] + alike[second])
    mismatched_scores += noise[1] * rng.normal(size=len(first))
    pairs = IdentityPairs(np.append(matched, first), np.append(matched, second), n)
    return np.append(matched_scores, mismatched_scores), pairs


def _two_folds(scores: np.ndarray, is_same: np.ndarray, folds: np.ndarray) -> KFoldResult:
    """Judge each fold by the score that separates the kinds of the other best."""
    thresholds = np.array(
        [_best_threshold(scores[folds != f], is_same[folds != f]) for f in (0, 1)]
    )
    is_correct = (scores >= thresholds[folds]) == is_same
    accuracies = np.array([is_correct[folds == fold].mean() for fold in (0, 1)])
    return KFoldResult(np.arange(2), thresholds, accuracies, scores, is_correct)


def _best_threshold(scores: np.ndarray, is_same: np.ndarray) -> float:
    """Return a score with the most correct decisions at it."""
    order = np.argsort(-scores)
    return float(scores[order][np.argmax(np.cumsum(np.where(is_same, 1, -1)[order]))])


def describe_coverage(table: pd.DataFrame, config: IntervalsBenchmarkConfig) -> str:
    """Return the results as Markdown.

    Args:
        table: Rows of `coverage`.
        config: Settings of the simulation.
    """
    inside = table["by_identity"].between(*GOAL)
    rows = [
        [
            row.design,
            _measure_name(row.measure),
            f"{100 * row.by_identity:.1f}",
            f"{100 * row.by_pair:.1f}",
            f"{row.width_by_identity / row.width_by_pair:.2f}",
        ]
        for row in table.itertuples()
    ]
    header = ["pairs", "measure", "by identity, %", "by pair, %", "width, times by pair"]
    error = 100 * math.sqrt(0.95 * 0.05 / config.num_sets)
    return (
        f"Share of 95 % intervals that hold the truth, of {config.num_sets} simulated sets with "
        f"{config.replicates} draws each; standard error {error:.1f} points. By identity, "
        f"{inside.sum()} of {len(table)} shares are between {100 * GOAL[0]:.0f} and "
        f"{100 * GOAL[1]:.0f} %.\n\n" + markdown_table(header, rows)
    )


def _measure_name(name: str) -> str:
    words = {"accuracy": "accuracy", "auc": "AUC", "eer": "EER"}
    return words.get(name, f"FNMR at FMR {name}")
