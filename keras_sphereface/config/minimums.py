"""Numbers of settings that are too small, refused before any work."""

import dataclasses
from typing import Any


def check_minimums(config: Any) -> None:
    """Refuse numbers below the `minimum` of their settings.

    Args:
        config: Settings, of a dataclass of `keras_sphereface.config`.

    Raises:
        ValueError: With the name of the setting, the minimum and what was received.

    Example:
        >>> from keras_sphereface.config.convert import FacesConfig
        >>> check_minimums(FacesConfig(out="faces", num_identities=0))
        Traceback (most recent call last):
        ValueError: `num_identities` must be at least 1. Received: num_identities=0
    """
    for field in dataclasses.fields(config):
        minimum, value = field.metadata["minimum"], getattr(config, field.name)
        is_tuple = isinstance(value, tuple)
        numbers = value if is_tuple else (value,)
        if minimum is not None and any(n is not None and n < minimum for n in numbers):
            raise ValueError(
                f"{'Each of ' if is_tuple else ''}`{field.name}` must be at least {minimum}. "
                f"Received: {field.name}={value}"
            )
