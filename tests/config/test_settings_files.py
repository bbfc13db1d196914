import contextlib
import dataclasses
import io
import json
import typing

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface import config
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.config.settings_files import read_config, save_config
from tests.config.helpers import CONFIG_CLASSES, written
from tests.conftest import OLD_FILES


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "# Mine\n---\ndata: x\ntotal-steps: 5\nlearning_rate: 1e-3\nm: null\nwidth: 1"),
        ("a.YML", "{data: x, total_steps: 5, learning_rate: .001, width: '1'}"),
        ("a.json", '{"data": "x",\n\t"total_steps": 5, "learning_rate": 0.001, "m": null}'),
        ("a.toml", "data = 'x'\ntotal-steps = 5\nlearning_rate = 1e-3\nwidth = 1\n"),
    ],
)
def test_a_file_gives_settings(name, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    expected = config.TrainConfig(data="x", total_steps=5, learning_rate=0.001)
    path = written(tmp_path, text, name)
    for parsed in (
        read_config(config.TrainConfig, path),
        parse_config(config.TrainConfig, ["--config", path]),
        parse_config(config.TrainConfig, [f"--config={path}"]),
    ):
        assert parsed == expected
        assert type(parsed.width) is float


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total_steps: 2.0", r"`total_steps` must be an int. Received: total_steps=2\.0"),
        ("total_steps: true", "`total_steps` must be an int. Received: total_steps=True"),
        ("total_steps: '7'", "`total_steps` must be an int. Received: total_steps='7'"),
        ("total_steps: null", "`total_steps` must be an int. Received: total_steps=None"),
        ("total_steps:", "`total_steps` must be an int. Received: total_steps=None"),
        ("total_steps: {a: 1}", r"an int. Received: total_steps=\(\('a', 1\),\)"),
        ("width: wide", "`width` must be a number. Received: width='wide'"),
        ("scale: autos", "`scale` must be a number or auto, or null. Received: scale='autos'"),
        ("width: false", "`width` must be a number. Received: width=False"),
        ("width: 1" + "0" * 400, "`width` must be a number. Received: width=1"),
        ("m: [1]", r"`m` must be a number, or null. Received: m=\[1\]"),
        ("data: 2024", r"`data` must be a string \(a number must be quoted\). Received: data=2024"),
        ("head: soft", "`head` must be one of softmax, normface, .* Received: head='soft'"),
        ("gradient: 1", "must be one of exact, caffe, detached, or null. Rec.*gradient=1"),
        (
            "bach_size: 1",
            "no setting has this name. Received: bach_size. Did you mean `batch_size`?",
        ),
        ("config: a.yaml", "no setting has this name. Received: config"),
        ("1: 2", "no setting has this name. Received: 1. `--help-all` lists"),
        ("m: 1\nm: 2", "a setting may be given once. Received: m twice"),
        ("batch-size: 1\nbatch_size: 1", "may be given once. Received: batch_size twice"),
        ("- m", "must hold names and values. Received: \\["),
        ("m", "must hold names and values. Received: 'm'"),
        ("m: 1\ndata: [", "line 2, column 8"),
        ("data: 2024-30-01", "month must be in 1..12"),
        ("--- {}\n--- {}", "but found another document"),
        ("m: \0", "special characters are not allowed"),
    ],
)
def test_bad_yaml_is_explained(text, expected, tmp_path):
    with pytest.raises(ValueError, match=r"(?s)settings\.yaml: .*" + expected):
        read_config(config.TrainConfig, written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dim = 4", "`dim` must be one of 0, 2, 3. Received: dim=4"),
        ("m = 4", "`m` must be a list, each item an int. Received: m=4"),
        ("m = [4, 2.5]", r"`m` must be a list, each item an int. Received: m=\[4, 2.5\]"),
        ("[m]\na = 1", "Received: m={'a': 1}"),
        ("total-steps = 1\ntotal_steps = 1", "may be given once. Received: total_steps twice"),
        ("dim = 2\ndim = 2\n", "at line 2"),
        ("dim = 2\nm = \n", "at line 2"),
    ],
)
def test_bad_toml_is_explained(text, expected, tmp_path):
    with pytest.raises(ValueError, match=r"settings\.toml: .*" + expected):
        read_config(config.SpheresConfig, written(tmp_path, text, "settings.toml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"m": 1,\n"m": 2}', "may be given once. Received: m twice"),
        ('{"m": {}}', r"`m` must be a number, or null. Received: m=\(\)"),
        ('[["m", 1]]', "must hold names and values. Received: \\["),
        ('{"m": 1,\n"width" 2}', "line 2 column 9"),
    ],
)
def test_bad_json_is_explained(text, expected, tmp_path):
    with pytest.raises(ValueError, match=r"settings\.json: .*" + expected):
        read_config(config.TrainConfig, written(tmp_path, text, "settings.json"))


def test_true_and_false_are_the_only_switches(tmp_path):
    assert read_config(config.ConvertConfig, written(tmp_path, "overwrite: true")).overwrite
    with pytest.raises(ValueError, match=r"must be true or false\. Received: overwrite=1"):
        read_config(config.ConvertConfig, written(tmp_path, "overwrite: 1"))


