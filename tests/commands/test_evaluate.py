"""The command that verifies pairs."""

import pytest

from keras_sphereface.commands.evaluate import run_evaluate
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.evaluation.embeddings import save_embeddings
from tests.helpers.drawn_pairs import draw_embeddings, make_pairs


@pytest.fixture
def settings(tmp_path):
    """Saved embeddings and a list of pairs: nothing else is needed."""
    pairs = make_pairs(6)
    save_embeddings(draw_embeddings(6), tmp_path / "drawn.npz")
    rows = zip(pairs.first, pairs.second, pairs.is_same, pairs.folds, strict=True)
    lines = (f"{a} {b} {int(same)} {fold}" for a, b, same, fold in rows)
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return {
        "embeddings": (str(tmp_path / "drawn.npz"),),
        "pairs": (str(tmp_path / "list.txt"),),
        "out": str(tmp_path / "out"),
        "bootstrap": 10,
    }


@pytest.mark.slow
def test_the_results_are_printed(settings, capsys):
    run_evaluate(EvaluateConfig(**settings))
    output = capsys.readouterr().out
    assert "drawn on list: sphereface: " in output
    assert "criterion          it " in output
    assert output.endswith(f"written to {settings['out']}\n")
