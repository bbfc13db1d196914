"""The fields of settings."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

# What stands for a path in help, by the kind of path.
PATH_WORDS = {
    "file": "FILE",
    "folder": "FOLDER",
    "input": "PATH",
    "output": "FOLDER",
    "output-file": "FILE",
}


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    choices: Sequence | Mapping | None = None,
    rest: bool = False,
    group: str = "",
    common: bool = False,
    aliases: Sequence[str] = (),
    path: str = "",
    other: str = "",
    minimum: int | None = None,
    words: Sequence[str] = (),
    origin: str = "",
) -> Any:
    """Return a dataclass field with what the command line shows and checks of it.

    Args:
        default: The value without a flag; a field without one is a flag that must be set.
        help: The sentence that `--help` shows.
        choices: The values to choose from, or {value: what it is}; None: any.
        rest: Bool. True if the field takes all words of the command line after a lone `--`.
        group: The heading that `--help-all` shows the flag under, for example "optimizer".
        common: Bool. True if plain `--help` shows the flag too.
        aliases: Other names of the flag, without dashes, for example ("lr",); files take them too.
        path: What the value names: "file", "folder" or "input" (either of the two), which must
            exist; "output", a folder to write; "output-file"; or "" for what is no path.
        other: What a value beside the choices looks like, for example "module:function"; such a
            value holds a colon. "": there are only the choices.
        minimum: Int. The smallest number allowed, of several each; None: any.
        words: Words that are allowed in place of a number, for example ("auto",).
        origin: A sentence on where the value comes from, for users who have none yet: errors end
            with it where the value is not given or does not exist.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "rest": rest,
        "group": group,
        "common": common,
        "aliases": tuple(aliases),
        "path": path,
        "other": other,
        "minimum": minimum,
        "words": tuple(words),
        "origin": origin,
    }
    return dataclasses.field(default=default, metadata=metadata)


def flag_of(name: str) -> str:
    """Return the flag of a setting.

    Example:
        >>> flag_of("batch_size")
        '--batch-size'
    """
    return "--" + name.replace("_", "-")


def usage_of(field: dataclasses.Field) -> str:
    """Return the flags of a setting and the kind of value that follows, as help shows them.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
        >>> usage_of(fields["learning_rate"]), usage_of(fields["jit"])
        ('--learning-rate, --lr X', '--jit / --no-jit')
    """
    if field.metadata["rest"]:
        return "-- WORD ..."
    flags = [flag_of(name) for name in (field.name, *field.metadata["aliases"])]
    if field.type is bool:
        return " / ".join([*flags, f"--no-{flags[0][2:]}"])
    kind, several = type_of(field)
    words = {int: "N", float: "X", str: "NAME" if field.metadata["choices"] else "TEXT"}
    word = PATH_WORDS.get(field.metadata["path"], words[kind])
    word = "|".join([word, *field.metadata["words"]])
    return f"{', '.join(flags)} {word}{' ...' if several else ''}"


def has_no_default(field: dataclasses.Field) -> bool:
    """Return whether a setting must be given."""
    return field.default is dataclasses.MISSING


def type_of(field: dataclasses.Field) -> tuple[type, bool]:
    """Return the type of a value, and whether the field is a tuple of such values."""
    # The first argument of `tuple[int, ...]` and of `int | None` is the type.
    kind = (typing.get_args(field.type) or (field.type,))[0]
    return kind, typing.get_origin(field.type) is tuple


def names_of_settings(config_class: type) -> dict[str, str]:
    """Return {name: setting} of all names that files and flags may use, with underscores.

    Names of earlier versions (`renamed` of the class) are not among them: only files take those.
    """
    return {
        name.replace("-", "_"): field.name
        for field in dataclasses.fields(config_class)
        for name in (field.name, *field.metadata["aliases"])
    }