@pytest.mark.parametrize(
    ("suffix", "texts"),
    [
        (".yaml", ["", "\ufeff", "\n", "# Nothing\n", "---\n", "{}"]),
        (".toml", ["", "\ufeff", "\n", "# Nothing\n"]),
        (".json", ["", "\ufeff", "\n", "{}"]),
    ],
)
def test_a_file_may_be_empty(suffix, texts, tmp_path):
    for text in texts:
        path = written(tmp_path, text, "settings" + suffix)
        assert read_config(config.TrainConfig, path) == config.TrainConfig()


# What YAML would take for something else if it were not quoted.
LOOKALIKES = ["1", "0x1F", "1_000", "1:30", "1e-3", ".nan", "true", "off", "null", "~", "", " x "]
LOOKALIKES += ["=", "<<", "2024-01-01", "- a", "a: b", "#", "%", "@", "a\n\nb\t", "\x85", "\ufeff"]
LOOKALIKES += ["\udcff", "\U0001f600", "x " * 100]
VALUES = {
    str: st.text() | st.sampled_from(LOOKALIKES),
    int: st.integers(),
    float: st.floats(allow_nan=False) | st.sampled_from([1e-5, 1e300, 0.1 + 0.2, -0.0]),
    bool: st.booleans(),
}
VALUES.update({kind | None: st.none() | values for kind, values in VALUES.items()})
VALUES.update(
    {tuple[k, ...]: st.lists(VALUES[k], max_size=3).map(tuple) for k in (int, float, str)}
)


def values_of(field):
    choices, words = field.metadata["choices"], field.metadata["words"]
    if words:  # in place of a number
        return VALUES[float | None] | st.sampled_from(list(words))
    if not choices:
        return VALUES[field.type]
    chosen = st.sampled_from(list(choices))
    several = typing.get_origin(field.type) is tuple
    return st.lists(chosen, max_size=3).map(tuple) if several else chosen


def configurations(config_class):
    fields = dataclasses.fields(config_class)
    return st.builds(config_class, **{field.name: values_of(field) for field in fields})


@pytest.mark.slow
@hypothesis.settings(max_examples=50)
@given(st.one_of([configurations(config_class) for config_class in CONFIG_CLASSES]))
def test_saved_settings_are_read_back(tmp_path_factory, saved):
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    save_config(saved, path)
    assert repr(read_config(type(saved), path)) == repr(saved)  # unlike ==: 1 is not 1.0
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        parse_config(type(saved), ["--config", str(path), "--print-config"])
    assert printed.getvalue() == path.read_text()


@pytest.mark.slow
@given(configurations(config.TrainConfig))
def test_json_is_read_back(tmp_path_factory, saved):
    path = tmp_path_factory.getbasetemp() / "saved.json"
    path.write_text(json.dumps(dataclasses.asdict(saved)))
    assert read_config(config.TrainConfig, path) == saved


def test_a_setting_has_the_names_of_its_flag(tmp_path):
    path = written(tmp_path, "lr: 0.5\narch: sphereface4\nmargin: 2")
    expected = config.TrainConfig(learning_rate=0.5, backbone="sphereface4", m=2.0)
    assert read_config(config.TrainConfig, path) == expected
    with pytest.raises(ValueError, match=r"may be given once\. Received: learning_rate twice"):
        read_config(config.TrainConfig, written(tmp_path, "lr: 1\nlearning-rate: 1"))


def test_near_choices_and_paths_are_named(tmp_path):
    for text, expected in [
        ("head: asoftmx", r"Received: head='asoftmx'\. Did you mean `asoftmax`\?"),
        ("backbone: sphereface21", "or module:function. Received: .*Did you mean `sphereface20`"),
    ]:
        with pytest.raises(ValueError, match=expected):
            read_config(config.TrainConfig, written(tmp_path, text))
    with pytest.raises(ValueError, match=r"formats=\['onx'\]\. Did you mean `onnx`\?"):
        read_config(config.ExportConfig, written(tmp_path, "formats: [onx]"))
    with pytest.raises(ValueError, match=r"Did you mean `.*settings\.yaml`\?"):
        read_config(config.TrainConfig, tmp_path / "setings.yaml")


def test_a_configuration_is_saved_as_yaml_in_the_order_of_its_fields(tmp_path):
    saved = config.ConvergenceBenchmarkConfig(out="o", m=(2, 3))
    save_config(saved, tmp_path / "a.yaml")
    lines = (tmp_path / "a.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[:6] == ["out: o", "num_networks: 5", "m:", "- 2", "- 3", "total_steps: 1700"]
    for name in ("a.toml", "a.json", "a"):
        with pytest.raises(ValueError, match=r"must end in \.yaml or \.yml\. Received: path="):
            save_config(saved, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_the_settings_of_a_run_that_an_earlier_version_began_are_read(tmp_path):
    read = read_config(config.TrainConfig, OLD_FILES / "workdir" / "config.yaml")
    assert (read.batch_size, read.schedule, read.ema, read.seed) == (4, "cosine", 0.9, 3)
    earlier = {"chunk_size": 7, "warm_start": 2, "warmup_steps": 3, "split_classes": True}
    (tmp_path / "a.json").write_text(json.dumps(earlier | {"images_per_person": 5}))
    assert read_config(config.TrainConfig, tmp_path / "a.json") == config.TrainConfig(
        block_size=7,
        margin_warmup_steps=2,
        lr_warmup_steps=3,
        shard_classes=True,
        images_per_identity=5,
    )
