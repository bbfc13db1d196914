import dataclasses

import pytest

from keras_sphereface import config
from keras_sphereface.config.fields import flag_of, usage_of
from keras_sphereface.config.general_flags import GENERAL_FLAGS
from keras_sphereface.config.help_text import commands_text, help_text
from keras_sphereface.config.parsing import parse_config
from tests.config.helpers import CONFIG_CLASSES


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def flags_shown(text):
    return [line.strip().split()[0].rstrip(",") for line in text.splitlines() if "  --" in line]


@pytest.mark.parametrize("config_class", CONFIG_CLASSES)
def test_the_whole_help_explains_every_flag(config_class):
    text = help_text(config_class, "sphereface x", everything=True)
    joined = " ".join(text.split())
    for field in dataclasses.fields(config_class):
        assert usage_of(field) in joined
        assert field.metadata["help"].endswith(".")
        assert " ".join(field.metadata["help"].split()) in joined
        for choice in field.metadata["choices"] or ():
            assert str(choice) in joined
    for empty in ("None)", "(default: )", "()", "False", "True"):
        assert empty not in joined


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("config_class", CONFIG_CLASSES)
def test_no_line_is_wider_than_the_terminal(config_class, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    text = help_text(config_class, "sphereface x", config_class.example, everything=True)
    assert max(map(len, text.splitlines())) <= min(width, 100)


@pytest.mark.parametrize("config_class", CONFIG_CLASSES)
def test_plain_help_is_short_and_says_where_the_rest_is(config_class):
    shown = help_text(config_class, "sphereface x")
    fields = dataclasses.fields(config_class)
    required = [field for field in fields if field.default is dataclasses.MISSING]
    assert shown.count("(required)") == len(required)
    assert len(flags_shown(shown)) - len(GENERAL_FLAGS) <= 14
    total = len(fields) + len(GENERAL_FLAGS)
    last = shown.splitlines()[-1]
    if any(field.metadata["common"] for field in fields):
        assert last == f"`sphereface x --help-all` lists all {total} flags."
    else:
        assert shown == help_text(config_class, "sphereface x", everything=True)


def test_the_common_flags_of_training():
    text = help_text(config.TrainConfig, "sphereface train", config.TrainConfig.example)
    assert "  sphereface train --data records --workdir runs/first\n" in text
    expected = "data workdir backbone width start-from head m batch-size total-steps epochs"
    assert flags_shown(text)[:10] == ["--" + name for name in expected.split()]
    assert "  --learning-rate, --lr X\n" in text
    assert "--gamma" not in text


def test_the_whole_help_has_groups():
    lines = help_text(config.TrainConfig, "sphereface train", everything=True).splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    for title in ("data", "network", "head", "annealing", "optimizer", "augmentation", "logging"):
        assert titles.count(f"{title}:") == 1
    start = lines.index("annealing:")
    group = lines[start + 1 : lines.index("", start)]
    assert [line.split()[0] for line in group if line.startswith("  --")] == [
        flag_of(name) for name in ("margin_warmup_steps", "base", "gamma", "power", "lambda_min")
    ]


def test_each_head_has_a_line_that_describes_it():
    lines = help_text(config.TrainConfig, "sphereface train", everything=True).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  --head "))
    assert lines[start].endswith("the classifier and its loss. (default: asoftmax)")
    table = [line.split(maxsplit=1) for line in lines[start + 1 :][: len(config.HEADS)]]
    assert table == [[name, head.help] for name, head in config.HEADS.items()]
    shown = " ".join(help_text(config.TrainConfig, "sphereface train").split())
    assert "and its loss. One of softmax, normface, asoftmax, " in shown


def test_defaults_are_shown_where_they_say_something():
    text = " ".join(help_text(config.SpheresConfig, "x", everything=True).split())
    assert "Margins to train with, each at least 1. (default: 1 2 3 4)" in text
    assert "--softmax / --no-softmax Add a column of plain softmax. (default: on)" in text
    assert "--html / --no-html Write spheres.html" in text
    assert "pip install 'keras-sphereface[interactive]'. --projector" in text
    assert "(default: all)" in help_text(config.ExportConfig, "x", everything=True)


@pytest.mark.parametrize("config_class", CONFIG_CLASSES)
def test_the_example_of_a_command_can_be_typed(config_class, capsys):
    words = config_class.example.split()
    bare = len(getattr(config_class, "positional", ()))  # words without a flag come first
    with pytest.raises(SystemExit) as stopped:
        parse_config(config_class, [*words[:bare], "--print-config", *words[bare:]])
    assert stopped.value.code == 0
    assert capsys.readouterr().err == ""


def test_commands_are_listed_with_what_they_do():
    text = commands_text({"spheres": config.SpheresConfig}, "sphereface")
    assert text.startswith("usage: sphereface COMMAND [FLAGS]\n\ncommands:\n  spheres  ")
    assert "Train 2-D or 3-D embeddings" in text
