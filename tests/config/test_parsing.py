import dataclasses
import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface import config
from keras_sphereface.config.parsing import parse_command, parse_config, read_config, save_config
from tests.conftest import OLD_FILES

ALL = (
    config.FacesConfig,
    config.ConvertConfig,
    config.TrainConfig,
    config.LaunchConfig,
    config.EvaluateConfig,
    config.ExportConfig,
    config.ClosedSetConfig,
    config.OpenSetConfig,
    config.DistractorsConfig,
    config.SpheresConfig,
    config.HeadBenchmarkConfig,
    config.ConvergenceBenchmarkConfig,
    config.DataBenchmarkConfig,
    config.TrainBenchmarkConfig,
    config.EvaluateBenchmarkConfig,
    config.MarginFiguresConfig,
)


def test_flags_become_fields_of_their_types():
    argv = ["--total-steps", "5", "--width", "0.5", "--data", "x"]
    assert parse_config(config.TrainConfig, argv) == config.TrainConfig(
        total_steps=5, width=0.5, data="x"
    )
    argv = ["--out", "o", "--m", "1", "4", "--dim", "2"]
    assert parse_config(config.SpheresConfig, argv) == config.SpheresConfig(
        out="o", m=(1, 4), dim=2
    )
    argv = ["--source", "s", "--out", "o", "--overwrite"]
    assert parse_config(config.ConvertConfig, argv) == config.ConvertConfig(
        source="s", out="o", overwrite=True
    )


def test_words_after_a_lone_dash_dash_are_kept_for_another_program(capsys):
    words = "--source s --runner R -- --flink_master=x --config 3".split()
    parsed = parse_config(config.ConvertConfig, words)
    assert parsed.beam_options == ("--flink_master=x", "--config", "3")
    assert parse_config(config.ConvertConfig, words[:4]).beam_options == ()
    for argv in (["--source", "s", "stray"], ["--out", "o", "--", "stray"]):
        with pytest.raises(SystemExit):
            parse_config(config.EvaluateConfig, argv)


def test_a_command_chooses_its_configuration(tmp_path, capsys):
    commands = {"a": config.EvaluateConfig, "b": config.ConvergenceBenchmarkConfig}
    expected = ("b", config.ConvergenceBenchmarkConfig(out="o", m=(2, 3)))
    assert parse_command(commands, "b --out o --m 2 3".split()) == expected
    path = written(tmp_path, "out: o\nm: [2, 3]")
    assert parse_command(commands, ["b", "--config", path]) == expected
    for argv in ([], ["c"], ["a"]):
        with pytest.raises(SystemExit):
            parse_command(commands, argv)
    assert "invalid choice: 'c'" in capsys.readouterr().err


def test_optional_flags_are_none_by_default():
    assert config.TrainConfig().block_size is None
    parsed = parse_config(config.TrainConfig, "--m 1.5 --block-size 7".split())
    assert (parsed.m, parsed.block_size) == (1.5, 7)


@pytest.mark.parametrize(
    "argv",
    [
        "--model m --out o --bn b",
        "--model m --out o --b b",
        "--model m",
        "--model m --out o --folds x",
        "--model m --out o --config",
        "--model m --out o --conf c.yaml",
    ],
)
def test_misspelt_abbreviated_missing_and_mistyped_flags_fail(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_config(config.EvaluateConfig, argv.split())
    assert stopped.value.code == 2
    assert "--landmarks" in capsys.readouterr().err  # the usage


def flag_of(field):
    return "--" + field.name.replace("_", "-")


@pytest.mark.parametrize("config_class", ALL)
def test_every_flag_explains_itself(config_class, capsys):
    with pytest.raises(SystemExit):
        parse_config(config_class, ["--help"])
    text = capsys.readouterr().out
    options = text[text.index("options:") :]
    shown = [line.split()[0] for line in options.splitlines() if line.startswith("  -")]
    assert shown[:2] == ["-h,", "--config"]
    assert "flags win over it (default" not in " ".join(text.split())
    for field in dataclasses.fields(config_class):
        shown = f"-- {field.name.upper()}" if field.metadata["rest"] else flag_of(field)
        assert shown in text
        assert field.metadata["help"]


def written(folder, text, name="settings.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "# Mine\n---\ndata: x\ntotal-steps: 5\nlearning_rate: 1e-3\nm: null\nwidth: 1"),
        ("a.YML", "{data: x, total_steps: 5, learning_rate: .001, width: '1'}"),
        ("a.json", '{"data": "x",\n\t"total_steps": 5, "learning_rate": 0.001, "m": null}'),
        ("a.toml", "data = 'x'\ntotal-steps = 5\nlearning_rate = 1e-3\nwidth = 1\n"),
    ],
)
def test_a_file_gives_settings(name, text, tmp_path):
    expected = config.TrainConfig(data="x", total_steps=5, learning_rate=0.001)
    path = written(tmp_path, text, name)
    for parsed in (
        read_config(config.TrainConfig, path),
        parse_config(config.TrainConfig, ["--config", path]),
        parse_config(config.TrainConfig, [f"--config={path}"]),
    ):
        assert parsed == expected
        assert type(parsed.width) is float


