import pytest

from keras_sphereface.utils.tables import StepTable


@pytest.mark.parametrize("end", ["3,0.25", "3,", "3"])
def test_a_table_continues_after_a_step_and_redoes_later_rows(tmp_path, end):
    path = tmp_path / "deep" / "log.csv"
    table = StepTable(path, ("step", "loss"), 0)
    table.add({"step": 1, "loss": 1 / 3, "other": 5})
    table.add({"step": 2, "loss": 2.0})
    with open(path, "a") as file:
        file.write(end)  # perhaps cut short by a kill
    StepTable(path, ("step", "loss"), 2).add({"step": 3, "loss": 0.5})
    assert path.read_text().splitlines() == ["step,loss", "1,0.333333", "2,2", "3,0.5"]
    StepTable(path, ("step", "loss"), 1)
    assert path.read_text().splitlines() == ["step,loss", "1,0.333333"]
