import dataclasses
import functools
import os
import subprocess
import sys

import pytest

from keras_sphereface import config
from keras_sphereface.config.parsing import parse_command, parse_config
from keras_sphereface.config.settings_files import read_config
from tests.config.helpers import CONFIG_CLASSES, written


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder to work in, with what the command lines below name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"")
    return tmp_path


def error_of(capsys, config_class, words, code=2):
    """What a command line that fails prints on standard error: one line."""
    with pytest.raises(SystemExit) as stopped:
        parse_config(config_class, words.split(), "sphereface x")
    assert stopped.value.code == code
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    return error.removeprefix("error: ").rstrip()


def printed(capsys, config_class, words):
    with pytest.raises(SystemExit) as stopped:
        parse_config(config_class, words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_flags_become_fields_of_their_types():
    argv = "--total-steps 5 --width 0.5 --data records".split()
    assert parse_config(config.TrainConfig, argv) == config.TrainConfig(
        total_steps=5, width=0.5, data="records"
    )
    argv = "--out o --m 1 4 --dim 2 --no-softmax".split()
    assert parse_config(config.SpheresConfig, argv) == config.SpheresConfig(
        out="o", m=(1, 4), dim=2, softmax=False
    )
    argv = "--source records --out o --overwrite --num-shards=3".split()
    assert parse_config(config.ConvertConfig, argv) == config.ConvertConfig(
        source="records", out="o", overwrite=True, num_shards=3
    )


@pytest.mark.parametrize("words", [["--learning-rate", "-0.5"], ["--learning-rate=-0.5"]])
def test_a_number_below_zero_is_no_flag(words):
    assert parse_config(config.TrainConfig, words).learning_rate == -0.5


def test_a_flag_has_the_names_that_users_know():
    argv = "--lr 0.5 --arch sphereface4 --steps 7 --batch 3 --margin 2".split()
    assert parse_config(config.TrainConfig, argv) == config.TrainConfig(
        learning_rate=0.5, backbone="sphereface4", total_steps=7, batch_size=3, m=2.0
    )


@pytest.mark.parametrize("config_class", CONFIG_CLASSES)
def test_each_name_of_a_flag_stands_for_one_setting(config_class):
    names = ["config", "print_config", "help", "help_all", "verbose", "debug"]
    for field in dataclasses.fields(config_class):
        names += [field.name, *field.metadata["aliases"]]
    assert len(names) == len(set(names))


def test_words_after_a_lone_dash_dash_are_kept_for_another_program(capsys):
    words = "--source records --runner R -- --flink_master=x --config 3".split()
    parsed = parse_config(config.ConvertConfig, words)
    assert parsed.beam_options == ("--flink_master=x", "--config", "3")
    assert parse_config(config.ConvertConfig, words[:4]).beam_options == ()
    error_of(capsys, config.EvaluateConfig, "--out o -- stray")


def test_words_for_another_program_may_come_from_the_file(here):
    path = written(here, "beam_options: [--a, --b=1]")
    for argv, expected in [([], ("--a", "--b=1")), (["--", "--c"], ("--c",)), (["--"], ())]:
        parsed = parse_config(config.ConvertConfig, ["--config", path, *argv])
        assert parsed.beam_options == expected


def test_a_command_chooses_its_configuration(here):
    commands = {"a": config.EvaluateConfig, "b": config.ConvergenceBenchmarkConfig}
    expected = ("b", config.ConvergenceBenchmarkConfig(out="o", m=(2, 3)))
    assert parse_command(commands, "b --out o --m 2 3".split()) == expected
    path = written(here, "out: o\nm: [2, 3]")
    assert parse_command(commands, ["b", "--config", path]) == expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "`sphereface x` must be followed by one of train, spheres. Received: nothing. `sph"),
        (["trian"], "one of train, spheres. Received: trian. Did you mean `train`?"),
        (["q"], "Received: q. `sphereface x --help` describes them."),
        (["train", "--q"], "there is no flag `--q`. `sphereface x train --help-all` lists all"),
    ],
)
def test_a_wrong_command_ends_in_a_sentence(argv, expected, capsys):
    commands = {"train": config.TrainConfig, "spheres": config.SpheresConfig}
    with pytest.raises(SystemExit) as stopped:
        parse_command(commands, argv, "sphereface x")
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_optional_flags_are_none_by_default():
    assert config.TrainConfig().block_size is None
    parsed = parse_config(config.TrainConfig, "--m 1.5 --block-size 7".split())
    assert (parsed.m, parsed.block_size) == (1.5, 7)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--widht 1", "there is no flag `--widht`. Did you mean `--width`? `sphereface x --help-"),
        ("--widht=1", "there is no flag `--widht=1`. Did you mean `--width`?"),
        ("--batch_size 1", "Did you mean `--batch-size`?"),
        ("--loss softmax", "there is no flag `--loss`. Did you mean `--head`?"),
        ("--chunk-size 1", "Did you mean `--block-size`?"),  # its earlier name
        ("--no-jti", "Did you mean `--no-jit`?"),
        ("--conf c.yaml", "there is no flag `--conf`. Did you mean `--config`?"),
        ("--zzz", "there is no flag `--zzz`. `sphereface x --help-all` lists all flags."),
        ("-x", "there is no flag `-x`."),
        ("records", "a value must follow its flag, as in `--data records`. Received: records."),
        ("epochs 3", "Received: epochs. Did you mean `--epochs`?"),
        ("--jit=1", "`--jit` is a switch and takes no value."),
        ("--width", "`--width` needs a value, as in `--width X`. Received: nothing"),
        ("--width --jit", "`--width` needs a value"),
        ("--width 1 2", "`--width` takes one value. Received: 1 2"),
        ("--width wide", "`--width` must be a number. Received: wide"),
        ("--scale wide", "`--scale` must be a number or auto. Received: wide"),
        ("--total-steps 1.5", "`--total-steps` must be an int. Received: 1.5"),
        ("--verify-folds 1 x", "`--verify-folds` must be an int. Received: x"),
        ("--verify-folds", "`--verify-folds` needs a value, as in `--verify-folds N ...`."),
        ("--head asoftmx", "triplet-hard. Received: asoftmx. Did you mean `asoftmax`?"),
        ("--head 0", "`--head` must be one of softmax, normface, "),
        ("--arch sphereface21", "or module:function. Received: sphereface21. Did you mean `sphe"),
        ("--config", "`--config` needs one file of settings. Received: nothing"),
        ("--config a b", "`--config` needs one file of settings. Received: a b"),
    ],
)
def test_a_wrong_command_line_is_explained(words, expected, capsys):
    assert expected in error_of(capsys, config.TrainConfig, words)


