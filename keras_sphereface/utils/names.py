"""Names told apart."""

from collections.abc import Iterable


def distinct(names: Iterable[str], numbered: str = "{} ({})") -> list[str]:
    """The names, a repeated one with a number: `a`, `a (2)`."""
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = numbered.format(name, number)
        found.append(unique)
    return found
