import pytest

from keras_sphereface.reporting.markdown import markdown_table


def test_cells_are_written_by_str_in_their_order():
    text = markdown_table(["loss", "m"], ([name, m] for name, m in [("a", 1), ("b", 0.5)]))
    assert text == "| loss | m |\n|---|---|\n| a | 1 |\n| b | 0.5 |\n"


def test_a_table_without_rows_has_its_header():
    assert markdown_table(["a", "b"], []) == "| a | b |\n|---|---|\n"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"must have 2 cells.* Received: \['x'\]"):
        markdown_table(["a", "b"], [["x", "y"], ["x"]])
