"""Settings from command lines."""

import argparse
import dataclasses
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from keras_sphereface.config.fields import flag_of, has_no_default, names_of_settings, type_of
from keras_sphereface.config.general_flags import GENERAL_FLAGS
from keras_sphereface.config.minimums import check_minimums
from keras_sphereface.config.paths import KINDS, check_paths
from keras_sphereface.config.rules import check_columns
from keras_sphereface.config.settings_files import read_settings, yaml_of
from keras_sphereface.config.suggestions import did_you_mean, nearest, with_hint
from keras_sphereface.config.values import value_of_words

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

# Names of the flags of every command, with underscores.
GENERAL = [re.sub(r".*--| .*", "", flag).replace("-", "_") for flag in GENERAL_FLAGS]


def usage_error(message: str) -> NoReturn:
    """End the program as a wrong command line does: the message on standard error, exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def parse_command(
    commands: Mapping[str, type[Config]],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
) -> tuple[str, Config]:
    """Parse a command line that begins with the name of a command.

    Args:
        commands: {name: class of its settings}.
        argv: The words; those of the process if None.
        prog: What a user types before these words, for messages; None: "sphereface".

    Returns:
        The name, and the settings that the other words make.

    Raises:
        SystemExit: As `parse_config`, and with code 2 if there is no such command.

    Example:
        >>> from keras_sphereface.config import MarginFiguresConfig
        >>> words = ["margins", "--out", "runs", "--m", "3"]
        >>> parse_command({"margins": MarginFiguresConfig}, words)
        ('margins', MarginFiguresConfig(out='runs', m=3, angle=60.0))
    """
    prog = prog or "sphereface"
    command, *words = list(sys.argv[1:] if argv is None else argv) or [""]
    if command in ("-h", "--help", "--help-all"):
        # Only now, as all that only some command lines need.
        from keras_sphereface.config.help_text import commands_text

        _print_and_end(commands_text(commands, prog))
    if command not in commands:
        message = (
            f"`{prog}` must be followed by one of {', '.join(commands)}. "
            f"Received: {command or 'nothing'}"
        )
        hint = did_you_mean(command, commands) or f"`{prog} --help` describes them."
        usage_error(with_hint(message, hint))
    return command, parse_config(commands[command], words, f"{prog} {command}")


def parse_config(
    config_class: type[Config],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    example: str = "",
) -> Config:
    """Build settings from the command line: one `--flag` a field, and `--config FILE`.

    A flag wins over the file, and the file over the defaults. Unknown and abbreviated flags
    fail, and so do values of a wrong type and paths that do not exist. `--help`, `--help-all`
    and `--print-config` print and end.

    Args:
        config_class: A dataclass of `keras_sphereface.config`.
        argv: The words; those of the process if None.
        prog: What a user types before these words, for messages, for example "sphereface train";
            None: "sphereface".
        example: Flags of a real command, which the help shows; "": those of the class.

    Raises:
        SystemExit: With code 2 and a message on standard error, if a flag or value is wrong;
            with code 0 after help.
        ValueError: If a number is below the smallest that is allowed, or columns are named without
            the file that has them.
        OSError: If a path does not exist, is of the wrong kind or cannot be written.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> parse_config(TrainConfig, ["--m", "3", "--lr", "0.05"]).learning_rate
        0.05
    """
    prog = prog or "sphereface"
    words = list(sys.argv[1:] if argv is None else argv)
    rest = [field.name for field in dataclasses.fields(config_class) if field.metadata["rest"]]
    words = _with_flags(config_class, words, prog)
    end = words.index("--") if rest and "--" in words else len(words)
    given = _words_by_name(config_class, words[:end], prog)
    try:
        settings = _settings_of_file(config_class, given)
        if "help" in given or "help_all" in given:
            from keras_sphereface.config.help_text import help_text

            example = example or getattr(config_class, "example", "")
            everything = "help_all" in given
            _print_and_end(help_text(config_class, prog, example, settings, everything))
        settings |= _settings_of_flags(config_class, given)
    except ValueError as error:
        usage_error(str(error))
    if end < len(words):
        settings |= {name: tuple(words[end + 1 :]) for name in rest}
    _require_all(config_class, settings, prog)
    config = config_class(**settings)
    if "print_config" in given:
        _print_and_end(yaml_of(config))
    check_minimums(config)
    check_columns(config)
    check_paths(config)
    return config


def _with_flags(config_class: type, words: list[str], prog: str) -> list[str]:
    """The words with a flag before each of those at the beginning that may stand without.

    If the last of them takes several values, all that are left are its.
    """
    names: Sequence[str] = getattr(config_class, "positional", ())
    bare = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    if not names:
        return words
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    several = type_of(fields[names[-1]])[1]
    if len(bare) > len(names) and not several:
        usage_error(f"`{prog}` takes {len(names)} words without a flag. Received: {' '.join(bare)}")
    single = len(names) - several
    flagged = [(flag_of(name), word) for name, word in zip(names[:single], bare, strict=False)]
    left = [flag_of(names[-1]), *bare[single:]] if len(bare) > single else []
    return [*itertools.chain.from_iterable(flagged), *left, *words[len(bare) :]]


def _print_and_end(text: str) -> NoReturn:
    print(text, end="")
    raise SystemExit(0)


def _words_by_name(config_class: type, words: Sequence[str], prog: str) -> dict[str, Any]:
    """{setting or general flag: the words after it; of a switch True or False}."""
    parser = _parser(config_class)
    try:
        known, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        # All other mistakes are left for us to find; these are of `--overwrite=3`.
        usage_error(
            f"`{error.argument_name}` is a switch and takes no value. "
            f"`{prog} --help-all` lists all flags."
        )
    given = vars(known)
    if unknown and not given.keys() & {"help", "help_all"}:
        usage_error(_unknown_words(config_class, unknown, prog))
    return given


def _parser(config_class: type) -> argparse.ArgumentParser:
    """A parser that only tells flags from their words; what they mean is not its concern."""
    parser = argparse.ArgumentParser(
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--help-all", action="store_true")
    parser.add_argument("--print-config", action="store_true")
    parser.add_argument("--config", nargs="*")
    for field in dataclasses.fields(config_class):
        flags = [flag_of(name) for name in (field.name, *field.metadata["aliases"])]
        if field.metadata["rest"]:
            continue
        if field.type is bool:
            parser.add_argument(*flags, dest=field.name, action="store_true")
            negated = [f"--no-{flag[2:]}" for flag in flags]
            parser.add_argument(*negated, dest=field.name, action="store_false")
        else:
            parser.add_argument(*flags, dest=field.name, nargs="*")
    return parser


def _unknown_words(config_class: type, words: Sequence[str], prog: str) -> str:
    """What is wrong with words that belong to no flag, and which flag was probably meant."""
    unknown = next((word for word in words if word.startswith("-")), words[0])
    if unknown == "--":
        return f"`{prog}` takes no words after a lone `--`. Received: {' '.join(words)}"
    flags = _flags_by_name(config_class)
    near = nearest(unknown.partition("=")[0].strip("-").replace("_", "-"), flags)
    wrong = f"there is no flag `{unknown}`."
    if not unknown.startswith("-"):
        wrong = f"a value must follow its flag{_first_path(config_class, unknown)}."
        wrong += f" Received: {unknown}."
    hint = f"Did you mean `{flags[near]}`?" if near else ""
    return " ".join(filter(None, [wrong, hint, f"`{prog} --help-all` lists all flags."]))


def _first_path(config_class: type, word: str) -> str:
    """What a word without a flag most often is: the first thing that the command reads."""
    fields = dataclasses.fields(config_class)
    flags = [flag_of(field.name) for field in fields if field.metadata["path"] in KINDS]
    return f", as in `{flags[0]} {word}`" if flags else ""


def _flags_by_name(config_class: type) -> dict[str, str]:
    """{name that a user may have in mind, without dashes: its flag}."""
    earlier: Mapping[str, str] = getattr(config_class, "renamed", {})
    names = {name: name for name in (*GENERAL, *names_of_settings(config_class))}
    names |= {
        f"no_{field.name}": f"no_{field.name}"
        for field in dataclasses.fields(config_class)
        if field.type is bool
    }
    meant = {**getattr(config_class, "synonyms", {}), **earlier, **names}
    return {flag_of(name)[2:]: flag_of(setting) for name, setting in meant.items()}


def _settings_of_file(config_class: type[Config], given: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of the file that `--config` names; empty without the flag."""
    if "config" not in given:
        return {}
    if len(given["config"]) != 1:
        raise ValueError(
            "`--config` needs one file of settings. "
            f"Received: {' '.join(given['config']) or 'nothing'}"
        )
    return read_settings(config_class, given["config"][0])


def _settings_of_flags(config_class: type[Config], given: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of the flags that were given."""
    return {
        field.name: given[field.name]
        if field.type is bool
        else value_of_words(field, given[field.name])
        for field in dataclasses.fields(config_class)
        if field.name in given
    }


def _require_all(config_class: type[Config], settings: Mapping[str, Any], prog: str) -> None:
    missing = [
        field
        for field in dataclasses.fields(config_class)
        if has_no_default(field) and field.name not in settings
    ]
    if missing:
        flags = " and ".join(f"`{flag_of(field.name)}`" for field in missing)
        origins = [field.metadata["origin"] for field in missing if field.metadata["origin"]]
        usage_error(
            " ".join([f"{flags} must be given. `{prog} --help` shows an example.", *origins])
        )