def test_a_network_of_ones_own_needs_no_choice():
    parsed = parse_config(config.TrainConfig, ["--backbone", "mine:build"])
    assert parsed.backbone == "mine:build"


def test_required_settings_may_come_from_the_file_in_whole_or_in_part(here, capsys):
    path = written(here, "model: [model.onnx]\nfolds: [1, 2]\n")
    parsed = parse_config(config.EvaluateConfig, ["--config", path, "--out", "o"])
    assert parsed == config.EvaluateConfig(model=("model.onnx",), out="o", folds=(1, 2))
    error = error_of(capsys, config.EvaluateConfig, f"--config {path}")
    assert error == "`--out` must be given. `sphereface x --help` shows an example."
    error = error_of(capsys, config.ExportConfig, "--formats onnx")
    assert error.startswith("`--model` and `--out` must be given.")
    with pytest.raises(ValueError, match=r"settings\.yaml: out must be given\. Received: \['model"):
        read_config(config.EvaluateConfig, path)


def test_flags_win_over_the_file_even_with_their_default(here):
    text = "batch_size: 8\nwidth: 0.5\nm: 2\ndata: x\n"
    argv = ["--batch-size", "256", "--config", written(here, text), "--data", ""]
    parsed = parse_config(config.TrainConfig, argv)
    assert parsed == config.TrainConfig(batch_size=256, width=0.5, m=2.0, data="")
    path = written(here, "overwrite: true\nalign: true\nexclude_casia_lfw: false\n")
    argv = "--no-overwrite --exclude-casia-lfw --config".split()
    assert parse_config(config.ConvertConfig, [*argv, path]) == config.ConvertConfig(align=True)


