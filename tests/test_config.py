import dataclasses

import pytest

from keras_sphereface import config
from keras_sphereface.family import HEADS, make_head

ALL = (
    config.FacesConfig,
    config.RecordsConfig,
    config.TrainConfig,
    config.EvaluateConfig,
    config.SpheresConfig,
    config.HeadBenchmarkConfig,
    config.ConvergenceBenchmarkConfig,
)


def test_flags_become_fields_of_their_types():
    parsed = config.parse_config(
        config.TrainConfig, ["--total-steps", "5", "--width", "0.5", "--data", "x"]
    )
    assert parsed == config.TrainConfig(total_steps=5, width=0.5, data="x")
    spheres = config.parse_config(
        config.SpheresConfig, ["--out", "o", "--m", "1", "4", "--dim", "2"]
    )
    assert spheres == config.SpheresConfig(out="o", m=(1, 4), dim=2)
    records = config.parse_config(
        config.RecordsConfig, ["--source", "s", "--out", "o", "--overwrite"]
    )
    assert records == config.RecordsConfig(source="s", out="o", overwrite=True)


def test_words_after_a_lone_dash_dash_are_kept_for_another_program(capsys):
    words = "--source s --runner R -- --flink_master=x --y 3".split()
    parsed = config.parse_config(config.RecordsConfig, words)
    assert parsed.beam_options == ("--flink_master=x", "--y", "3")
    assert config.parse_config(config.RecordsConfig, words[:4]).beam_options == ()
    for argv in (["--source", "s", "stray"], ["--out", "o", "--", "stray"]):
        with pytest.raises(SystemExit):
            config.parse_config(config.EvaluateConfig, argv)


def test_a_command_chooses_its_configuration(capsys):
    commands = {"a": config.EvaluateConfig, "b": config.ConvergenceBenchmarkConfig}
    parsed = config.parse_command(commands, "b --out o --m 2 3".split())
    assert parsed == ("b", config.ConvergenceBenchmarkConfig(out="o", m=(2, 3)))
    for argv in ([], ["c"], ["a"]):
        with pytest.raises(SystemExit):
            config.parse_command(commands, argv)
    assert "invalid choice: 'c'" in capsys.readouterr().err


def test_optional_flags_are_none_until_they_are_given():
    assert config.TrainConfig().chunk_size is None
    parsed = config.parse_config(config.TrainConfig, "--m 1.5 --chunk-size 7".split())
    assert (parsed.m, parsed.chunk_size) == (1.5, 7)


def test_every_head_can_be_asked_for():
    fields = {field.name: field for field in dataclasses.fields(config.TrainConfig)}
    assert set(fields["head"].metadata["choices"]) == set(HEADS)


def test_the_training_defaults_are_the_papers():
    defaults = config.TrainConfig()
    assert (defaults.backbone, defaults.head, defaults.m) == ("sphereface20", "asoftmax", None)
    assert (make_head("asoftmax", 10, m=defaults.m).m, defaults.embedding_size) == (4, 512)
    assert (defaults.batch_size, defaults.total_steps) == (256, 28_000)
    assert (defaults.learning_rate, defaults.momentum, defaults.weight_decay) == (0.1, 0.9, 5e-4)
    annealing = defaults.base, defaults.gamma, defaults.power, defaults.lambda_min
    assert annealing == (1000.0, 0.12, 1.0, 5.0)


@pytest.mark.parametrize(
    "argv",
    [
        "--model m --out o --bn b",
        "--model m --out o --b b",
        "--out o",
        "--model m --folds x",
    ],
)
def test_misspelt_abbreviated_missing_and_mistyped_flags_fail(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        config.parse_config(config.EvaluateConfig, argv.split())
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def flag_of(field):
    return "--" + field.name.replace("_", "-")


@pytest.mark.parametrize("config_class", ALL)
def test_every_flag_explains_itself(config_class, capsys):
    with pytest.raises(SystemExit):
        config.parse_config(config_class, ["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(config_class):
        shown = f"-- {field.name.upper()}" if field.metadata["rest"] else flag_of(field)
        assert shown in text
        assert field.metadata["help"]
