"""The description that package indexes show; everything else stands in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
# Images and links to files of the repository; in the README a caption in italics follows an image.
IMAGE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)]+)\)(\s*\*[^*]+\*\n)?")
# An image with a dark version; the light one, which shows on every page, is the last.
PICTURE = re.compile(r'<picture>.*?<img src="([^"]+)" alt="([^"]*)">\s*</picture>', re.DOTALL)
# An interval such as [-1, 1) opens no link; an image may be one.
LINK = re.compile(r"(?<![\w!])\[((?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\((?![\w]+:|#)([^)]+)\)")


def repository(pyproject: str) -> str:
    """Return the address under `Repository` in [project.urls], or "" as long as there is none."""
    found = re.search(r'^Repository = "(.+?)/?"$', pyproject, re.MULTILINE)
    return found[1] if found else ""


def description(readme: str, address: str) -> str:
    """Return the README for pages elsewhere, on which relative links lead nowhere.

    They become absolute. Without an address of the repository, images and their captions are left
    out, and of links the text remains.
    """
    readme = PICTURE.sub(r"![\2](\1)", readme)
    if not address:
        return LINK.sub(r"\1", IMAGE.sub("", readme))
    readme = IMAGE.sub(rf"![\1]({address}/raw/HEAD/\2)\3", readme)
    return LINK.sub(rf"[\1]({address}/blob/HEAD/\2)", readme)


if __name__ == "__main__":
    address = repository((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setup(
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8"), address),
        long_description_content_type="text/markdown",
    )