def test_a_bad_file_ends_with_its_name(here, capsys):
    (here / "latin.yaml").write_bytes(b"data: \xe9")
    (here / "folder.yaml").mkdir()
    for path, expected in [
        ("no.yaml", "there is no such file of settings. Received: no.yaml"),
        ("laten.yaml", "Received: laten.yaml. Did you mean `latin.yaml`?"),
        ("records", "records: a file of settings must end in .yaml, .yml, .json, .toml"),
        ("folder.yaml", "folder.yaml: "),
        (written(here, "", "settings.txt"), "Received: settings.txt"),
        ("latin.yaml", "latin.yaml: 'utf-8' codec can't decode byte 0xe9"),
        (written(here, "m: x"), "settings.yaml: `m` must be a number"),
    ]:
        assert expected in error_of(capsys, config.TrainConfig, f"--config {path}")


def test_a_path_that_does_not_exist_is_refused():
    with pytest.raises(FileNotFoundError) as refused:
        parse_config(config.TrainConfig, ["--data", "recrods"])
    assert str(refused.value) == (
        "`--data` must be a folder that exists. Received: recrods. Did you mean `records`?"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "--data nowhere --lr 1e-5 --m 1 --verify-folds 1 3 --jit",
            config.TrainConfig(
                data="nowhere", learning_rate=1e-5, m=1.0, verify_folds=(1, 3), jit=True
            ),
        ),
        (
            "--no-exclude-casia-lfw --out o --print-config -- --a=1 --help",
            config.ConvertConfig(
                exclude_casia_lfw=False, out="o", beam_options=("--a=1", "--help")
            ),
        ),
        ("--out o", config.SpheresConfig(out="o")),
    ],
)
def test_printed_settings_are_those_that_would_run(here, capsys, words, expected):
    text = printed(capsys, type(expected), ["--print-config", *words.split()])
    path = written(here, text)
    assert read_config(type(expected), path) == expected
    assert printed(capsys, type(expected), ["--config", path, "--print-config"]) == text


def test_help_shows_the_values_of_a_file(here, capsys):
    assert "(required)" in printed(capsys, config.DataBenchmarkConfig, ["--help"])
    words = ["--help", "--config", written(here, "source: 50%s\nout: x")]
    text = printed(capsys, config.DataBenchmarkConfig, words)
    assert "(default: 50%s)" in text
    assert "(default: x)" in text
    assert "(required)" not in text


def test_help_is_printed_whatever_else_is_wrong(capsys):
    assert printed(capsys, config.TrainConfig, ["--widht", "x", "--help"]).startswith("usage: ")


@pytest.mark.slow
def test_a_command_line_is_parsed_before_anything_heavy_is_imported():
    program = (
        "import sys\n"
        "from keras_sphereface.config import TrainConfig, parse_config\n"
        "parse_config(TrainConfig, ['--lr', '0.1'])\n"
        "heavy = 'tensorflow keras numpy pandas matplotlib yaml json difflib tomllib'.split()\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    environment = {**os.environ, "KERAS_SPHEREFACE_DATA_ONLY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("net.pth net.keras --color-order rgb", ("net.pth", "net.keras", "rgb")),
        ("net.pth --out net.keras", ("net.pth", "net.keras", "bgr")),
        ("--out net.keras --weights net.pth", ("net.pth", "net.keras", "bgr")),
        ("net.pth net.keras --out last.keras", ("net.pth", "last.keras", "bgr")),
    ],
)
def test_words_before_the_flags_are_those_of_the_first_settings(
    words, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").touch()
    parsed = parse_config(config.ImportWeightsConfig, words.split())
    assert (parsed.weights, parsed.out, parsed.color_order) == expected


def test_words_before_the_flags_may_be_several_of_the_last_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "people.db", "net.onnx"):
        (tmp_path / name).touch()
    flags = "--gallery people.db --model net.onnx --aligned".split()
    parse = functools.partial(parse_config, config.IdentifyFacesConfig)
    assert parse(["a.jpg", "b.jpg", *flags]).images == ("a.jpg", "b.jpg")
    assert parse([*flags, "--images", "b.jpg", "a.jpg"]).images == ("b.jpg", "a.jpg")
    with pytest.raises(SystemExit):
        parse(flags)


def test_synonyms_name_settings_that_exist():
    for config_class in CONFIG_CLASSES:
        names = {field.name for field in dataclasses.fields(config_class)}
        synonyms = getattr(config_class, "synonyms", {})
        assert set(synonyms.values()) <= names
        assert not set(synonyms) & names
