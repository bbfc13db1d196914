"""Values of settings, from the words of a command line or from a file."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from keras_sphereface.config.fields import flag_of, type_of, usage_of
from keras_sphereface.config.suggestions import did_you_mean, with_hint

ALLOWED = {
    int: "an int",
    float: "a number",
    bool: "true or false",
    str: "a string (a number must be quoted)",
}


def value_of_words(field: dataclasses.Field, words: Sequence[str]) -> Any:
    """Return the value that the words after a flag stand for.

    Raises:
        ValueError: If there is no word, or one of a wrong type or not among the choices.

    Example:
        >>> from keras_sphereface.config import SpheresConfig
        >>> fields = {field.name: field for field in dataclasses.fields(SpheresConfig)}
        >>> value_of_words(fields["m"], ["1", "4"])
        (1, 4)
    """
    kind, several = type_of(field)
    flag = flag_of(field.name)
    if not words:
        raise ValueError(f"`{flag}` needs a value, as in `{usage_of(field)}`. Received: nothing")
    if len(words) > 1 and not several:
        raise ValueError(f"`{flag}` takes one value. Received: {' '.join(words)}")
    items = []
    for word in words:
        if word in field.metadata["words"]:
            items.append(word)
            continue
        try:
            items.append(kind(word))
        except ValueError:
            raise ValueError(f"`{flag}` must be {_requirement(field)}. Received: {word}") from None
        if not _is_choice(field, items[-1]):
            message = f"`{flag}` must be {_requirement(field)}. Received: {word}"
            raise ValueError(with_hint(message, _nearest_choice(field, word)))
    return tuple(items) if several else items[0]


def value_in_file(field: dataclasses.Field, value: Any) -> Any:
    """Return a value of a file as the field holds it: only a float may be of another type.

    Raises:
        ValueError: If the value is of a wrong type, or not among the choices.
    """
    kind, several = type_of(field)
    optional = type(None) in typing.get_args(field.type)
    if optional and value is None:
        return None
    try:
        items = [
            item if item in field.metadata["words"] else _as_type(kind, item)
            for item in (_as_type(list, value) if several else [value])
        ]
        if not all(_is_choice(field, item) for item in items):
            raise ValueError
    except (ValueError, OverflowError):
        message = (
            f"`{field.name}` must be {'a list, each item ' if several else ''}"
            f"{_requirement(field)}{', or null' if optional else ''}. "
            f"Received: {field.name}={value!r}"
        )
        raise ValueError(with_hint(message, _nearest_choice(field, value))) from None
    return tuple(items) if several else items[0]


def _requirement(field: dataclasses.Field) -> str:
    if not (choices := field.metadata["choices"]):
        return " or ".join([ALLOWED[type_of(field)[0]], *field.metadata["words"]])
    other = field.metadata["other"]
    return f"one of {', '.join(map(str, choices))}{f', or {other}' if other else ''}"


def _is_choice(field: dataclasses.Field, value: Any) -> bool:
    choices = field.metadata["choices"]
    return not choices or value in choices or bool(field.metadata["other"] and ":" in value)


def _nearest_choice(field: dataclasses.Field, value: Any) -> str:
    """The question whether a choice near to a wrong value, or to an item of it, was meant."""
    choices = list(map(str, field.metadata["choices"] or ()))
    items = value if isinstance(value, list) else [value]
    hints = (did_you_mean(str(item), choices) for item in items if item not in choices)
    return next(filter(None, hints), "")


def _as_type(kind: type, value: Any) -> Any:
    """The value if it is of the type; a float may also be written as an int or a string."""
    # YAML 1.1 takes 1e-3 for a string.
    if kind is float and type(value) in (int, str):
        value = float(value)
    # Not isinstance: true is no int.
    if type(value) is not kind:
        raise ValueError
    return value
