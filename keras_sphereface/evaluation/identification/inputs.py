"""From settings of identification to images whose identities are known."""

from keras_sphereface.config.identify import DistractorsConfig, IdentifyConfig
from keras_sphereface.data.keys import names_in_both
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.data.pairs.templates import read_templates
from keras_sphereface.evaluation.embedders import as_list
from keras_sphereface.evaluation.embeddings import load_embeddings
from keras_sphereface.evaluation.faces import FaceSources
from keras_sphereface.evaluation.identification.gallery import GallerySplit, read_gallery
from keras_sphereface.evaluation.identification.identity_map import (
    IdentityMap,
    exclude_identities,
    identities_of_folders,
    identities_of_records,
    select_identities,
)
from keras_sphereface.evaluation.identification.labeled_images import LabeledImages
from keras_sphereface.evaluation.quality_checks import read_training_identities
from keras_sphereface.utils.text import counted


def read_lists(config: IdentifyConfig) -> GallerySplit | None:
    """Read the lists of gallery and probes; None without lists.

    Raises:
        FileNotFoundError, ValueError: If a list cannot be used.
    """
    if isinstance(config, DistractorsConfig) or not config.gallery:
        return None
    return read_gallery(config.gallery, config.probes, config.list_columns, config.images)


def read_labeled_images(config: IdentifyConfig, lists: GallerySplit | None) -> LabeledImages:
    """Return the images of gallery and probes with their identities.

    Args:
        config: Settings.
        lists: From `read_lists`.

    Raises:
        FileNotFoundError, ValueError: If files cannot be used, or no image is left.
    """
    template_list = "" if isinstance(config, DistractorsConfig) else config.templates
    templates = read_templates(template_list) if template_list else {}
    identity_map = _read_identities(config, lists)
    if config.pairs:
        in_pairs = identities_of_pairs(config.pairs, config.folds, config.pair_columns)
        identity_map = select_identities(identity_map, in_pairs)
    warnings: tuple[str, ...] = ()
    if config.train_labels:
        of_training = read_training_identities(config.train_labels)
        trained = names_in_both(set(identity_map.values()), of_training)
        identity_map = exclude_identities(identity_map, trained)
        if trained:
            warnings = (
                f"Left out, as asked: {counted(len(trained), 'identity')} of the training set.",
            )
    if not identity_map:
        raise ValueError(
            "No identity is left. Received: "
            f"pairs={config.pairs!r}, folds={config.folds}, train_labels={config.train_labels!r}"
        )
    if not isinstance(config, DistractorsConfig) and len(set(identity_map.values())) < 2:
        raise ValueError(
            "Identification must have images of at least 2 people to choose from. "
            f"Received: {counted(len(identity_map), 'image')} of "
            f"{next(iter(identity_map.values()))}"
        )
    sources = FaceSources(
        config.images,
        config.landmarks,
        config.records,
        config.landmark_columns,
        config.detector,
        config.policy,
    )
    return LabeledImages(identity_map, sources, templates, warnings)


def _read_identities(config: IdentifyConfig, lists: GallerySplit | None) -> IdentityMap:
    if lists is not None:
        return {**lists.entries, **lists.probes}
    if config.images:
        return identities_of_folders(config.images)
    if config.records:
        return identities_of_records(config.records)
    paths = as_list(config.embeddings)
    keys = {key for path in paths for key in load_embeddings(path).keys}
    if not any("/" in key for key in keys):
        raise ValueError(
            "Identities must come from `images`, `records`, `gallery` and `probes`, or the keys "
            f"`identity/image` of `embeddings`. Received: embeddings={config.embeddings} without "
            "such keys, and none of the others"
        )
    return {key: identity_of_key(key) for key in sorted(keys) if "/" in key}


def remaining_gallery(lists: GallerySplit, images: LabeledImages) -> GallerySplit:
    """Return the entries and probes of two lists that are among the images.

    Raises:
        ValueError: If a list has none.
    """
    remaining = GallerySplit(
        *({k: who for k, who in listed.items() if k in images.identities} for listed in lists)
    )
    for flag, listed, left in zip(("gallery", "probes"), lists, remaining, strict=True):
        if not left:
            raise ValueError(
                f"No identity of `{flag}` is left. Check `pairs`, `folds` and `train_labels`. "
                f"Received: {len(listed)} keys, for example {next(iter(listed))}"
            )
    return remaining
