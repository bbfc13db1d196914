"""The fields of settings."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    choices: Sequence | None = None,
    rest: bool = False,
) -> Any:
    """Return a dataclass field with its help and choices on the command line.

    Args:
        default: The value without a flag; a field without one is a flag that must be set.
        help: The sentence that `--help` shows.
        choices: The values to choose from; None: any.
        rest: Bool. True if the field takes all words of the command line after a lone `--`.
    """
    metadata = {"help": help, "choices": choices, "rest": rest}
    return dataclasses.field(default=default, metadata=metadata)
