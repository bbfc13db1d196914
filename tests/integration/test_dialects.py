"""The tables of docs/dialects.md are what the commands do."""

import pytest

pytest.importorskip("apache_beam")

from tests.helpers import dialect_table


@pytest.mark.slow
def test_the_tables_of_dialects_are_what_commands_do(tmp_path):
    text = dialect_table.DOCUMENT.read_text(encoding="utf-8")
    assert dialect_table.document(tmp_path) == text, "run python -m tests.helpers.dialect_table"
