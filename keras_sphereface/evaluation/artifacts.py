"""Files of an evaluation: metrics.json, pairs.csv, table.csv, images and report.html."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.data import contact_sheet, images
from keras_sphereface.evaluation import comparison, group_report, report
from keras_sphereface.evaluation.face_pairs import Templates
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.result import EvaluationResult
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.metrics.roc import Roc
from keras_sphereface.reporting.figures import FigurePngs, draw_figure
from keras_sphereface.reporting.metrics_file import write_metrics
from keras_sphereface.utils import names
from keras_sphereface.utils.atomic import atomic_file

METRICS_FILE, PAIRS_FILE, REPORT_FILE = "metrics.json", "pairs.csv", "report.html"
TABLE_FILE, EMBEDDINGS_FILE = "table.csv", "embeddings.npz"
# {kind of error: the decision that makes it}
ERRORS = {"false_accepts": "same", "false_rejects": "different"}
RESULT_FILES = (
    *(METRICS_FILE, PAIRS_FILE, REPORT_FILE, TABLE_FILE, EMBEDDINGS_FILE),
    *("roc.png", "det.png", "similarities.png", "angles.png"),
    *(f"{name}.png" for name in ERRORS),
    *("groups.csv", "groups.png"),
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
TILES_PER_ROW = 5
NUM_WORST = 20  # false accepts, and false rejects, that are shown
GAP = 6  # white pixels beside a pair, so that one sees which two faces belong together


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


def write_result(folder: Path, result: EvaluationResult) -> None:
    """Write all files of a result; metrics.json comes last and marks it as complete."""
    clear_folder(folder)
    table = pair_table(result.verification)
    with atomic_file(folder / PAIRS_FILE) as partial:
        table.to_csv(partial, index=False)
    worst = {name: worst_errors(table, decision) for name, decision in ERRORS.items()}
    drawn = _figures(result)
    sheets = _contact_sheets(result.faces, result.templates, worst)
    pngs = {**drawn, **{name: FigurePngs(png, b"") for name, png in sheets.items()}}
    if groups := result.metrics.groups:
        with atomic_file(folder / "groups.csv") as partial:
            group_report.group_table(groups).to_csv(partial, index=False)
        pngs["groups.png"] = group_report.group_figure(groups)
    for name, png in pngs.items():
        with atomic_file(folder / name) as partial:
            partial.write_bytes(png.light)
    with atomic_file(folder / REPORT_FILE) as partial:
        text = report.verification_report(result.metrics, pngs, worst)
        partial.write_text(text, encoding="utf-8")
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
    curves = {result.metrics.model: verification.curve}
    threshold = float(np.mean([fold.threshold for fold in verification.metrics.folds]))
    scores, is_same = verification.result.scores, verification.pairs.is_same
    unit = verification.metrics.score_unit
    draw: dict[str, Callable[[Axes], Axes]] = {
        "roc.png": lambda axes: plots.plot_roc(axes, curves),
        "det.png": lambda axes: plots.plot_det(axes, curves),
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
        name: draw_figure(functools.partial(_draw_one, plot=plot)) for name, plot in draw.items()
    }


def _draw_one(figure: Figure, plot: Callable[[Axes], Axes]) -> None:
    plot(figure.subplots())


def _contact_sheets(
    faces: Faces | None, templates: Templates, worst: Mapping[str, pd.DataFrame]
) -> dict[str, bytes]:
    """Return {file: PNG} of the worst errors, where there are any and their faces can be loaded."""
    if faces is None:
        return {}
    sheets = {}
    for kind, errors in worst.items():
        sides = [
            [_face(faces, templates, name) for name in (row.first, row.second)]
            for row in errors.itertuples()
        ]
        loaded = [face for both in sides for face in both if face is not None]
        if loaded:
            blank = np.full_like(loaded[0], 255)
            tiles = [_tile(*(blank if face is None else face for face in both)) for both in sides]
            captions = [f"{r.score:.3f} (threshold {r.threshold:.3f})" for r in errors.itertuples()]
            sheet = contact_sheet.draw_contact_sheet(tiles, TILES_PER_ROW, captions)
            sheets[f"{kind}.png"] = images.encode_png(sheet)
    return sheets


def _face(faces: Faces, templates: Templates, name: str) -> np.ndarray | None:
    """Return the face of an image, or the first of a template that can be loaded."""
    for key, _ in templates.get(name, [(name, "")]):
        try:
            return faces.load(key)
        except MissingFaceError:
            continue
    return None


def _tile(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the two faces of a pair side by side."""
    inside, outside = (np.full((len(first), width, 3), 255, np.uint8) for width in (2, GAP))
    return np.concatenate([outside, first, inside, second, outside], axis=1)


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


def write_overview(out: Path, results: Sequence[EvaluationResult]) -> None:
    """Write the table of all results and, of several, the report that compares them."""
    metrics = [result.metrics for result in results]
    with atomic_file(out / TABLE_FILE) as partial:
        overview_table(metrics).to_csv(partial, index=False)
    if len(results) == 1:
        return
    pngs = {}
    for name in dict.fromkeys(one.set for one in metrics):
        curves = {
            result.metrics.model: result.verification.curve
            for result in results
            if result.metrics.set == name
        }
        pngs[name] = draw_figure(functools.partial(_draw_curves, curves=curves), (12.8, 4.8))
    with atomic_file(out / REPORT_FILE) as partial:
        partial.write_text(comparison.comparison_report(metrics, pngs), encoding="utf-8")


def _draw_curves(figure: Figure, curves: Mapping[str, Roc]) -> None:
    left, right = figure.subplots(1, 2)
    plots.plot_roc(left, curves)
    plots.plot_det(right, curves)
