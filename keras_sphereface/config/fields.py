"""A field of a configuration."""

import dataclasses
from collections.abc import Sequence


def setting(
    default=dataclasses.MISSING,
    help: str = "",
    choices: Sequence | None = None,
    rest: bool = False,
):
    """A field of a configuration: its default, and what `--help` says of it.

    One with `rest` takes all words of the command line after a lone `--`.
    """
    metadata = {"help": help, "choices": choices, "rest": rest}
    return dataclasses.field(default=default, metadata=metadata)
