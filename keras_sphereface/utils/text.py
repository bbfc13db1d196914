"""Lines of text files with their numbers, and times and counts in words."""

import codecs
import os
from collections.abc import Iterator


def numbered_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without white space around it) of a file's lines but the blank.

    Raises:
        ValueError: if the file is neither UTF-8 text, nor UTF-16 with a byte order mark.
    """
    with open(path, encoding=encoding_of(path)) as file:
        try:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
        except UnicodeError as error:
            raise ValueError(f"{path} is not UTF-8 text. Received: {error}") from error


def encoding_of(path: str | os.PathLike) -> str:
    """Return the encoding of a text file: UTF-16 if it begins with its mark, else UTF-8."""
    with open(path, "rb") as file:
        return encoding_of_head(file.read(2))


def encoding_of_head(head: bytes) -> str:
    """Return the encoding of a text that begins with these bytes.

    Example:
        >>> encoding_of_head("a".encode("utf-16")), encoding_of_head(b"a")
        ('utf-16', 'utf-8-sig')
    """
    is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if is_utf16 else "utf-8-sig"


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> [duration(seconds) for seconds in (40, 80, 720, 11_520, 400_000)]
        ['40 s', '1 min 20 s', '12 min', '3 h 12 min', '4 d 15 h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun, in the singular or the plural.

    Args:
        count: The number.
        one: What there is one of.
        several: What there are several of; by default the regular plural of `one`.

    Example:
        >>> counted(1, "shard"), counted(2_000, "image"), counted(0, "identity")
        ('1 shard', '2,000 images', '0 identities')
        >>> counted(1, "image was", "images were")
        '1 image was'
    """
    return f"{count:,} {one if count == 1 else several or _plural(one)}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "ch", "x")):
        return f"{noun}es"
    is_regular = not noun.endswith("y") or noun.endswith(("ay", "ey", "oy"))
    return f"{noun}s" if is_regular else f"{noun[:-1]}ies"
