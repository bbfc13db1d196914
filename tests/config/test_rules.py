"""Rules of settings."""

import dataclasses

import pytest

from keras_sphereface import config
from keras_sphereface.config import rules
from keras_sphereface.config.experiments import SpheresConfig
from keras_sphereface.config.train import TrainConfig
from keras_sphereface.plots import COLORS


def test_there_is_a_color_for_each_identity_of_a_sphere():
    assert len(COLORS) == rules.MAX_SPHERE_IDENTITIES
    rules.check_spheres_settings(SpheresConfig("s", num_identities=rules.MAX_SPHERE_IDENTITIES))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"`batch_size` must be at least 1\. Received: batch_size=0"),
        ({"momentum": 1.0}, r"`momentum` must be from 0 to 0\.999\. Received: momentum=1\.0"),
        ({"crop": -0.1}, r"`crop` must be from 0\.0 to 0\.999\. Received: crop=-0\.1"),
        ({"weight_decay": float("nan")}, "Received: weight_decay=nan"),
        ({"width": float("inf")}, "`width` must be above 0"),
        (
            {"batch_norm": True, "backbone": "keras:MobileNetV2"},
            r"`batch_norm` is for .*sphereface20.*Received: batch_norm=True, backbone='keras:Mob",
        ),
        ({"head": "arc"}, "`head` must be one of softmax, .*Received: head='arc'"),
        ({"verify_steps": 3, "verify_pairs": "p"}, "belong together"),
        ({"jit": True, "shard_classes": True}, "leave one of them out"),
    ],
)
def test_settings_that_cannot_train_are_refused_with_what_is_allowed(settings, message):
    rules.check_train_settings(TrainConfig())
    with pytest.raises(ValueError, match=message):
        rules.check_train_settings(dataclasses.replace(TrainConfig(), **settings))


@pytest.mark.parametrize(
    "config_class",
    [
        *(config.ConvertConfig, config.TrainConfig, config.EvaluateConfig, config.ExportConfig),
        *(config.ClosedSetConfig, config.OpenSetConfig, config.DistractorsConfig),
        config.CompareConfig,
    ],
)
def test_every_command_with_landmarks_or_pairs_names_their_columns_by_the_same_flags(config_class):
    names = {field.name for field in dataclasses.fields(config_class)}
    assert {"landmark_columns", "pair_columns"} <= names
    needed = {
        "landmark_columns": {"landmarks", "verify_landmarks", "distractor_landmarks"} & names,
        "pair_columns": {"pairs", "verify_pairs", "exclude_pairs"} & names,
    }
    fields = dataclasses.fields(config_class)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    for name, files in needed.items():
        settings = config_class(**dict.fromkeys(required, "x"), **{name: "path"})
        with pytest.raises(ValueError, match=rf"`{name}` needs `.*`\. Received: {name}='path'"):
            rules.check_columns(settings)
        for file in files:
            rules.check_columns(dataclasses.replace(settings, **{file: "x"}))
