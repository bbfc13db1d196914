"""What a search for people leaves: metrics.json, probes.csv, a curve, and report.html."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import gallery_report, html_page, plots
from keras_sphereface.folders import written_file

PICTURES = {
    "cmc": plots.plot_cmc,
    "dir": plots.plot_dir,
    "distractors": plots.plot_distractors,
}


class Found(NamedTuple):
    """What came of one system."""

    metrics: dict
    curves: Mapping[str, Any]  # {kind of picture: what it draws}
    probes: pd.DataFrame  # a row for each picture that was looked up


def write(out: Path, command: str, results: Sequence[Found]) -> None:
    """All files of the results; metrics.json comes last, and says that all are there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").unlink(missing_ok=True)
    with written_file(out / "probes.csv") as partial:
        pd.concat([result.probes for result in results]).to_csv(partial, index=False)
    png = html_page.figure_png(_figure(results))
    (kind,) = results[0].curves
    for old in PICTURES:  # of another search before this one
        (out / f"{old}.png").unlink(missing_ok=True)
    with written_file(out / f"{kind}.png") as partial:
        partial.write_bytes(png)
    metrics = [result.metrics for result in results]
    with written_file(out / "report.html") as partial:
        partial.write_text(gallery_report.report(command, metrics, png), encoding="utf-8")
    with written_file(out / "metrics.json") as partial:
        text = json.dumps({"setting": command, "systems": metrics}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")


def _figure(results):
    (kind,) = results[0].curves
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    PICTURES[kind](figure.subplots(), {r.metrics["model"]: r.curves[kind] for r in results})
    return figure
