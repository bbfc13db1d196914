"""What an evaluation leaves: metrics.json, pairs.csv, images, and report.html."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.data import contact_sheet, images
from keras_sphereface.evaluation import report
from keras_sphereface.evaluation.face_pairs import Faces, MissingFaceError
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.metrics import separability
from keras_sphereface.reporting import html
from keras_sphereface.utils import names
from keras_sphereface.utils.atomic import atomic_file

METRICS_FILE, PAIRS_FILE, REPORT_FILE = "metrics.json", "pairs.csv", "report.html"
TABLE_FILE, EMBEDDINGS_FILE = "table.csv", "embeddings.npz"
# The kinds of errors, and the decision that they are.
ERRORS = {"false_accepts": "same", "false_rejects": "different"}
OWN_FILES = (
    *(METRICS_FILE, PAIRS_FILE, REPORT_FILE, TABLE_FILE, EMBEDDINGS_FILE),
    *("roc.png", "det.png", "similarities.png", "angles.png"),
    *(f"{name}.png" for name in ERRORS),
)
TILES_A_ROW = 5
NUM_WORST = 20  # false accepts, and false rejects, that are shown
GAP = 6  # white pixels beside a pair, so that one sees who belongs together


class Evaluated(NamedTuple):
    """What came of one system on one set of pairs."""

    metrics: dict
    verification: Verification
    angles: separability.ClassAngles | separability.PairAngles
    faces: Faces | None
    templates: Mapping[str, Sequence[tuple[str, str]]]


def folders_of(out: Path, sets: Sequence[str], systems: Sequence[str]) -> list[Path]:
    """A folder for each set and system, set by set: `out` itself if there is one of each."""
    if len(sets) == len(systems) == 1:
        return [out]
    return [out / one / other for one in _plain(sets) for other in _plain(systems)]


def _plain(shown):
    """Names that folders can have, each once."""
    plain = (re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "unnamed" for name in shown)
    return names.distinct(plain, "{}-{}")


def clear(folder: Path) -> None:
    """Make the folder, and remove what an evaluation before this one has left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)


def write_result(folder: Path, found: Evaluated) -> None:
    """Write all files of a result; metrics.json comes last, and says that all are there."""
    clear(folder)
    table = pair_table(found.verification)
    with atomic_file(folder / PAIRS_FILE) as partial:
        table.to_csv(partial, index=False)
    pictures = {name: html.figure_png(f) for name, f in _figures(found).items()}
    worst = {name: worst_errors(table, decision) for name, decision in ERRORS.items()}
    pictures |= _sheets(found, worst)
    for name, png in pictures.items():
        with atomic_file(folder / name) as partial:
            partial.write_bytes(png)
    with atomic_file(folder / REPORT_FILE) as partial:
        text = report.report(found.metrics, pictures, worst)
        partial.write_text(text, encoding="utf-8")
    with atomic_file(folder / METRICS_FILE) as partial:
        partial.write_text(json.dumps(found.metrics, indent=2) + "\n", encoding="utf-8")


def pair_table(verification: Verification) -> pd.DataFrame:
    """A row for each complete pair: its score, the threshold for its fold, and the decision."""
    pairs, verdict = verification.pairs, verification.verdict
    return pd.DataFrame(
        {
            "first": pairs.first,
            "second": pairs.second,
            "is_same": pairs.is_same.astype(int),
            "fold": pairs.folds,
            "score": verdict.scores,
            "threshold": verdict.threshold_of(pairs.folds),
            "decision": np.where(verdict.is_right == pairs.is_same, "same", "different"),
            "is_right": verdict.is_right.astype(int),
        }
    )


def worst_errors(table: pd.DataFrame, decision: str) -> pd.DataFrame:
    """The pairs told wrongly as "same" or "different", the furthest from the threshold first."""
    wrong = table[(table["is_right"] == 0) & (table["decision"] == decision)]
    apart = (wrong["score"] - wrong["threshold"]).abs()
    return wrong.loc[apart.sort_values(ascending=False, kind="stable").index].head(NUM_WORST)


