import dataclasses
import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from keras_sphereface.reporting.metrics_file import SCHEMA_VERSION, as_json, write_metrics


@dataclasses.dataclass(frozen=True)
class Fold:
    accuracy: Any
    threshold: float | None = None


class Point(NamedTuple):
    x: float
    y: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fold(0.5), {"accuracy": 0.5, "threshold": None}),
        ([Fold(np.float32(0.5), 1.0)], [{"accuracy": 0.5, "threshold": 1.0}]),
        (Fold(Fold(1)), {"accuracy": {"accuracy": 1, "threshold": None}, "threshold": None}),
        (Point(1.0, float("inf")), {"x": 1.0, "y": None}),
        ({1: (True, "a")}, {"1": [True, "a"]}),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (np.bool_(True), True),
        (np.int64(7), 7),
        (-float("inf"), None),
    ],
)
def test_values_have_a_plain_form(value, expected):
    plain = as_json(value)
    assert plain == expected
    assert json.loads(json.dumps(plain, allow_nan=False)) == expected


def test_keys_keep_the_order_of_the_fields():
    assert list(as_json(Fold(1))) == ["accuracy", "threshold"]


@pytest.mark.parametrize("value", [{"a": {1, 2}}, object(), Fold, b"bytes"])
def test_values_without_a_form_in_json_are_refused(value):
    with pytest.raises(TypeError, match=r"must be JSON serializable\. Received: "):
        as_json(value)


def test_the_schema_version_comes_first(tmp_path):
    write_metrics(tmp_path / "metrics.json", Fold(0.5))
    text = (tmp_path / "metrics.json").read_text()
    assert text.endswith("}\n")
    expected = [("schema_version", SCHEMA_VERSION), ("accuracy", 0.5), ("threshold", None)]
    assert list(json.loads(text).items()) == expected


def test_unsuitable_metrics_leave_the_file_as_it_was(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, {"accuracy": 0.5})
    before = path.read_bytes()
    for metrics, message in (([0.5], "dataclass or a mapping"), ({"a": {1}}, "JSON serializable")):
        with pytest.raises(TypeError, match=message):
            write_metrics(path, metrics)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
