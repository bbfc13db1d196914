"""Rules of settings: the ranges of numbers, and what belongs together.

Entry points call them first, and commands before Keras and TensorFlow are imported.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

from keras_sphereface.config.choices import (
    HEADS,
    KERAS_NETWORKS,
    KERAS_PREFIX,
    MAX_CROPS,
    NETWORKS,
    PROTOTYPE_HEADS,
    QUEUE_SIZE,
    START_PREFIX,
)
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import CompareConfig, MarginFiguresConfig, SpheresConfig
from keras_sphereface.config.identify import DistractorsConfig, IdentifyConfig
from keras_sphereface.config.minimums import check_minimums
from keras_sphereface.config.suggestions import did_you_mean, with_hint
from keras_sphereface.config.train import TrainConfig
from keras_sphereface.utils.validation import check_choice, check_integer, check_real, require

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PAIR = 2  # images of an identity in a batch of semi-siamese training
GALLERY_MOMENTUM = TrainConfig.gallery_momentum
MAX_SPHERE_IDENTITIES = 8  # colors that also color-blind readers can distinguish
# The lowest and the highest value of the settings of augmentation.
RANGES = {
    **dict.fromkeys(("shift", "rotation"), (0.0, math.inf)),
    **dict.fromkeys(("zoom", "crop"), (0.0, 0.999)),
    **dict.fromkeys(("brightness", "contrast", "erase"), (0.0, 1.0)),
    **dict.fromkeys(("saturation", "low_resolution"), (0.0, 1.0)),
}


def check_train_settings(config: TrainConfig) -> None:
    """Refuse settings that cannot train anything.

    Raises:
        ValueError: With the name of the setting, what is allowed and what was received.
    """
    check_minimums(config)
    ranges = {
        **dict.fromkeys(("epochs", "learning_rate", "weight_decay", "clipnorm"), (0, math.inf)),
        **dict.fromkeys(("ema", "gallery_momentum"), (0, 0.999999)),
        "momentum": (0, 0.999),
        **RANGES,
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is None:
            continue
        if not (low <= value <= high and math.isfinite(value)):
            allowed = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            raise ValueError(f"`{name}` must be {allowed}. Received: {name}={value}")
    require(0 < config.width < math.inf, "`width` must be above 0.", width=config.width)
    if config.batch_norm and config.backbone not in NETWORKS:
        raise ValueError(
            f"`batch_norm` is for a `backbone` of {', '.join(NETWORKS)}; other networks have it or "
            f"have it not. Received: batch_norm=True, backbone={config.backbone!r}"
        )
    weight = config.teacher_weight
    require(0 < weight < math.inf, "`teacher_weight` must be above 0.", teacher_weight=weight)
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        # What may also be another value is checked where that is used.
        if choices and value is not None and not field.metadata["other"]:
            check_choice(value, field.name, choices)
    has_pairs = bool(config.verify_bin or (config.verify_images and config.verify_pairs))
    if has_pairs != bool(config.verify_steps):
        raise ValueError(
            "`verify_steps` above 0 and either `verify_bin` or both `verify_images` and "
            f"`verify_pairs` belong together. Received: verify_steps={config.verify_steps}, "
            f"verify_bin={config.verify_bin!r}, verify_images={config.verify_images!r}, "
            f"verify_pairs={config.verify_pairs!r}"
        )
    _check_margin(config.head, config.m)
    _check_start_settings(config)
    if config.semi_siamese:
        _check_semi_siamese_settings(config)
    else:
        require(
            config.queue_size is None and config.gallery_momentum == GALLERY_MOMENTUM,
            "`queue_size` and `gallery_momentum` need `semi_siamese`.",
            queue_size=config.queue_size,
            gallery_momentum=config.gallery_momentum,
        )
    if config.jit and config.shard_classes:
        raise ValueError(
            "`jit` cannot compile the collectives of `shard_classes` inside of a step; leave one "
            "of them out. Received: jit=True, shard_classes=True"
        )


def _check_margin(head: str, m: float | None) -> None:
    """Refuse a margin that is no whole number for a head that needs one.

    Raises:
        ValueError: With the heads that take others.
    """
    choice = HEADS.get(head)
    if m is None or choice is None or not isinstance(choice.settings.get("m"), int):
        return
    if m < 1 or m % 1:
        raise ValueError(
            f"`m` of the head {head} must be a whole number of at least 1; sphereface-r-v1 and "
            f"sphereface-r-v2 take fractions. Received: m={m:g}"
        )


def _check_semi_siamese_settings(config: TrainConfig) -> None:
    """Refuse settings of class weights, and of batches, that a queue of prototypes does not have.

    Raises:
        ValueError: With the names of the settings.
    """
    require(
        config.head in PROTOTYPE_HEADS,
        f"`head` must be one of {', '.join(PROTOTYPE_HEADS)} with `semi_siamese`.",
        head=config.head,
    )
    for name, unset in (
        *(("shard_classes", False), ("sample_rate", 1.0), ("block_size", None)),
        *(("kernel_norm", None), ("worker_shards", False)),
    ):
        value = getattr(config, name)
        if value != unset:
            raise ValueError(
                f"`{name}` cannot be used with `semi_siamese`, whose prototypes are in a queue "
                f"that every device holds. Received: {name}={value}"
            )
    require(
        config.new_classes == TrainConfig.new_classes,
        "`new_classes` cannot be used with `semi_siamese`, which has no class weights: prototypes "
        "take their place.",
        new_classes=config.new_classes,
    )
    require(
        config.images_per_identity in (None, PAIR),
        f"`images_per_identity` must be {PAIR}, a pair of images, or not set with `semi_siamese`.",
        images_per_identity=config.images_per_identity,
    )
    size, batch = config.queue_size, config.batch_size
    require(batch % PAIR == 0, "`batch_size` must be even with `semi_siamese`.", batch_size=batch)
    require(
        size is None or size % batch == 0,
        "`queue_size` must be a multiple of `batch_size`.",
        queue_size=size,
        batch_size=batch,
    )


def queue_size_of(config: TrainConfig) -> int:
    """Return the number of prototypes of a semi-siamese run.

    Example:
        >>> queue_size_of(TrainConfig(semi_siamese=True, batch_size=100))
        16300
    """
    if config.queue_size is not None:
        return config.queue_size
    return max(QUEUE_SIZE // config.batch_size, 1) * config.batch_size


def _check_start_settings(config: TrainConfig) -> None:
    """Refuse settings of a training that goes on from somewhere, in one that does not.

    Raises:
        ValueError: With the names of the settings.
    """
    decay = config.layer_decay
    require(0 < decay <= 1, "`layer_decay` must be above 0 and up to 1.", layer_decay=decay)
    has_own_network = ":" in config.backbone and not config.backbone.startswith(KERAS_PREFIX)
    for name, unset in (("freeze_stages", 0), ("hold_batch_norm", False)):
        value = getattr(config, name)
        if value != unset and not (config.start_from or has_own_network):
            raise ValueError(
                f"`{name}` needs a trained network: `start_from`, or a `backbone` of your own that "
                f"returns one. Received: {name}={value}"
            )
    if not config.start_from and config.backbone.startswith(START_PREFIX):
        raise ValueError(
            f"`backbone` {START_PREFIX}NAME needs `start_from`, the file that the network is taken "
            f"from. Received: backbone={config.backbone!r}, start_from=''"
        )
    has_pairs = bool(config.old_bin or (config.old_images and config.old_pairs))
    given = [n for n in ("images", "pairs", "landmarks", "folds") if getattr(config, f"old_{n}")]
    if (given or has_pairs) and not (has_pairs and config.start_from):
        raise ValueError(
            "The old test set is either `old_bin` or both `old_images` and `old_pairs`, and needs "
            f"`start_from`. Received: start_from={config.start_from!r}, "
            f"old_bin={config.old_bin!r}, old_images={config.old_images!r}, "
            f"old_pairs={config.old_pairs!r}"
        )


def check_keras_network(name: str) -> None:
    """Refuse a name that is no network of `keras.applications`.

    Raises:
        ValueError: With the name that was probably meant.

    Example:
        >>> check_keras_network("MobilNetV2")
        Traceback (most recent call last):
        ValueError: `backbone` keras:NAME must name a network of ... Did you mean `MobileNetV2`?
    """
    if name not in KERAS_NETWORKS:
        hint = did_you_mean(name, KERAS_NETWORKS)
        allowed = "a network of keras.applications" if hint else ", ".join(KERAS_NETWORKS)
        message = f"`backbone` keras:NAME must name {allowed}. Received: backbone=keras:{name}"
        raise ValueError(with_hint(message, hint))


def check_crops(crops: int, calibrate: bool = False) -> None:
    """Refuse more crops of a face than there are, and a calibration of averaged embeddings.

    Raises:
        ValueError: With what was received.

    Example:
        >>> check_crops(8)
        Traceback (most recent call last):
        ValueError: `crops` must be from 1 to 7. Received: crops=8
    """
    if not 1 <= crops <= MAX_CROPS:
        raise ValueError(f"`crops` must be from 1 to {MAX_CROPS}. Received: crops={crops}")
    if calibrate and crops > 1:
        raise ValueError(
            "`calibrate` writes recognition.json for single embeddings, as compare and identify "
            f"make them: leave --crops out. Received: crops={crops}, calibrate=True"
        )


def check_operating_fmr(value: float) -> None:
    """Refuse a false match rate that no threshold can have.

    Raises:
        ValueError: If it is not between 0 and 1.
    """
    require(0 < value < 1, "`operating_fmr` must be between 0 and 1.", operating_fmr=value)


_FILES_OF_COLUMNS = {
    "landmark_columns": ("landmarks", "verify_landmarks", "distractor_landmarks"),
    "list_columns": ("source", "gallery"),
    "pair_columns": ("pairs", "verify_pairs", "exclude_pairs"),
}


def check_columns(config: "DataclassInstance") -> None:
    """Refuse names of columns without a file that has them.

    Raises:
        ValueError: With the names of the settings.
    """
    for name, files in _FILES_OF_COLUMNS.items():
        known = [file for file in files if hasattr(config, file)]
        if (value := getattr(config, name, "")) and not any(getattr(config, f) for f in known):
            needed = " or ".join(f"`{file}`" for file in known)
            raise ValueError(f"`{name}` needs {needed}. Received: {name}={value!r}")


def check_detector_settings(config: EvaluateConfig | IdentifyConfig) -> None:
    """Refuse a detector without images to look for faces in, or with known places of the faces.

    Raises:
        ValueError: With the flags that do not go together.

    Example:
        >>> from keras_sphereface.config import EvaluateConfig
        >>> check_detector_settings(EvaluateConfig(out="out", bin=("lfw.bin",), detector="mtcnn"))
        Traceback (most recent call last):
        ValueError: `detector` looks for faces in `images` without `landmarks`... `bin`...
    """
    if not config.detector:
        return
    others = ("landmarks", "records", "bin", "sets")
    given = [f"`{name}`" for name in others if getattr(config, name, ())]
    if given or not config.images:
        raise ValueError(
            "`detector` looks for faces in `images` without `landmarks`; records and .bin files "
            f"hold aligned faces. Received: detector={config.detector!r} with "
            f"{' and '.join(given) or 'no `images`'}"
        )


def check_identify_settings(config: IdentifyConfig) -> None:
    """Refuse settings that do not belong together, before any long work.

    Raises:
        ValueError: With the names of the settings.
    """
    for name in ("max_rank", "candidates"):
        if (value := getattr(config, name, 1)) < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")
    check_detector_settings(config)
    if config.images and config.records:
        raise ValueError(
            "Give one of `images` and `records`. Received: "
            f"images={config.images!r}, records={config.records!r}"
        )
    has_lists = False
    if not isinstance(config, DistractorsConfig):
        has_lists = bool(config.gallery)
        if has_lists != bool(config.probes):
            raise ValueError(
                "`gallery` and `probes` belong together. Received: "
                f"gallery={config.gallery!r}, probes={config.probes!r}"
            )
    for name, needed, is_met in (
        ("landmarks", "`images`", config.images),
        ("folds", "`pairs`", config.pairs),
        ("templates", "`gallery` and `probes`, lists of their identities", has_lists),
    ):
        if (value := getattr(config, name, "")) and not is_met:
            raise ValueError(f"`{name}` needs {needed}. Received: {name}={value!r}")


def check_spheres_settings(config: SpheresConfig) -> None:
    """Refuse settings of spheres that are out of their range, or contradict each other.

    Raises:
        ValueError: With the name of the setting, what is allowed and what was received.
    """
    for name, minimum in (("total_steps", 1), ("num_seeds", 1), ("seed", 0)):
        check_integer(getattr(config, name), name, minimum)
    require(
        2 <= config.num_identities <= MAX_SPHERE_IDENTITIES,
        f"`num_identities` must be from 2 to {MAX_SPHERE_IDENTITIES}, the number of colors that "
        "also color-blind readers can distinguish.",
        num_identities=config.num_identities,
    )
    is_valid = config.m and min(config.m) >= 1 and len(set(config.m)) == len(config.m)
    require(bool(is_valid), "`m` must be different ints >= 1.", m=config.m)
    is_3d = config.dim != 2 or not (config.html or config.rotate)
    require(is_3d, "`html` and `rotate` need 3-D embeddings, without --dim.", dim=config.dim)


def check_compare_settings(config: CompareConfig) -> None:
    """Refuse settings of a comparison that are out of their range, or belong to others.

    Raises:
        ValueError: With the name of the setting, what is allowed and what was received.
    """
    check_integer(config.num_seeds, "num_seeds", 1)
    check_integer(config.seed, "seed", 0)
    are_different = bool(config.losses) and len(set(config.losses)) == len(config.losses)
    require(are_different, "`losses` must be different names.", losses=config.losses)
    require(
        bool(config.data) == bool(config.bin or (config.images and config.pairs)),
        "`data` and pairs of other identities, either `bin` or both `images` and `pairs`, belong "
        "together.",
        data=config.data,
        images=config.images,
        pairs=config.pairs,
        bin=config.bin,
    )


def check_margin_settings(config: MarginFiguresConfig) -> None:
    """Refuse a margin or an angle that cannot be drawn.

    Raises:
        ValueError: With the name of the setting, what is allowed and what was received.
    """
    check_integer(config.m, "m", 2)
    check_real(config.angle, "angle", 30.0, 170.0)
