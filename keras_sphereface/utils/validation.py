"""Checks of arguments. Each raises with what is wrong, what is allowed and what was received."""

import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_integer(value: int, name: str, minimum: int) -> int:
    """Return `value` as an int if it is a whole number >= `minimum`.

    Raises:
        TypeError, ValueError: If it is not.
    """
    message = f"`{name}` must be an int >= {minimum}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message)
    if value < minimum:
        raise ValueError(message)
    return int(value)


def check_real(value: float, name: str, low: float, high: float = math.inf) -> float:
    """Return `value` as a float if it is finite and in [low, high].

    Raises:
        TypeError, ValueError: If it is not.
    """
    allowed = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    message = f"`{name}` must be a finite number {allowed}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message)
    if not (low <= float(value) <= high and math.isfinite(value)):
        raise ValueError(message)
    return float(value)


def check_choice(value: str, name: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Raises:
        ValueError: If it is not.
    """
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value!r}"
        )
    return value


def refuse_auto_scale(scale: float, head: str) -> float:
    """Return the scale of a head for whose loss "auto" was not derived, if it is a number.

    Raises:
        ValueError: If it is "auto".
    """
    require(
        scale != "auto",
        f"`scale` must be a number in {head}: sqrt(2) ln(C - 1) is derived for a softmax of "
        "s cos(theta).",
        scale=scale,
    )
    return scale


def require(condition: bool, rule: str, **received: Any) -> None:
    """Raise a ValueError with the rule and the received arguments unless the condition holds.

    Example:

    >>> require(2 <= 1, "`low` must be <= `high`.", low=2, high=1)
    Traceback (most recent call last):
        ...
    ValueError: `low` must be <= `high`. Received: low=2, high=1
    """
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{rule} Received: {values}")
