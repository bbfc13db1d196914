"""Numbers that are too small are refused by every command, and the help names the smallest."""

import dataclasses
import re
from collections.abc import Mapping

import pytest

from keras_sphereface.commands.registry import COMMANDS
from keras_sphereface.config.benchmarks import DefaultsBenchmarkConfig
from keras_sphereface.config.convert import FacesConfig
from keras_sphereface.config.fields import type_of
from keras_sphereface.config.minimums import check_minimums
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.config.train import TrainConfig


def counts():
    """The fields of all whole numbers among the settings of all commands."""
    for command in COMMANDS.values():
        several = isinstance(command.config, Mapping)
        for config_class in command.config.values() if several else [command.config]:
            for field in dataclasses.fields(config_class):
                # Of the size of spheres there are choices; nothing is counted.
                if type_of(field)[0] is int and not field.metadata["choices"]:
                    yield pytest.param(field, id=f"{config_class.__name__}-{field.name}")


@pytest.mark.parametrize("field", list(counts()))
def test_every_count_has_the_smallest_value_that_its_help_names(field):
    minimum = field.metadata["minimum"]
    assert minimum is not None
    if named := re.search(r"at least (\d+)", field.metadata["help"]):
        assert minimum == int(named[1])


@pytest.mark.parametrize(
    ("config_class", "words", "message"),
    [
        (FacesConfig, ["--num-identities", "0"], "`num_identities` must be at least 1. Received: "),
        (FacesConfig, ["--seed", "-1"], "Received: seed=-1"),
        (DefaultsBenchmarkConfig, ["--layers", "4", "0"], r"Each of `layers` .*layers=\(4, 0\)"),
    ],
)
def test_a_number_below_is_refused(tmp_path, config_class, words, message):
    with pytest.raises(ValueError, match=message):
        parse_config(config_class, ["--out", str(tmp_path), *words])


def test_the_smallest_and_none_pass():
    check_minimums(TrainConfig(batch_size=1, images_per_identity=0, verify_folds=(1,)))
    assert TrainConfig().images_per_identity is None
