"""The text that `--help` and `--help-all` print."""

import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from keras_sphereface.config.fields import has_no_default, type_of, usage_of
from keras_sphereface.config.general_flags import GENERAL_FLAGS

LARGEST_WIDTH = 100  # characters; longer lines are hard to read
NO_BREAK = "\u00a0"  # a space at which no line is wrapped
INDENT = 22  # characters before the sentence of a flag
CHOICE_INDENT = 4  # characters before a choice that has a line of its own


def help_text(
    config_class: type,
    prog: str,
    example: str = "",
    settings: Mapping[str, Any] | None = None,
    everything: bool = False,
) -> str:
    """Return what a command does, a real example, and its flags.

    Args:
        config_class: A dataclass of `keras_sphereface.config`.
        prog: The command, for example "sphereface train".
        example: Flags of a command that runs.
        settings: {name: value} of a file, shown in place of the defaults.
        everything: Bool. True for all flags, in groups; False for the common ones, if any is.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> help_text(TrainConfig, "sphereface train").splitlines()[0]
        'usage: sphereface train [FLAGS]'
    """
    fields = dataclasses.fields(config_class)
    shortened = not everything and any(field.metadata["common"] for field in fields)
    if shortened:
        groups = {"common flags": [field for field in fields if _is_common(field)]}
    else:
        groups = _groups(fields)
    words = _positional_words(config_class, fields)
    parts = [" ".join(["usage:", prog, *words, "[FLAGS]"]), _description(config_class)]
    if example:
        lines = textwrap.wrap(f"{prog} {example}", _width() - 4, break_on_hyphens=False)
        parts.append("example:\n  " + " \\\n      ".join(lines))
    for title, members in groups.items():
        entries = {usage_of(f): _sentences(f, settings or {}, shortened) for f in members}
        parts.append(_listed(title, entries))
    parts.append(_listed("general", GENERAL_FLAGS))
    if shortened:
        parts.append(f"`{prog} --help-all` lists all {len(fields) + len(GENERAL_FLAGS)} flags.")
    return "\n\n".join(parts) + "\n"


def commands_text(commands: Mapping[str, type], prog: str) -> str:
    """Return the names of commands, each with the first sentence of its class.

    Example:
        >>> from keras_sphereface.config import MarginFiguresConfig
        >>> print(commands_text({"margins": MarginFiguresConfig}, "sphereface"))
        usage: sphereface COMMAND [FLAGS]
        <BLANKLINE>
        commands:
          margins             Draw the geometry of the loss: psi, boundaries, bounds
                              of m, annealing, target logits.
        <BLANKLINE>
        `sphereface COMMAND --help` shows the flags of a command.
        <BLANKLINE>
    """
    entries = {name: (inspect.getdoc(c) or "").splitlines()[0] for name, c in commands.items()}
    return (
        f"usage: {prog} COMMAND [FLAGS]\n\n{_listed('commands', entries)}\n\n"
        f"`{prog} COMMAND --help` shows the flags of a command.\n"
    )


def _positional_words(config_class: type, fields: Iterable[dataclasses.Field]) -> list[str]:
    """The settings that may stand without their flags; "IMAGE ..." for `images`."""
    several = {field.name: type_of(field)[1] for field in fields}
    return [
        f"{name.upper().removesuffix('S')} ..." if several[name] else name.upper()
        for name in getattr(config_class, "positional", ())
    ]


def _is_common(field: dataclasses.Field) -> bool:
    return field.metadata["common"] or has_no_default(field)


def _groups(fields: Iterable[dataclasses.Field]) -> dict[str, list[dataclasses.Field]]:
    """{title: fields}, in the order in which groups and fields stand in the class."""
    groups: dict[str, list[dataclasses.Field]] = {}
    for field in fields:
        groups.setdefault(field.metadata["group"] or "flags", []).append(field)
    return groups


def _description(config_class: type) -> str:
    """The docstring of the class without its example, each paragraph wrapped."""
    text = (inspect.getdoc(config_class) or "").partition("Example:")[0].strip()
    return "\n\n".join(textwrap.fill(paragraph, _width()) for paragraph in text.split("\n\n"))


def _sentences(field: dataclasses.Field, settings: Mapping[str, Any], short: bool) -> str:
    """The help of a field, its default, and the choices that the help does not name.

    Choices with a description of each are a table, on lines of their own.
    """
    text, choices = field.metadata["help"], field.metadata["choices"] or ()
    table = ""
    if isinstance(choices, Mapping) and not short:
        table = "\n" + _table(choices)
    if short:
        text = text.partition(". ")[0].rstrip(".") + "."
    if not table and not all(str(choice) in text for choice in choices):
        text += f" One of {', '.join(map(str, choices))}."
    return f"{text} {_default_words(field, settings)}".rstrip() + table


def _table(choices: Mapping[str, str]) -> str:
    """A line for each choice: its name, and beside it what it is."""
    column = CHOICE_INDENT + max(map(len, choices)) + 2
    return "\n".join(
        textwrap.fill(
            what,
            max(_width(), column + 20),
            initial_indent=(" " * CHOICE_INDENT + name).ljust(column),
            subsequent_indent=" " * column,
        )
        for name, what in choices.items()
    )


def _default_words(field: dataclasses.Field, settings: Mapping[str, Any]) -> str:
    """What holds without the flag, where that says something."""
    if has_no_default(field) and field.name not in settings:
        return "(required)"
    value = settings.get(field.name, field.default)
    if value is None or value == "" or value == () or value is False:
        return ""
    if value is True:
        return "(default: on)"
    if isinstance(value, tuple):
        is_all = value == tuple(field.metadata["choices"] or ())
        return f"(default: {'all' if is_all else ' '.join(map(str, value))})"
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"(default:{NO_BREAK}{shown})"


def _width() -> int:
    return min(shutil.get_terminal_size().columns, LARGEST_WIDTH)


def _listed(title: str, entries: Mapping[str, str]) -> str:
    """A title, and below it {flag: sentence} in two columns."""
    return "\n".join([f"{title}:", *(_wrapped(*entry) for entry in entries.items())])


def _wrapped(flag: str, sentence: str) -> str:
    """A flag, and beside it its sentence, or below if the flag is long; a table follows."""
    sentence, line_end, table = sentence.partition("\n")
    lead, indent = f"  {flag}", " " * INDENT
    starts_beside = len(lead) <= INDENT - 2
    text = textwrap.fill(
        sentence,
        max(_width(), INDENT + 20),
        initial_indent=lead.ljust(INDENT) if starts_beside else indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    text = text.replace(NO_BREAK, " ") + line_end + table
    return text if starts_beside else f"{lead}\n{text}"
