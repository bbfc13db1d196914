"""Checks of arguments: what is wrong, what is allowed, what was received."""

import math
import numbers

pass


def check_integer(value: int, name: str, minimum: int) -> int:
    """Return `value` as an int if it is a whole number >= `minimum`; raise otherwise."""
    message = f"`{name}` must be an int >= {minimum}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message)
    if value < minimum:
        raise ValueError(message)
    return int(value)


def check_real(value: float, name: str, low: float, high: float = math.inf) -> float:
    """Return `value` as a float if it is finite and in [low, high]; raise otherwise."""
    allowed = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    message = f"`{name}` must be a finite number {allowed}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message)
    if not (low <= float(value) <= high and math.isfinite(value)):
        raise ValueError(message)
    return float(value)


def check_choice(value: str, name: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`; raise otherwise."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value!r}"
        )
    return value
