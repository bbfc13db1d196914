"""Names made unique by a number."""

from collections.abc import Iterable


def distinct(names: Iterable[str], numbered: str = "{} ({})") -> list[str]:
    """Return the names, each repeated one with a number: `a`, `a (2)`."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique:
            number += 1
            candidate = numbered.format(name, number)
        unique.append(candidate)
    return unique
