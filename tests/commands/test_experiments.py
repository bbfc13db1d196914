"""The commands that run experiments."""

import pandas as pd
import pytest

from keras_sphereface.commands import compare_losses, margins, spheres
from keras_sphereface.config import CompareConfig, MarginFiguresConfig, SpheresConfig


@pytest.mark.parametrize(
    ("module", "function", "run", "config", "file"),
    [
        (spheres, "feature_spheres", spheres.run_spheres, SpheresConfig, "spheres.md"),
        (
            *(compare_losses, "compare_losses", compare_losses.run_compare_losses),
            *(CompareConfig, "losses.md"),
        ),
    ],
)
def test_the_report_is_printed(module, function, run, config, file, tmp_path, monkeypatch, capsys):
    def write(config):
        (tmp_path / file).write_text("the report", encoding="utf-8")

    monkeypatch.setattr(module, function, write)
    run(config(out=str(tmp_path)))
    assert capsys.readouterr().out == f"the report\nwritten to {tmp_path}\n"


def test_the_bounds_are_printed(monkeypatch, capsys):
    table = pd.DataFrame({"classes": [2], "numerical": [3.5]})
    monkeypatch.setattr(margins, "margin_figures", lambda config: table)
    margins.run_margins(MarginFiguresConfig(out="folder"))
    assert capsys.readouterr().out.split() == "classes numerical 2 3.5 written to folder".split()
