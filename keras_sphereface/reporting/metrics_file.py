"""`metrics.json` and its like: the one place where measured numbers become a file."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.utils.atomic import atomic_file

SCHEMA_VERSION = 2  # of every file written here; raised when a key changes its name or meaning


def as_json(value: Any) -> Any:
    """The plain form of dataclasses, named tuples, arrays and numbers.

    Keys keep the names of fields and their order. What is not a finite number becomes null, which
    JSON has, unlike nan.

    Args:
        value: a dataclass, mapping, sequence, array or scalar, nested as deeply as wanted.

    Raises:
        TypeError: if something in it has no form in JSON.

    Example:
        >>> as_json({"accuracy": np.float32(0.5), "eer": float("nan"), "folds": np.arange(2)})
        {'accuracy': 0.5, 'eer': None, 'folds': [0, 1]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: as_json(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"`value` must be JSON serializable. Received: {value!r}")


def write_metrics(path: Path, metrics: Any) -> None:
    """Write measured numbers as JSON, with `schema_version` first, whole or not at all.

    Args:
        path: the file, for example `OUT/metrics.json`.
        metrics: a dataclass or a mapping, as for `as_json`.

    Raises:
        TypeError: if it is neither, or holds something that has no form in JSON.

    Example:
        >>> write_metrics(Path("metrics.json"), {"accuracy": 0.5})
        >>> json.loads(Path("metrics.json").read_text())
        {'schema_version': 2, 'accuracy': 0.5}
    """
    values = as_json(metrics)
    if not isinstance(values, dict):
        raise TypeError(f"`metrics` must be a dataclass or a mapping. Received: {metrics!r}")
    text = json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=2, allow_nan=False)
    with atomic_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
