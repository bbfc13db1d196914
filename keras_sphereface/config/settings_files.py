"""Settings from files and to files: YAML, TOML, JSON."""

import dataclasses
import functools
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_sphereface.config.fields import has_no_default, names_of_settings
from keras_sphereface.config.suggestions import did_you_mean, path_hint, with_hint
from keras_sphereface.config.values import value_in_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

YAML_SUFFIXES = (".yaml", ".yml")
SUFFIXES = (*YAML_SUFFIXES, ".json", ".toml")


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
    settings = read_settings(config_class, path)
    fields = dataclasses.fields(config_class)
    if missing := [f.name for f in fields if has_no_default(f) and f.name not in settings]:
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
    Path(path).write_text(yaml_of(config), encoding="utf-8")


def yaml_of(config: "DataclassInstance") -> str:
    """Return settings as YAML, in the order of the fields.

    Example:
        >>> from keras_sphereface.config import MarginFiguresConfig
        >>> yaml_of(MarginFiguresConfig(out="runs/margins")).splitlines()
        ['out: runs/margins', 'm: 4', 'angle: 60.0']
    """
    import yaml

    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
    # All but ASCII is escaped: otherwise some Unicode line breaks would be read as spaces.
    return yaml.safe_dump(settings, sort_keys=False)


def chosen_settings(config: "DataclassInstance") -> dict[str, str]:
    """Return {name: value} of the settings that have no default or another value than it.

    Example:
        >>> from keras_sphereface.config import MarginFiguresConfig
        >>> chosen_settings(MarginFiguresConfig(out="runs/margins", m=3))
        {'out': 'runs/margins', 'm': '3'}
    """
    chosen = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            is_several = isinstance(value, tuple)
            chosen[field.name] = ", ".join(map(str, value)) if is_several else str(value)
    return chosen


def read_settings(config_class: type[Config], path: str | os.PathLike) -> dict[str, Any]:
    """Return {name: value} of a file, as the fields hold them.

    Raises:
        ValueError: Naming the file, if it cannot be read, or a setting is unknown, set twice or
            of a wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    settings: dict[str, Any] = {}
    try:
        for written, value in _read_pairs(Path(path)):
            name = _setting_named(config_class, str(written))
            if name in settings:
                raise ValueError(f"a setting may be given once. Received: {name} twice")
            settings[name] = value_in_file(fields[name], value)
    except FileNotFoundError:
        message = f"there is no such file of settings. Received: {os.fspath(path)}"
        raise ValueError(with_hint(message, path_hint(os.fspath(path)))) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    return settings


def _setting_named(config_class: type, written: str) -> str:
    """The setting that a key of a file names: by its name, an alias, or an earlier name."""
    names = names_of_settings(config_class)
    renamed: Mapping[str, str] = getattr(config_class, "renamed", {})
    name = written.replace("-", "_")
    if (name := renamed.get(name, name)) not in names:
        hint = did_you_mean(name, names) or "`--help-all` lists all settings."
        raise ValueError(with_hint(f"no setting has this name. Received: {written}", hint))
    return names[name]


def _read_pairs(path: Path) -> Iterable[tuple[Any, Any]]:
    """The (name, value) pairs of a file, in which a name may stand twice."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"a file of settings must end in {', '.join(SUFFIXES)}. Received: {path.name}"
        )
    text = path.read_text(encoding="utf-8-sig")
    # Each reader is imported when it is needed: `--help` is to answer at once.
    if path.suffix.lower() == ".toml":
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        return tomllib.loads(text).items()
    if path.suffix.lower() == ".json" and text.strip():
        import json

        # Not as YAML, which stops at tabs and takes some escapes for other characters.
        pairs = json.loads(text, object_pairs_hook=tuple)
    else:
        pairs = _yaml_pairs(text)
    if not isinstance(pairs, tuple | None):
        raise ValueError(f"a file of settings must hold names and values. Received: {pairs!r}")
    return pairs or ()


def _yaml_pairs(text: str) -> Any:
    """YAML whose mappings are tuples of pairs, in which a name may stand twice."""
    import yaml

    try:
        return yaml.load(text, Loader=_pairs_loader())
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


@functools.cache
def _pairs_loader() -> type:
    import yaml

    class PairsLoader(yaml.SafeLoader):
        def construct_tuple(self, node: yaml.MappingNode) -> tuple:
            return tuple(self.construct_pairs(node, deep=True))

    PairsLoader.add_constructor("tag:yaml.org,2002:map", PairsLoader.construct_tuple)
    return PairsLoader
