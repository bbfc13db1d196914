"""Settings from command lines and from files: YAML, TOML, JSON."""

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

YAML_SUFFIXES = (".yaml", ".yml")
SUFFIXES = (*YAML_SUFFIXES, ".json", ".toml")
ALLOWED = {
    int: "an int",
    float: "a number",
    bool: "true or false",
    str: "a string (a number must be quoted)",
}


class _PairsLoader(yaml.SafeLoader):
    """YAML whose mappings become tuples of pairs, in which a name may stand twice."""

    def construct_tuple(self, node: yaml.MappingNode) -> tuple:
        return tuple(self.construct_pairs(node, deep=True))


_PairsLoader.add_constructor("tag:yaml.org,2002:map", _PairsLoader.construct_tuple)


@contextlib.contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """End the program with one sentence, not a traceback, for errors that users can mend.

    Example:
        >>> with errors_in_one_sentence():
        ...     raise FileNotFoundError("`images` must be a folder. Received: nowhere")
        Traceback (most recent call last):
        SystemExit: error: `images` must be a folder. Received: nowhere
    """
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return "Did you mean `x`?" with the nearest of `words`; "" if none is near.

    Example:
        >>> did_you_mean("evalute", ["train", "evaluate"])
        'Did you mean `evaluate`?'
        >>> did_you_mean("zip", ["train", "evaluate"])
        ''
    """
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"Did you mean `{near[0]}`?" if near else ""


def parse_command(
    commands: Mapping[str, type[Config]],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
) -> tuple[str, Config]:
    """Parse a command line that begins with the name of a command.

    Args:
        commands: {name: class of its settings}.
        argv: The words; those of the process if None.
        prog: What a user types before these words, for messages; None: the script's name.

    Returns:
        The name, and the settings that the other words make.

    Raises:
        SystemExit: With usage on standard error, if there is no such command, flag or value.

    Example:
        >>> from keras_sphereface.config import MarginFiguresConfig
        >>> words = ["margins", "--out", "runs", "--m", "3"]
        >>> parse_command({"margins": MarginFiguresConfig}, words)
        ('margins', MarginFiguresConfig(out='runs', m=3, angle=60.0))
    """
    parser = argparse.ArgumentParser(prog)
    parser.add_argument("command", choices=list(commands), help="what to do; then see --help")
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parser.parse_args(arguments[:1]).command
    return command, parse_config(commands[command], arguments[1:], f"{parser.prog} {command}")


def parse_config(
    config_class: type[Config],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    example: str = "",
) -> Config:
    """Build settings from the command line: one `--flag` a field, and `--config FILE`.

    A flag wins over the file, and the file over the defaults. Unknown and abbreviated flags
    fail, and so do values of a wrong type.

    Args:
        config_class: A dataclass of `keras_sphereface.config`.
        argv: The words; those of the process if None.
        prog: What a user types before these words, for messages, for example "sphereface train";
            None: by the class.
        example: Flags of a real command, which the help shows; "": those of the class.

    Raises:
        SystemExit: With usage on standard error, if a flag or value is wrong.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> parse_config(TrainConfig, ["--m", "3", "--batch-size", "64"]).batch_size
        64
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    rest = [field.name for field in dataclasses.fields(config_class) if field.metadata["rest"]]
    end = arguments.index("--") if rest and "--" in arguments else len(arguments)
    parser = _parser(config_class, {})
    settings = {}
    if (path := _config_path(arguments[:end])) is not None:
        try:
            settings = _read_settings(config_class, path)
        except ValueError as error:
            parser.error(str(error))
        parser = _parser(config_class, settings)
    values = vars(parser.parse_args(arguments[:end]))
    values.pop("config", None)
    if end < len(arguments):
        values.update({name: arguments[end + 1 :] for name in rest})
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return config_class(**{**settings, **values})


def read_config(config_class: type[Config], path: str | os.PathLike) -> Config:
    """Read settings from a file.

    Args:
        config_class: A dataclass of `keras_sphereface.config`.
        path: YAML (.yaml, .yml), TOML (.toml) or JSON (.json) with names and values of fields.

    Raises:
        ValueError: Naming the file, if it cannot be read, or a setting is unknown, missing,
            set twice or of a wrong type.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> _ = Path("run.toml").write_text("m = 3")
        >>> read_config(TrainConfig, "run.toml").m
        3.0
    """
    settings = _read_settings(config_class, path)
    fields = dataclasses.fields(config_class)
    if missing := [f.name for f in fields if _has_no_default(f) and f.name not in settings]:
        raise ValueError(
            f"{os.fspath(path)}: {', '.join(missing)} must be given. Received: {list(settings)}"
        )
    return config_class(**settings)


