"""Lines of text files with their numbers."""

import os
from collections.abc import Iterator


def numbered_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without white space around it) of a file's lines but the blank.

    Raises:
        ValueError: if the file is not UTF-8 text.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text. Received: {error}") from error
