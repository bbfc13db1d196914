"""The head of a run from its settings, and the batches that it needs."""

import dataclasses

import keras

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.rules import PAIR
from keras_sphereface.config.scaling import PAPER_GAMMA
from keras_sphereface.functional import annealing
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.registry import make_head

# Settings of the heads; those that a head does not have must stay at None.
HEAD_SETTINGS = (
    *("m", "scale", "embedding_norm", "gradient", "kernel_norm", "term_weight"),
    *("num_centers", "margin_std", "m_max", "norm_min", "norm_max"),
    *("block_size", "sample_rate"),
)


def head_of(config: TrainConfig, num_classes: int) -> Head:
    """Return the head, not built.

    Raises:
        ValueError: If the settings cannot be used, or the head does not have one of them.
    """
    choice = HEADS[config.head]
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    # Earlier versions wrote 0.12, their default, for every head.
    allowed: dict[str, set] = {
        **{name: {value} for name, value in defaults.items()},
        "gamma": {None, PAPER_GAMMA},
    }
    # What a head does not have and was set all the same is left for `make_head` to refuse.
    settings = {
        name: getattr(config, name)
        for name in (*HEAD_SETTINGS, *annealing.Annealing._fields)
        if name in choice.settings or getattr(config, name) not in allowed[name]
    }
    if isinstance(choice.settings.get("m"), int) and config.m is not None and config.m % 1 == 0:
        # The margin of this head is a whole number; it refuses another.
        settings["m"] = int(config.m)
    if choice.has_class_weights:
        settings["kernel_initializer"] = keras.initializers.LecunUniform(seed=config.seed)
        settings["seed"] = config.seed
    return make_head(config.head, num_classes, **settings, name="head")


def images_per_identity(config: TrainConfig) -> int:
    """Return K of batches that hold K images of each identity; 0: shuffled images."""
    needed = PAIR if config.semi_siamese else HEADS[config.head].images_per_identity
    return needed if config.images_per_identity is None else config.images_per_identity


def check_batches(config: TrainConfig, head: Head, replicas: int) -> None:
    """Refuse batches that the head cannot use, and ways to compute them.

    Args:
        config: Settings of the run.
        head: Its head.
        replicas: Int. Number of devices.

    Raises:
        ValueError: With the name of the setting, what is allowed and what was received.
    """
    count = images_per_identity(config)
    identities, remainder = divmod(config.batch_size, max(count, 1))
    compares = HEADS[config.head].images_per_identity > 0
    if count < 2 and (count != 0 or compares):
        allowed = "at least 2" if compares else "0 or at least 2"
        raise ValueError(
            f"`images_per_identity` must be {allowed} for the head {config.head}. "
            f"Received: images_per_identity={count}"
        )
    if count and (remainder or identities < 2):
        raise ValueError(
            f"`batch_size` must be a multiple of `images_per_identity`, {count}, and hold at least "
            f"two identities. Received: batch_size={config.batch_size}"
        )
    if count and config.worker_shards:
        raise ValueError(
            "`worker_shards` cannot be used with `images_per_identity`, which draws from all "
            "shards. Received: worker_shards=True"
        )
    if head.needs_global_batch and config.accumulate_steps > 1:
        raise ValueError(
            f"`accumulate_steps` must be 1 for the head {config.head}, whose loss looks at the "
            f"batch as a whole. Received: accumulate_steps={config.accumulate_steps}"
        )
    if head.needs_global_batch and config.jit and replicas > 1:
        raise ValueError(
            f"`jit` cannot compile the collectives between {replicas} devices that the head "
            f"{config.head} needs inside of a step. Received: jit=True"
        )
    if config.shard_classes and not head.block_sizes():
        raise ValueError(
            f"`shard_classes` must be False for the head {config.head}, which has no class "
            "weights. Received: shard_classes=True"
        )
