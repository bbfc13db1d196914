"""The documents for users, and the code blocks in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

README = ROOT / "README.md"
# What holds code for users to run.
GUIDES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]*?) -->\n+)?"
    r"^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Block(NamedTuple):
    """A block of code, and the reason why the tests do not run it, if there is one."""

    language: str
    text: str
    reason: str | None


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a document in their order."""
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.M)) == 2 * len(BLOCK.findall(text)), path
    return [Block(one["language"], one["text"], one["reason"]) for one in BLOCK.finditer(text)]


def commands(block: str) -> Iterator[list[str]]:
    """The commands of a shell block, continued lines joined, comments left out."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def name_of(path: Path) -> str:
    """The name of a document in reports of tests."""
    return str(path.relative_to(ROOT))
