"""Tables as Markdown."""

import doctest

import pytest

from keras_sphereface.reporting import markdown


def test_the_examples_run():
    assert doctest.testmod(markdown).failed == 0


def test_a_row_has_as_many_cells_as_the_header():
    with pytest.raises(ValueError, match=r"must have 2 cells.*Received: \['a'\]"):
        markdown.markdown_table(["one", "two"], [["a"]])


def test_a_table_may_be_empty():
    assert markdown.markdown_table(["one", "two"], []) == "| one | two |\n|---|---|\n"
