"""The files of an identification, its summary, and its report in a browser."""

import json
import re

import numpy as np
import pytest

from keras_sphereface.data import images
from keras_sphereface.evaluation.identification import report
from keras_sphereface.evaluation.identification.distractors import (
    DistractorCountMetrics,
    DistractorsMetrics,
)
from keras_sphereface.reporting.metrics_file import SCHEMA_VERSION, as_json
from tests.helpers import browser
from tests.helpers.identification import evaluate, save_views

PROTOCOLS = tuple(report.PROTOCOL_REPORTS)


def test_rates_are_shown_where_they_are_measured():
    count = DistractorCountMetrics(1000, 0.5, (0.5,), {"1e-05": None, "0.0001": 0.0647})
    metrics = DistractorsMetrics("A", {}, (), 9, 3, (count,))
    row = report.summarize(metrics).splitlines()[-1]
    assert re.split("  +", row.strip()) == ["1,000", "50.00 %", "too few", "6.47 %"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_come_last_and_nothing_is_half_written(
    quick, distractors, tmp_path, monkeypatch, protocol
):
    changes = distractors if protocol == "distractors" else {}
    out, curve = tmp_path / "out", report.PROTOCOL_REPORTS[protocol].curve_file
    out.mkdir()
    for other in report.PROTOCOL_REPORTS.values():
        (out / other.curve_file).write_text("of another protocol")
    (metrics,) = evaluate(protocol, quick, **changes)
    files = {"metrics.json", "probes.csv", "report.html", curve}
    assert {path.name for path in out.iterdir()} == files
    written = json.loads((out / "metrics.json").read_text())
    assert written == {
        "schema_version": SCHEMA_VERSION,
        "protocol": protocol,
        "systems": [as_json(metrics)],
    }
    newest = max(path.stat().st_mtime_ns for path in out.iterdir())
    assert (out / "metrics.json").stat().st_mtime_ns == newest
    assert images.decode((out / curve).read_bytes()).std() > 10
    monkeypatch.setattr(report, "identification_report", None)
    with pytest.raises(TypeError):
        evaluate(protocol, quick, **changes)
    assert {path.name for path in out.iterdir()} == {"probes.csv", "report.html", curve}


def test_a_figure_shows_the_curves_of_all_systems(quick, views, tmp_path, monkeypatch):
    drawn = {}
    closed_set = report.PROTOCOL_REPORTS["closed-set"]
    recorded = closed_set._replace(plot=lambda axes, curves, gallery_size: drawn.update(curves))
    monkeypatch.setitem(report.PROTOCOL_REPORTS, "closed-set", recorded)
    (tmp_path / "more").mkdir()
    again = save_views(tmp_path / "more" / "by hand.npz", views)
    paths = (*quick["embeddings"], str(again))
    results = evaluate("closed-set", quick, embeddings=paths, max_rank=7)
    assert list(drawn) == ["by hand", "by hand (2)"]
    for metrics in results:
        assert tuple(drawn[metrics.model]) == metrics.cmc


def reported_numbers(protocol, metrics):
    """The numbers that a report must show, as text."""
    if protocol == "closed-set":
        return [f"{100 * rate:.2f} %" for rate in (metrics.rank_1, metrics.rank_5, metrics.rank_10)]
    if protocol == "distractors":
        return [f"{100 * count.rank_1:.2f} %" for count in metrics.distractors]
    verification = metrics.verification
    rates = [metrics.rank_1, metrics.dir_at_far["0.1"], verification.tar_at_far["0.01"]]
    shown = [f"{100 * rate:.2f} %" for rate in rates]
    return [*shown, f"{verification.auc:.4f}", f"{verification.num_mismatched:,}", "too few"]


@pytest.fixture
def unequal_systems(quick, views, distractors, tmp_path):
    """Settings of two systems, of which one has an image less; among distractors of that one."""
    rng = np.random.default_rng(0)
    some = {k: v + rng.normal(0, 0.3, v.shape) for k, v in list(views.items())[:-1]}
    path = str(save_views(tmp_path / "some <b>.npz", some))
    images_folder = distractors["pairs"].replace("pairs.txt", "images")
    several = {**quick, "images": images_folder, "embeddings": (*quick["embeddings"], path)}
    alone = {**several, **distractors, "embeddings": (path,)}
    return {"closed-set": several, "open-set": several, "distractors": alone}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_report_shows_all_numbers_and_warnings(unequal_systems, tmp_path, protocol):
    results = evaluate(protocol, unequal_systems[protocol])
    page = (tmp_path / "out" / "report.html").read_text()
    sizes = [metrics.num_probes for metrics in results]
    for metrics in results:
        for text in reported_numbers(protocol, metrics):
            assert text in page, text
        assert f"{metrics.num_probes} probes" in page
    if protocol != "distractors":
        assert "some &lt;b&gt;: Missing images, left out: 1 no embedding" in page
        assert sizes[0] > sizes[1]


@pytest.mark.full
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_report_is_whole_in_a_browser(unequal_systems, tmp_path, protocol):
    results = evaluate(protocol, unequal_systems[protocol])
    page = tmp_path / "out" / "report.html"
    dom = browser.dump_dom(page)
    for metrics in results:
        for text in reported_numbers(protocol, metrics):
            assert text in dom, text
    loaded = "[...document.images].map(i => i.complete && i.naturalWidth > 300)"
    assert browser.evaluate(page, loaded, 900) == [True]
    for width in (400, 1200):
        wide = browser.evaluate(page, "document.documentElement.scrollWidth", width)
        assert wide <= width