def save_config(config: "DataclassInstance", path: str | os.PathLike) -> None:
    """Write settings as YAML, which `--config` and `read_config` take.

    Raises:
        ValueError: If `path` does not end in .yaml or .yml.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> save_config(TrainConfig(m=3.0), "run.yaml")
        >>> read_config(TrainConfig, "run.yaml") == TrainConfig(m=3.0)
        True
    """
    if Path(path).suffix.lower() not in YAML_SUFFIXES:
        raise ValueError(f"`path` must end in .yaml or .yml. Received: path={os.fspath(path)!r}")
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    # All but ASCII is escaped: otherwise some Unicode line breaks would be read as spaces.
    Path(path).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def _parser(config_class: type[Config], settings: dict[str, Any]) -> argparse.ArgumentParser:
    """A parser of one flag a field, with `settings` in place of the defaults."""
    fields = dataclasses.fields(config_class)
    parser = argparse.ArgumentParser(
        description=(config_class.__doc__ or "").partition("Example:")[0].strip(),
        epilog="\n".join(
            f"-- {field.name.upper()} ...: {field.metadata['help']}"
            for field in fields
            if field.metadata["rest"]
        ),
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="YAML, TOML or JSON file of settings, by their names here; flags win over it",
    )
    for field in fields:
        if field.metadata["rest"]:
            continue
        options: dict[str, Any] = {"help": field.metadata["help"] or " ", "dest": field.name}
        if _has_no_default(field) and field.name not in settings:
            options["required"] = True
        else:
            options["default"] = settings.get(field.name, field.default)
        if field.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"], several = _type_of(field)
            options["choices"] = field.metadata["choices"]
            if several:
                options["nargs"] = "+"
        parser.add_argument("--" + field.name.replace("_", "-"), **options)
    return parser


def _config_path(arguments: Sequence[str]) -> str | None:
    """Return the value of `--config`; None without."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # One without its value is left for the parser of all flags to complain about.
    parser.add_argument("--config", nargs="?")
    return parser.parse_known_args(arguments)[0].config


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING


def _type_of(field: dataclasses.Field) -> tuple[type, bool]:
    """Return the type of a value, and whether the field is a tuple of such values."""
    # The first argument of `tuple[int, ...]` and of `int | None` is the type.
    kind = (typing.get_args(field.type) or (field.type,))[0]
    return kind, typing.get_origin(field.type) is tuple


def _read_settings(config_class: type[Config], path: str | os.PathLike) -> dict[str, Any]:
    """{name: value} of a file, as the fields hold them; errors name the file."""
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    renamed: Mapping[str, str] = getattr(config_class, "renamed", {})
    settings: dict[str, Any] = {}
    try:
        for written, value in _read_pairs(Path(path)):
            name = str(written).replace("-", "_")
            name = renamed.get(name, name)
            if name not in fields:
                nearest = difflib.get_close_matches(name, fields, n=1, cutoff=0)[0]
                raise ValueError(
                    f"no setting has this name; the nearest is {nearest}. Received: {written}"
                )
            if name in settings:
                raise ValueError(f"a setting may be given once. Received: {name} twice")
            settings[name] = _as_field(fields[name], value)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    return settings


def _read_pairs(path: Path) -> Iterable[tuple[Any, Any]]:
    """The (name, value) pairs of a file, in which a name may stand twice."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"a file of settings must end in {', '.join(SUFFIXES)}. Received: {path.name}"
        )
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".toml":
        return tomllib.loads(text).items()
    if path.suffix.lower() == ".json" and text.strip():
        # Not as YAML, which stops at tabs and takes some escapes for other characters.
        pairs = json.loads(text, object_pairs_hook=tuple)
    else:
        pairs = yaml.load(text, Loader=_PairsLoader)
    if not isinstance(pairs, tuple | None):
        raise ValueError(f"a file of settings must hold names and values. Received: {pairs!r}")
    return pairs or ()


def _as_field(field: dataclasses.Field, value: Any) -> Any:
    """A value of a file as the field holds it."""
    kind, several = _type_of(field)
    choices = field.metadata["choices"]
    optional = type(None) in typing.get_args(field.type)
    if optional and value is None:
        return None
    try:
        items = [_as_type(kind, item) for item in (_as_type(list, value) if several else [value])]
        if choices and not set(items) <= set(choices):
            raise ValueError
    except (ValueError, OverflowError):
        allowed = f"one of {', '.join(map(str, choices))}" if choices else ALLOWED[kind]
        raise ValueError(
            f"`{field.name}` must be "
            + ("a list, each item " if several else "")
            + allowed
            + (", or null" if optional else "")
            + f". Received: {field.name}={value!r}"
        ) from None
    return tuple(items) if several else items[0]


def _as_type(kind: type, value: Any) -> Any:
    """The value if it is of the type; a float may also be written as an int or a string."""
    # YAML 1.1 takes 1e-3 for a string.
    if kind is float and type(value) in (int, str):
        value = float(value)
    # Not isinstance: true is no int.
    if type(value) is not kind:
        raise ValueError
    return value