def test_flags_win_over_the_file_even_with_their_default(tmp_path):
    text = "batch_size: 8\nwidth: 0.5\nm: 2\ndata: x\n"
    argv = ["--batch-size", "256", "--config", written(tmp_path, text), "--data", ""]
    parsed = parse_config(config.TrainConfig, argv)
    assert parsed == config.TrainConfig(batch_size=256, width=0.5, m=2.0, data="")
    path = written(tmp_path, "overwrite: true\nalign: true\nexclude_casia_lfw: false\n")
    argv = "--no-overwrite --exclude-casia-lfw --config".split()
    assert parse_config(config.ConvertConfig, [*argv, path]) == config.ConvertConfig(align=True)


def test_required_settings_may_come_from_the_file_in_whole_or_in_part(tmp_path, capsys):
    path = written(tmp_path, "model: [m]\nfolds: [1, 2]\n")
    parsed = parse_config(config.EvaluateConfig, ["--config", path, "--out", "o"])
    assert parsed == config.EvaluateConfig(model=("m",), out="o", folds=(1, 2))
    with pytest.raises(SystemExit):
        parse_config(config.EvaluateConfig, ["--config", path])
    assert "required: --out" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"settings\.yaml: out must be given\. Received: \['model"):
        read_config(config.EvaluateConfig, path)


def test_words_for_another_program_may_come_from_the_file(tmp_path):
    path = written(tmp_path, "beam_options: [--a, --b=1]")
    for argv, expected in [([], ("--a", "--b=1")), (["--", "--c"], ("--c",)), (["--"], ())]:
        parsed = parse_config(config.ConvertConfig, ["--config", path, *argv])
        assert parsed.beam_options == expected


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
        ("width: false", "`width` must be a number. Received: width=False"),
        ("width: 1" + "0" * 400, "`width` must be a number. Received: width=1"),
        ("m: [1]", r"`m` must be a number, or null. Received: m=\[1\]"),
        ("data: 2024", r"`data` must be a string \(a number must be quoted\). Received: data=2024"),
        ("head: soft", "`head` must be one of softmax, normface, .* Received: head='soft'"),
        ("gradient: 1", "must be one of exact, caffe, detached, or null. Rec.*gradient=1"),
        ("bach_size: 1", "the nearest is batch_size. Received: bach_size"),
        ("config: a.yaml", "no setting has this name; the nearest is .* Received: config"),
        ("1: 2", "no setting has this name; the nearest is .* Received: 1"),
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


def test_a_bad_file_ends_with_usage(tmp_path, capsys):
    (tmp_path / "latin.yaml").write_bytes(b"data: \xe9")
    for path, expected in [
        (tmp_path / "no.yaml", "No such file"),
        (tmp_path, "must end in .yaml, .yml, .json, .toml"),
        (written(tmp_path, "", "settings.txt"), "Received: settings.txt"),
        (tmp_path / "latin.yaml", "can't decode byte 0xe9"),
        (written(tmp_path, "m: x"), "`m` must be a number"),
        ("", "must end in"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            parse_config(config.TrainConfig, ["--data", "x", "--config", str(path)])
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert "--learning-rate" in error  # the usage
        assert f"{path}: " in error
        assert expected in error


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


def test_help_shows_the_values_of_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_config(config.TrainConfig, ["--help", "--config", written(tmp_path, "data: 50%s")])
    assert stopped.value.code == 0
    assert "(default: 50%s)" in " ".join(capsys.readouterr().out.split())


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
VALUES.update({tuple[k, ...]: st.lists(VALUES[k], max_size=3).map(tuple) for k in (int, str)})


def values_of(field):
    choices = field.metadata["choices"]
    if not choices:
        return VALUES[field.type]
    chosen = st.sampled_from(choices)
    several = typing.get_origin(field.type) is tuple
    return st.lists(chosen, max_size=3).map(tuple) if several else chosen


def configurations(config_class):
    fields = dataclasses.fields(config_class)
    return st.builds(config_class, **{field.name: values_of(field) for field in fields})


@pytest.mark.slow
@given(st.one_of([configurations(config_class) for config_class in ALL]))
def test_saved_settings_are_read_back(tmp_path_factory, saved):
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    save_config(saved, path)
    for parsed in (
        read_config(type(saved), path),
        parse_config(type(saved), ["--config", str(path)]),
    ):
        assert repr(parsed) == repr(saved)  # unlike ==: 1 is not 1.0, 0.0 not -0.0


@pytest.mark.slow
@given(configurations(config.TrainConfig))
def test_json_is_read_back(tmp_path_factory, saved):
    path = tmp_path_factory.getbasetemp() / "saved.json"
    path.write_text(json.dumps(dataclasses.asdict(saved)))
    assert read_config(config.TrainConfig, path) == saved


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


@pytest.mark.parametrize("config_class", ALL)
def test_no_setting_takes_the_name_of_the_flag_for_files(config_class):
    assert "config" not in {field.name for field in dataclasses.fields(config_class)}
