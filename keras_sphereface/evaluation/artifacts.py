"""Files of an evaluation: metrics.json, pairs.csv, table.csv, images and report.html."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation import comparison, findings, report
from keras_sphereface.evaluation.comparison import SetComparison
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.model_card import model_card
from keras_sphereface.evaluation.pair_faces import draw_face_pairs
from keras_sphereface.evaluation.result import EvaluationResult
from keras_sphereface.evaluation.set_folder import published_table
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.export.recognition_file import RECOGNITION_FILE
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils import names
from keras_sphereface.utils.atomic import atomic_file

METRICS_FILE, PAIRS_FILE, REPORT_FILE = "metrics.json", "pairs.csv", "report.html"
TABLE_FILE, EMBEDDINGS_FILE = "table.csv", "embeddings.npz"
CARD_FILE, SETTINGS_FILE, DIFFERENCES_FILE = "model_card.md", "settings.yaml", "differences.csv"
# {kind of error: the decision that makes it}
SETS_FILE = "sets.csv"
ERRORS = {"false_accepts": "same", "false_rejects": "different"}
RESULT_FILES = (
    *(METRICS_FILE, PAIRS_FILE, REPORT_FILE, TABLE_FILE, EMBEDDINGS_FILE),
    *("roc.png", "det.png", "similarities.png", "angles.png"),
    *(f"{name}.png" for name in ERRORS),
    *findings.FINDING_FILES,
    SETS_FILE,
    RECOGNITION_FILE,
    *(CARD_FILE, SETTINGS_FILE, DIFFERENCES_FILE),
)
# The fields of `VerificationMetrics` in table.csv.
TABLE_FIELDS = (
    "num_pairs",
    "accuracy_mean",
    "accuracy_std",
    "accuracy_standard_error",
    "auc",
    "eer",
)
FIGURE_SIZE = (5.4, 4.2)  # inches; two are side by side on a page
NUM_WORST = 20  # false accepts, and false rejects, that are shown


def result_folders(out: Path, sets: Sequence[str], models: Sequence[str]) -> list[Path]:
    """Return a folder for each set and model, set by set: `out` itself if there is one of each."""
    if len(sets) == len(models) == 1:
        return [out]
    return [out / one / other for one in _folder_names(sets) for other in _folder_names(models)]


def _folder_names(titles: Iterable[str]) -> list[str]:
    plain = (re.sub(r"[^\w.+-]+", "-", title).strip("-.") or "unnamed" for title in titles)
    return names.distinct(plain, "{}-{}")


def clear_folder(folder: Path) -> None:
    """Make the folder, and remove the files of an earlier evaluation from it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RESULT_FILES:
        (folder / name).unlink(missing_ok=True)


def write_result(
    folder: Path, result: EvaluationResult, settings: Mapping[str, str] | None = None
) -> None:
    """Write all files of a result; metrics.json comes last and marks it as complete.

    Args:
        folder: Folder of the result, which may hold an earlier one.
        result: One model on one set of pairs.
        settings: {name: value} of the evaluation, for the report.
    """
    clear_folder(folder)
    table = pair_table(result.verification)
    with atomic_file(folder / PAIRS_FILE) as partial:
        table.to_csv(partial, index=False)
    worst = {name: worst_errors(table, decision) for name, decision in ERRORS.items()}
    drawn = _figures(result)
    sheets = _contact_sheets(result.faces, result.templates, worst)
    pngs = {**drawn, **{name: FigurePngs(png, b"") for name, png in sheets.items()}}
    pngs |= findings.finding_figures(result)
    for name, finding in findings.finding_tables(result).items():
        with atomic_file(folder / name) as partial:
            finding.to_csv(partial, index=False)
    for name, png in pngs.items():
        with atomic_file(folder / name) as partial:
            partial.write_bytes(png.light)
    with atomic_file(folder / REPORT_FILE) as partial:
        text = report.verification_report(result.metrics, pngs, worst, settings or {})
        partial.write_text(text, encoding="utf-8")
    with atomic_file(folder / CARD_FILE) as partial:
        partial.write_text(model_card(result.metrics), encoding="utf-8")
    write_metrics(folder / METRICS_FILE, result.metrics)


def pair_table(verification: Verification) -> pd.DataFrame:
    """Return a row for each complete pair: its score, the threshold of its fold, the decision."""
    pairs, result = verification.pairs, verification.result
    return pd.DataFrame(
        {
            "first": pairs.first,
            "second": pairs.second,
            "is_same": pairs.is_same.astype(int),
            "fold": pairs.folds,
            "score": result.scores,
            "threshold": result.thresholds_of_pairs(pairs.folds),
            "decision": np.where(result.is_correct == pairs.is_same, "same", "different"),
            "is_correct": result.is_correct.astype(int),
        }
    )


