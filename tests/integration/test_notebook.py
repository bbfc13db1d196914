"""The notebook: what is stored is clean, and it runs from end to end in a fresh kernel."""

import json
import re
import time

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples" / "sphereface_tour.ipynb"
CELLS = 12
MOST_SECONDS = 600
MOST_BYTES = 700_000


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(cell) -> str:
    """The text that the code cell wrote and showed, without standard error."""
    texts = []
    for output in cell["outputs"]:
        if output.get("name") == "stderr":
            continue
        data = output.get("data", {})
        for part in (output.get("text"), data.get("text/markdown"), data.get("text/plain")):
            texts.append("".join(part or ""))
    return "\n".join(texts)


def training_angles(notebook) -> dict[str, float]:
    """{"m = 1": degrees, ...} of the table of numbers, as a reader sees it."""
    text = "\n".join(text_of(cell) for cell in code_cells(notebook))
    losses = re.search(r"^\| 2-D.*?\| (.*) \|$", text, re.M).group(1).split(" | ")
    angles = re.search(r"^\| same, training \| (.*) \|$", text, re.M).group(1).split(" | ")
    return {loss: float(angle.rstrip("°")) for loss, angle in zip(losses, angles, strict=True)}


def accuracy_on_others(notebook) -> float:
    """The percentage of pairs of new people that the last network decides correctly."""
    return float(re.search(r"^([\d.]+)% of 600 pairs", text_of(code_cells(notebook)[-2]), re.M)[1])


def answers(notebook) -> list[str]:
    """The answers of the last cell, for a pair of one person and one of two."""
    return re.findall(r"^\w+ persons?", text_of(code_cells(notebook)[-1]), re.M)


@pytest.fixture(scope="module")
def stored():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_code_cells_each_with_a_heading_before_it(stored):
    kinds = [cell["cell_type"] for cell in stored["cells"]]
    assert kinds == ["markdown", *["markdown", "code"] * CELLS, "markdown"]
    headings = ["".join(cell["source"]).splitlines()[0] for cell in stored["cells"][1:-1:2]]
    numbers = [re.match(r"## (\d+)\. \S", heading).group(1) for heading in headings]
    assert numbers == [str(i) for i in range(1, CELLS + 1)]


def test_stored_outputs_are_complete_and_of_one_run(stored):
    cells = code_cells(stored)
    assert [cell["execution_count"] for cell in cells] == list(range(1, CELLS + 1))
    assert all(cell["outputs"] for cell in cells)
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"display_data", "execute_result", "stream"}
    angles = training_angles(stored)
    assert angles["m = 4"] < angles["m = 1"]
    assert accuracy_on_others(stored) > 90
    assert answers(stored) == ["One person", "Two persons"]


def test_stored_notebook_is_clean(stored):
    streams = {output.get("name") for cell in code_cells(stored) for output in cell["outputs"]}
    assert streams <= {None, "stdout"}
    assert all(cell["metadata"] == {} for cell in stored["cells"])
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    texts = ["".join(cell["source"]) for cell in stored["cells"]]
    texts += [text_of(cell) for cell in code_cells(stored)]
    path = re.compile(r"/(root|work|home|tmp|Users|opt|var)\b|[A-Z]:\\")
    assert [match.group() for text in texts for match in path.finditer(text)] == []


def test_stored_notebook_is_small():
    assert NOTEBOOK.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_notebook_runs_and_the_margin_narrows_identities(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        cell["outputs"] = []
    client = NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    start = time.monotonic()
    client.execute()  # a cell with an error raises it
    assert time.monotonic() - start < MOST_SECONDS
    assert len(code_cells(notebook)) == CELLS
    angles = training_angles(notebook)
    assert angles["m = 4"] < angles["m = 1"]
    # The other pairs are half: a network that has learned nothing is at 50.
    assert accuracy_on_others(notebook) > 85
    assert answers(notebook) == ["One person", "Two persons"]
