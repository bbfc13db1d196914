"""What a search for people leaves: metrics.json, probes.csv, a curve, and report.html."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.evaluation.identification import report
from keras_sphereface.reporting import html
from keras_sphereface.utils.atomic import atomic_file

IMAGES = {
    "cmc": plots.plot_cmc,
    "dir": plots.plot_dir,
    "distractors": plots.plot_distractors,
}


class Found(NamedTuple):
    """What came of one system."""

    metrics: dict
    curves: Mapping[str, Any]  # {kind of image: what it draws}
    probes: pd.DataFrame  # a row for each image that was looked up


def write(out: Path, command: str, results: Sequence[Found]) -> None:
    """All files of the results; metrics.json comes last, and says that all are there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)
    with atomic_file(out / "probes.csv") as partial:
        pd.concat([result.probes for result in results]).to_csv(partial, index=False)
    png = html.figure_png(_figure(results))
    (kind,) = results[0].curves
    for old in IMAGES:  # of another search before this one
        (out / f"{old}.png").unlink(missing_ok=True)
    with atomic_file(out / f"{kind}.png") as partial:
        partial.write_bytes(png)
    metrics = [result.metrics for result in results]
    with atomic_file(out / "report.html") as partial:
        partial.write_text(report.report(command, metrics, png), encoding="utf-8")
    with atomic_file(out / "metrics.json") as partial:
        text = json.dumps({"setting": command, "systems": metrics}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")


def _figure(results):
    (kind,) = results[0].curves
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    IMAGES[kind](figure.subplots(), {r.metrics["model"]: r.curves[kind] for r in results})
    return figure
