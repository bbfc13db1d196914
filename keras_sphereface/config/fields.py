"""The fields of settings."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    choices: Sequence | None = None,
    rest: bool = False,
    group: str = "",
    common: bool = False,
    aliases: Sequence[str] = (),
    path: str = "",
) -> Any:
    """Return a dataclass field with what the command line shows and checks of it.

    Args:
        default: The value without a flag; a field without one is a flag that must be set.
        help: The sentence that `--help` shows.
        choices: The values to choose from; None: any.
        rest: Bool. True if the field takes all words of the command line after a lone `--`.
        group: The heading that `--help-all` shows the flag under, for example "optimizer".
        common: Bool. True if plain `--help` shows the flag too.
        aliases: Other names of the flag, without dashes, for example ("lr",); files take them too.
        path: What the value names: "file", "folder" or "input" (either of the two), which must
            exist; "output", a folder to write; "output-file"; or "" for what is no path.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "rest": rest,
        "group": group,
        "common": common,
        "aliases": tuple(aliases),
        "path": path,
    }
    return dataclasses.field(default=default, metadata=metadata)