def worst_errors(table: pd.DataFrame, decision: str) -> pd.DataFrame:
    """Return the wrong decisions "same" or "different", the furthest from the threshold first."""
    wrong = table[(table["is_correct"] == 0) & (table["decision"] == decision)]
    distance = (wrong["score"] - wrong["threshold"]).abs()
    order = distance.sort_values(ascending=False, kind="stable").index
    return wrong.loc[order].head(NUM_WORST)


def _figures(result: EvaluationResult) -> dict[str, FigurePngs]:
    """Return {file: figure} of the curves and distributions."""
    verification, angles = result.verification, result.angles
    model = result.metrics.model
    curves = {model: verification.curve}
    bands = {} if verification.band is None else {model: verification.band}
    threshold = float(np.mean([fold.threshold for fold in verification.metrics.folds]))
    scores, is_same = verification.result.scores, verification.pairs.is_same
    unit = verification.metrics.score_unit
    draw: dict[str, Callable[[Axes], Axes]] = {
        "roc.png": lambda axes: plots.plot_roc(axes, curves, bands),
        "det.png": lambda axes: plots.plot_det(axes, curves, bands),
        "similarities.png": lambda axes: plots.plot_similarity_histogram(
            axes, scores, is_same, threshold, unit
        ),
        "angles.png": lambda axes: plots.plot_angle_distributions(
            axes,
            angles.intra_counts,
            angles.inter_counts,
            angles.largest_intra,
            angles.smallest_inter,
        ),
    }
    return {
        name: draw_figure(functools.partial(_draw_one, plot=plot), FIGURE_SIZE)
        for name, plot in draw.items()
    }


def _draw_one(figure: Figure, plot: Callable[[Axes], Axes]) -> None:
    plot(figure.subplots())


def _contact_sheets(
    faces: Faces | None, templates: Templates, worst: Mapping[str, pd.DataFrame]
) -> dict[str, bytes]:
    """Return {file: PNG} of the worst errors, where there are any and their faces can be loaded."""
    sheets = {}
    for kind, errors in worst.items():
        pairs = [
            (row.first, row.second, f"{row.score:.3f} (threshold {row.threshold:.3f})")
            for row in errors.itertuples()
        ]
        png = draw_face_pairs(faces, templates, pairs)
        if png is not None:
            sheets[f"{kind}.png"] = png
    return sheets


def overview_table(results: Sequence[EvaluationMetrics]) -> pd.DataFrame:
    """Return a row for each model on each set."""
    rows = []
    for metrics in results:
        numbers = metrics.verification
        row: dict[str, str | float | None] = {"set": metrics.set, "model": metrics.model}
        row |= {name: getattr(numbers, name) for name in TABLE_FIELDS}
        row |= {f"tar_at_far_{far}": tar for far, tar in numbers.tar_at_far.items()}
        row |= {
            f"accuracy_{protocol}": accuracy.accuracy_mean
            for protocol, accuracy in numbers.accuracy_by_protocol.items()
        }
        row["num_pairs_left_out"] = numbers.num_pairs_left_out
        row["num_warnings"] = len(metrics.warnings)
        rows.append(row)
    return pd.DataFrame(rows)


def write_overview(
    out: Path, results: Sequence[EvaluationMetrics], comparisons: Sequence[SetComparison]
) -> None:
    """Write the table of all results and, of several, the report that compares them.

    Args:
        out: Folder of the evaluation.
        results: Contents of each metrics.json, set by set.
        comparisons: The models compared on each set; none with a single model.
    """
    with atomic_file(out / TABLE_FILE) as partial:
        overview_table(results).to_csv(partial, index=False)
    published = published_table(results)
    if len(published):
        with atomic_file(out / SETS_FILE) as partial:
            published.to_csv(partial, index=False)
    rows = [dataclasses.asdict(row) for one in comparisons for row in one.differences]
    if rows:
        with atomic_file(out / DIFFERENCES_FILE) as partial:
            pd.json_normalize(rows, sep="_").to_csv(partial, index=False)
    if len(results) > 1:
        with atomic_file(out / REPORT_FILE) as partial:
            page = comparison.comparison_report(results, comparisons)
            partial.write_text(page, encoding="utf-8")
