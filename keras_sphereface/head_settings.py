"""From the settings of a run to its head, and to what that asks of the batches."""

import dataclasses

import keras

from keras_sphereface import angular
from keras_sphereface.base_head import Head
from keras_sphereface.config import TrainConfig
from keras_sphereface.head_kinds import HEADS, make_head

# The settings of every head; those it does not have must stay at None.
HEAD_SETTINGS = (
    *("m", "scale", "embedding_norm", "gradient", "kernel_norm", "term_weight"),
    *("chunk_size", "sample_rate"),
)


def head_of(config: TrainConfig, num_classes: int) -> Head:
    """The layer and its loss that the settings ask for."""
    known = HEADS[config.head].settings
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    # What a head does not have and was set all the same is left for `make_head` to refuse.
    settings = {
        name: getattr(config, name)
        for name in (*HEAD_SETTINGS, *angular.Annealing._fields)
        if name in known or getattr(config, name) != defaults[name]
    }
    if known.issuperset(angular.Annealing._fields) and config.m is not None and config.m % 1 == 0:
        # The margin of these is a whole number; another is refused by the head.
        settings["m"] = int(config.m)
    if "kernel_initializer" in known:
        settings["kernel_initializer"] = keras.initializers.LecunUniform(seed=config.seed)
        settings["seed"] = config.seed
    return make_head(config.head, num_classes, **settings, name="head")


def images_per_person(config: TrainConfig) -> int:
    """K of batches that hold K pictures of each person; 0 for shuffled pictures.

    Raises:
        ValueError: if the head needs several pictures of a person and may not have them.
    """
    needed = HEADS[config.head].images_per_person
    if config.images_per_person is None:
        return needed
    if needed and config.images_per_person < 2:
        raise ValueError(
            f"`images_per_person` must be at least 2 for the head {config.head}, which compares "
            f"pictures of a person. Received: images_per_person={config.images_per_person}"
        )
    return config.images_per_person


def check_whole_batch(config: TrainConfig, head: Head, replicas: int) -> None:
    """Refuse what a head whose loss looks at the whole batch cannot do.

    Raises:
        ValueError: with the setting.
    """
    if head.whole_batch and config.accumulate_steps > 1:
        raise ValueError(
            f"`accumulate_steps` must be 1 for the head {config.head}, whose loss looks at the "
            f"batch as a whole. Received: accumulate_steps={config.accumulate_steps}"
        )
    if head.whole_batch and config.jit and replicas > 1:
        raise ValueError(
            f"`jit` cannot compile what {replicas} devices tell each other in the middle of a "
            f"step, as the head {config.head} needs it. Received: jit=True"
        )
    if config.split_classes and not head.block_sizes():
        raise ValueError(
            f"`split_classes` means nothing for the head {config.head}, which has no class "
            "weights. Received: split_classes=True"
        )