def _figures(found):
    """{file: figure} of the curves and distributions."""
    metrics, (_, _, curve, verdict, pairs) = found.metrics, found.verification
    unit = metrics["score_unit"]
    threshold = float(np.mean(metrics["thresholds"]))
    angles = found.angles
    drawn = {
        "roc.png": lambda axes: plots.plot_roc(axes, {metrics["model"]: curve}),
        "det.png": lambda axes: plots.plot_det(axes, {metrics["model"]: curve}),
        "similarities.png": lambda axes: plots.plot_similarity_histogram(
            axes, verdict.scores, pairs.is_same, threshold, unit
        ),
        "angles.png": lambda axes: plots.plot_angle_distributions(
            axes,
            angles.intra_counts,
            angles.inter_counts,
            angles.largest_intra,
            angles.smallest_inter,
        ),
    }
    return {name: _figure(draw) for name, draw in drawn.items()}


def _figure(draw):
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    draw(figure.subplots())
    return figure


def _sheets(found, worst):
    """{file: PNG} of the worst errors, where there are any and their faces are at hand."""
    sheets = {}
    for name, errors in worst.items():
        faces = [
            [_face(found, name) for name in (row.first, row.second)] for row in errors.itertuples()
        ]
        known = [face for both in faces for face in both if face is not None]
        if known:
            blank = np.full_like(known[0], 255)
            tiles = [_tile(*(blank if face is None else face for face in both)) for both in faces]
            captions = [f"{r.score:.3f} (threshold {r.threshold:.3f})" for r in errors.itertuples()]
            sheet = contact_sheet.contact_sheet(tiles, TILES_A_ROW, captions)
            sheets[f"{name}.png"] = images.encode_png(sheet)
    return sheets


def _face(found, name):
    """The face of an image, or the first of a template that is to be had; None if none is."""
    if found.faces is None:
        return None
    for key, _ in found.templates.get(name, [(name, "")]):
        try:
            return found.faces.load(key)
        except MissingFaceError:
            continue
    return None


def _tile(first, second):
    """The two faces of a pair side by side."""
    inside, outside = (np.full((len(first), width, 3), 255, np.uint8) for width in (2, GAP))
    return np.concatenate([outside, first, inside, second, outside], axis=1)


def overview_table(results: Sequence[Evaluated]) -> pd.DataFrame:
    """A row for each system on each set."""
    rows = []
    for metrics in (result.metrics for result in results):
        names = ("set", "model", "num_pairs", "accuracy_mean", "accuracy_std")
        row = {name: metrics[name] for name in names}
        row |= {name: metrics[name] for name in ("accuracy_standard_error", "auc", "eer")}
        row |= {f"tar_at_far_{far}": tar for far, tar in metrics["tar_at_far"].items()}
        by_protocol = metrics["accuracy_by_protocol"].items()
        row |= {f"accuracy_{name}": numbers["accuracy_mean"] for name, numbers in by_protocol}
        row["num_pairs_left_out"] = metrics["num_pairs_left_out"]
        row["num_doubts"] = len(metrics["doubts"])
        rows.append(row)
    return pd.DataFrame(rows)


def write_overview(out: Path, results: Sequence[Evaluated]) -> None:
    """The table of all results, and, of several, the report that compares them."""
    with atomic_file(out / TABLE_FILE) as partial:
        overview_table(results).to_csv(partial, index=False)
    if len(results) == 1:
        return
    pictures = {}
    for name in dict.fromkeys(result.metrics["set"] for result in results):
        of_set = [result for result in results if result.metrics["set"] == name]
        curves = {result.metrics["model"]: result.verification.curve for result in of_set}
        figure = Figure(figsize=(12.8, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        plots.plot_roc(left, curves)
        plots.plot_det(right, curves)
        pictures[name] = html.figure_png(figure)
    text = report.comparison([result.metrics for result in results], pictures)
    with atomic_file(out / REPORT_FILE) as partial:
        partial.write_text(text, encoding="utf-8")
