"""The files in `examples/recipes`: what they say is complete, parsed, and trains."""

import dataclasses
import re

import pytest

from keras_sphereface.commands.checks import check_train
from keras_sphereface.commands.main import main
from keras_sphereface.config import TrainConfig
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.config.scaling import with_scaled_settings
from keras_sphereface.training import train
from keras_sphereface.training.backbones import backbone_by_name, make_network
from keras_sphereface.training.build_head import head_of
from tests.conftest import ROOT
from tests.helpers.documents import blocks, commands

RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))
# Those whose network is not that of another run.
FROM_NOTHING = [path for path in RECIPES if path.stem != "fine_tune"]
FIELDS = ["command", "data", "time", "expected"]
# A network, batches and a length that two steps on 30 drawn faces can have.
SMALL = {
    "backbone": "sphereface4",
    "width": 0.05,
    "embedding_size": 16,
    "batch_size": 6,
    "total_steps": 2,
    "epochs": 0.0,
    "log_steps": 1,
}
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def header(path):
    """{field: text} of the comment that a recipe opens with; "title" is its first line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    fields = {"title": opening[0].removeprefix("# ")}
    for line in opening[1:]:
        if begin := re.match(r"# (\w+) +(.*)", line):
            name, text = begin.groups()
            fields[name] = text
        elif line != "#":
            fields[name] += "\n" + line.removeprefix("#").strip()
    return fields


def settings_of(path):
    """The settings of a recipe, as the parser reads them."""
    return parse_config(TrainConfig, ["--config", str(path)])


def without_data(words):
    """The flags of a training without its records, which are not here."""
    at = words.index("--data")
    return [*words[:at], *words[at + 2 :]]


def small(path, folder, workdir, **others):
    """The settings of a recipe for two steps."""
    settings = {**SMALL, "data": str(folder), "workdir": str(workdir), **others}
    return dataclasses.replace(settings_of(path), **settings)


@every_recipe
def test_a_recipe_opens_with_command_data_time_and_what_to_expect(path):
    fields = header(path)
    assert list(fields) == ["title", *FIELDS]
    assert all(fields.values())
    expected = fields["expected"]
    # Either it was run, and there is an interval; or it says so, and who published what.
    assert ("Measured here" in expected) != ("Not run here" in expected)
    assert re.search(r"\d to \+?\d", expected)


@every_recipe
def test_the_commands_of_a_recipe_are_valid(path, tmp_path, monkeypatch, capsys):
    lines = list(commands(header(path)["command"]))
    assert all(words[0] == "sphereface" for words in lines)
    named = f"examples/recipes/{path.name}"
    assert [words[1] for words in lines if named in words] == ["train"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for words in lines:
        with pytest.raises(SystemExit) as ending:
            main([*words[1:], "--print-config"])
        assert ending.value.code == 0, (words, capsys.readouterr().err)


@every_recipe
def test_the_settings_of_a_recipe_make_a_head(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings_of(path)
    check_train(config)
    head = head_of(with_scaled_settings(config, 28_000, 10_572), 10_572)
    assert head.num_classes == 10_572
    assert config.workdir.startswith("runs/")


@pytest.mark.parametrize("name", ["casia_sphereface20", "casia_sphereface64"])
def test_the_recipes_of_the_paper_have_the_values_of_its_solver_and_its_network_file(name):
    config = settings_of(ROOT / "examples" / "recipes" / f"{name}.yaml")
    assert (config.batch_size, config.total_steps) == (512, 28_000)
    assert (config.optimizer, config.momentum, config.weight_decay) == ("sgd", 0.9, 0.0005)
    assert (config.head, config.m, config.gradient) == ("asoftmax", 4, "caffe")
    annealing = (config.base, config.gamma, config.power, config.lambda_min)
    assert annealing == (1000, 0.12, 1, 5)
    # Nothing is left to the size of the data, of which some lack an identity or two.
    assert with_scaled_settings(config, 28_000, 100) == config
    assert (config.lr_warmup_steps, config.clipnorm) == (0, 0)
    # And they are what `sphereface train --batch-size 512` does with CASIA on its own.
    chosen = with_scaled_settings(TrainConfig(batch_size=512), 28_000, 10_572)
    names = ["learning_rate", "lr_warmup_steps", "clipnorm", "gamma", "schedule", "lambda_min"]
    assert [getattr(chosen, n) for n in names] == [getattr(config, n) for n in names]


def test_the_recipe_of_sphereface_r_makes_the_steps_of_its_authors():
    config = settings_of(ROOT / "examples" / "recipes" / "casia_sphereface_r.yaml")
    head = head_of(config, 10)
    assert (head.m, head.scale, head.version, head.embedding_norm) == (1.4, 60, "v2", "hard")
    # Of OpenSphere: rate 0.1, decay 0.0005, the loss times 50 / scale.
    steepness = config.learning_rate * head.loss_weight / head.scale
    assert steepness == pytest.approx(0.1 * 50 / 60, rel=1e-3)
    assert config.learning_rate * config.weight_decay == pytest.approx(0.1 * 0.0005, rel=1e-3)


def test_the_recipe_of_lfw_people_is_the_run_whose_result_it_names():
    shown = [block.text for block in blocks(ROOT / "docs" / "results.md")]
    lines = [words for text in shown for words in commands(text)]
    (words,) = [words[2:] for words in lines if words[1] == "train" and "runs/lfw/long" in words]
    run = dataclasses.replace(parse_config(TrainConfig, without_data(words)), workdir="")
    recipe = settings_of(ROOT / "examples" / "recipes" / "lfw_people.yaml")
    assert dataclasses.replace(recipe, workdir="") == run


def test_the_guide_lists_every_recipe_with_the_numbers_of_its_file():
    guide = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.yaml)` \|(.*)\|$", guide, re.M))
    assert sorted(rows) == [path.name for path in RECIPES]
    for path in RECIPES:
        row, said = rows[path.name], header(path)["expected"]
        numbers = re.findall(r"\d+\.\d+", row.split("|")[-1])
        assert numbers
        assert set(numbers) <= set(re.findall(r"\d+\.\d+", said))
        assert ("measured here" in row) == ("Measured here" in said)


@pytest.mark.slow
@pytest.mark.parametrize("path", FROM_NOTHING, ids=lambda path: path.stem)
def test_the_network_of_a_recipe_can_be_built(path):
    config = settings_of(path)
    # Its depth; a tenth of its width, since no weight is looked at.
    make = backbone_by_name(config.backbone, width=0.1 * config.width)
    side = 112 if path.stem.startswith("ms1m") else 96
    network = make_network(
        make, config.backbone, (112, side, 3), embedding_size=config.embedding_size, seed=0
    )
    assert network.output_shape == (None, 512)


@pytest.mark.slow
@every_recipe
def test_a_recipe_trains_two_steps(path, records_folder, tmp_path):
    others = {}
    if path.stem == "fine_tune":  # its network is that of the run before
        first = tmp_path / "first"
        train(small(ROOT / "examples" / "recipes" / "lfw_people.yaml", records_folder, first))
        unset = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
        others = {n: unset[n] for n in ("backbone", "width", "embedding_size")}
        others["start_from"] = str(first)
    export = train(small(path, records_folder, tmp_path / "run", **others))
    assert (export / "saved_model.pb").is_file()
