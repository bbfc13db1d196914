"""From the settings of a run to its head, and to what that asks of the batches."""

import dataclasses

import keras

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.functional import annealing
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.registry import make_head

# The settings of every head; those it does not have must stay at None.
HEAD_SETTINGS = (
    *("m", "scale", "embedding_norm", "gradient", "kernel_norm", "term_weight"),
    *("block_size", "sample_rate"),
)


def head_of(config: TrainConfig, num_classes: int) -> Head:
    """The layer and its loss that the settings ask for."""
    choice = HEADS[config.head]
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    # What a head does not have and was set all the same is left for `make_head` to refuse.
    settings = {
        name: getattr(config, name)
        for name in (*HEAD_SETTINGS, *annealing.Annealing._fields)
        if name in choice.settings or getattr(config, name) != defaults[name]
    }
    if isinstance(choice.settings.get("m"), int) and config.m is not None and config.m % 1 == 0:
        # The margin of this head is a whole number; it refuses another.
        settings["m"] = int(config.m)
    if choice.has_class_weights:
        settings["kernel_initializer"] = keras.initializers.LecunUniform(seed=config.seed)
        settings["seed"] = config.seed
    return make_head(config.head, num_classes, **settings, name="head")


def images_per_identity(config: TrainConfig) -> int:
    """K of batches that hold K images of each person; 0 for shuffled images."""
    needed = HEADS[config.head].images_per_identity
    return needed if config.images_per_identity is None else config.images_per_identity


def check_batches(config: TrainConfig, head: Head, replicas: int) -> None:
    """Refuse batches that the head cannot use, and ways to work on them.

    Raises:
        ValueError: naming the setting.
    """
    count = images_per_identity(config)
    people, rest = divmod(config.batch_size, max(count, 1))
    compares = HEADS[config.head].images_per_identity > 0
    if count < 2 and (count != 0 or compares):
        allowed = "at least 2" if compares else "0 or at least 2"
        raise ValueError(
            f"`images_per_identity` must be {allowed} for the head {config.head}. "
            f"Received: images_per_identity={count}"
        )
    if count and (rest or people < 2):
        raise ValueError(
            f"`batch_size` must be a multiple of `images_per_identity`, {count}, and hold at least "
            f"two people. Received: batch_size={config.batch_size}"
        )
    if count and config.worker_shards:
        raise ValueError(
            "`worker_shards` cannot be with `images_per_identity`, which draws from all shards. "
            "Received: worker_shards=True"
        )
    if head.needs_global_batch and config.accumulate_steps > 1:
        raise ValueError(
            f"`accumulate_steps` must be 1 for the head {config.head}, whose loss looks at the "
            f"batch as a whole. Received: accumulate_steps={config.accumulate_steps}"
        )
    if head.needs_global_batch and config.jit and replicas > 1:
        raise ValueError(
            f"`jit` cannot compile what {replicas} devices tell each other in the middle of a "
            f"step, as the head {config.head} needs it. Received: jit=True"
        )
    if config.shard_classes and not head.block_sizes():
        raise ValueError(
            f"`shard_classes` means nothing for the head {config.head}, which has no class "
            "weights. Received: shard_classes=True"
        )
