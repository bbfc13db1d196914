"""Evaluation: a SavedModel and pairs of faces in, `metrics.json` and pictures out."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_sphereface import alignment, bins, images, lfw, lists, score_plots, verification
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.progress import progress_bar

PROTOCOL = (
    "sphereface: mean of the other folds subtracted, flip-concatenated features, cosine, "
    "threshold the mean of the best on the other folds"
)
FARS = (1e-1, 1e-2, 1e-3)


class Embedder:
    """The flip-concatenated embedding of a SavedModel: uint8 (N, H, W, 3) -> (N, 2 D).

    It takes any SavedModel with the signature `images` uint8 (N, H, W, 3) -> `embeddings`:
    its `embed` where it has one, and else two views through its `serving_default`.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if its signature is another; the message says what was found.
    """

    def __init__(self, path: str | os.PathLike):
        if not (Path(path) / "saved_model.pb").is_file():
            raise FileNotFoundError(f"`model` must be a SavedModel folder. Received: {path}")
        self.model = tf.saved_model.load(str(path))
        signatures = self.model.signatures
        self.flips_itself = "embed" in signatures
        name = "embed" if self.flips_itself else "serving_default"
        expected = "`images` uint8 (N, H, W, 3) -> `embeddings` float32 (N, D)"
        if name not in signatures:
            raise ValueError(
                f"The SavedModel needs a signature serving_default, {expected}. "
                f"Received: {path} with signatures {sorted(signatures)}"
            )
        self.function = signatures[name]
        inputs = self.function.structured_input_signature[1]
        spec = inputs.get("images")
        outputs = self.function.structured_outputs
        if len(inputs) != 1 or "embeddings" not in outputs or not _is_batch_of_images(spec):
            raise ValueError(
                f"Signature {name} must be {expected}. Received: {inputs} -> {outputs}"
            )
        self.image_size: tuple[int, int] = tuple(spec.shape[1:3])

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        if self.flips_itself:
            return self._one_view(pictures)
        views = [self._one_view(pictures), self._one_view(pictures[:, :, ::-1])]
        return np.concatenate(views, axis=-1)

    def _one_view(self, pictures):
        return self.function(images=tf.constant(pictures))["embeddings"].numpy()


def _is_batch_of_images(spec):
    return (
        spec is not None
        and spec.dtype == tf.uint8
        and spec.shape.rank == 4
        and spec.shape[0] is None
        and spec.shape[-1] == 3
        and None not in spec.shape[1:]
    )


class FaceSet(NamedTuple):
    """Pairs of faces, and how to get a face by its key."""

    pairs: lfw.Pairs
    load: Callable[[str], np.ndarray]  # key -> uint8 (H, W, 3)


class MissingFace(ValueError):
    """A face of a pair is not to be had; the message says why."""


class Verification(NamedTuple):
    """What embeddings say of P pairs."""

    metrics: dict  # what stands in metrics.json
    curve: verification.Roc
    scores: np.ndarray  # (P,)
    is_same: np.ndarray  # (P,) bool


def face_set(config: EvaluateConfig, image_size: tuple[int, int]) -> FaceSet:
    """The verification set that the settings name, with faces of `image_size`.

    Raises:
        FileNotFoundError, ValueError: if the settings do not fit together or a file is not
            as it should be.
    """
    from_bin = bool(config.bin) and not (config.images or config.pairs or config.landmarks)
    from_images = bool(config.images and config.pairs) and not config.bin
    if not (from_bin or from_images):
        raise ValueError(
            f"Give either `bin` alone, or `images` and `pairs`. Received: bin={config.bin!r}, "
            f"images={config.images!r}, pairs={config.pairs!r}, landmarks={config.landmarks!r}"
        )
    if config.bin:
        encoded, is_same = bins.read_bin(config.bin)
        keys = [f"{number:06d}" for number in range(len(encoded))]
        # A .bin has no folds: equal parts in their order, as is usual for these sets.
        folds = np.arange(len(is_same)) * 10 // len(is_same) + 1
        pairs = lfw.Pairs(keys[::2], keys[1::2], is_same, folds)
        read, landmarks = (lambda key: encoded[int(key)]), None
    else:
        pairs = lfw.read_pairs(config.pairs)
        root = Path(config.images)
        if not root.is_dir():
            raise FileNotFoundError(f"`images` must be a folder. Received: {root}")
        landmarks = lists.read_landmarks(config.landmarks) if config.landmarks else None
        read = lambda key: (root / key).read_bytes()  # noqa: E731
    pairs = pairs.in_folds(config.folds)

    def load(key):
        try:
            image = images.decode(read(key))
        except OSError:
            raise MissingFace("no such picture") from None
        except images.UnreadableImage as error:
            raise MissingFace(f"cannot be read: {error}") from None
        if landmarks is None:
            fits = image.shape[:2] == image_size
            return image if fits else images.crop_to(image, image_size)
        if key not in landmarks:
            raise MissingFace("no landmarks")
        try:
            return alignment.align(image, landmarks[key], image_size)
        except ValueError:
            raise MissingFace("its landmarks do not fit the picture") from None

    return FaceSet(pairs, load)


def load_faces(
    keys: Iterable[str], load: Callable[[str], np.ndarray], missing: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and their faces; those that are not to be had go to `missing` with the reason."""
    for key in keys:
        try:
            yield key, load(key)
        except MissingFace as error:
            missing[key] = str(error)


def embed_all(
    keys: Iterable[str], load: Callable[[str], np.ndarray], embedder: Embedder, batch_size: int
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Each face once, whatever the number of its pairs.

    Returns:
        {key: embedding (2 D,)} and, for faces that are not to be had, {key: reason}.
    """
    embeddings: dict[str, np.ndarray] = {}
    missing: dict[str, str] = {}
    waiting: list[tuple[str, np.ndarray]] = []

    def flush():
        if waiting:
            names, faces = zip(*waiting, strict=True)
            embeddings.update(zip(names, embedder(np.stack(faces)), strict=True))
            waiting.clear()

    for found in load_faces(progress_bar(keys, unit="picture", desc="embedding"), load, missing):
        waiting.append(found)
        if len(waiting) == batch_size:
            flush()
    flush()
    return embeddings, missing


def complete_pairs(pairs: lfw.Pairs, missing: dict[str, str]) -> np.ndarray:
    """Which pairs have both of their faces, (P,) bool.

    Raises:
        ValueError: if none has.
    """
    both = zip(pairs.first, pairs.second, strict=True)
    complete = np.array([a not in missing and b not in missing for a, b in both])
    if not complete.any():
        raise ValueError(
            f"No pair has both of its faces. Received: {len(missing)} of "
            f"{len(faces_of(pairs))} faces missing, the first {next(iter(missing.items()))}"
        )
    return complete


def faces_of(pairs: lfw.Pairs) -> list[str]:
    """The keys of all faces in pairs, each once."""
    return sorted({*pairs.first, *pairs.second})


def verify(
    pairs: lfw.Pairs, embeddings: dict[str, np.ndarray], missing: dict[str, str]
) -> Verification:
    """The protocol on the pairs that are complete.

    Args:
        pairs: all pairs.
        embeddings: {key: embedding (2 D,)} of the faces that are there.
        missing: {key: reason} of the others.

    Raises:
        ValueError: if no pair is complete or the others do not suit the protocol.
    """
    complete = complete_pairs(pairs, missing)
    used = pairs.select(complete)
    first, second = (np.stack([embeddings[key] for key in side]) for side in used[:2])
    try:
        results = verification.k_fold_accuracy(first, second, used.is_same, used.folds)
    except ValueError as error:
        if missing:
            raise ValueError(f"{len(missing)} faces are missing. {error}") from error
        raise
    scores = np.empty(len(used.first))
    for fold, result in zip(np.unique(used.folds), results, strict=True):
        scores[used.folds == fold] = result.scores
    curve = verification.roc(scores, used.is_same)
    metrics = {
        **_accuracy_metrics(results, np.unique(used.folds)),
        "auc": verification.auc_score(curve),
        "eer": verification.equal_error(curve),
        "tar_at_far": _tar_at_far(curve, np.sum(~used.is_same)),
        "num_pairs": len(used.first),
        "protocol": PROTOCOL,
        **_missing_metrics(results, complete, missing),
    }
    return Verification(metrics, curve, scores, used.is_same)


def evaluate(config: EvaluateConfig) -> dict:
    """Evaluate as `config` says; write metrics.json, roc.png and similarities.png.

    A pair with a face that is not to be had is left out of every number. How many there are,
    why, and the accuracy if all of them were counted as wrong or as right (the other pairs as
    they are), stands in the result.

    Returns:
        What stands in metrics.json.

    Raises:
        FileNotFoundError, ValueError: if model or pairs cannot be used.
    """
    if config.batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: batch_size={config.batch_size}")
    embedder = Embedder(config.model)
    pairs, load = face_set(config, embedder.image_size)
    embeddings, missing = embed_all(faces_of(pairs), load, embedder, config.batch_size)
    metrics, curve, scores, is_same = verify(pairs, embeddings, missing)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    save_figures(out, curve, scores, is_same, float(np.mean(metrics["thresholds"])))
    return metrics


def _accuracy_metrics(results, folds):
    per_fold = [result.accuracy for result in results]
    return {
        "accuracy_mean": float(np.mean(per_fold)),
        "accuracy_std": float(np.std(per_fold)),
        "accuracy_per_fold": per_fold,
        "folds": folds.tolist(),
        "thresholds": [result.threshold for result in results],
    }


def _tar_at_far(curve, num_different):
    """TAR at each FAR; None where not even one false accept is allowed."""
    return {
        f"{far:g}": verification.tar_at_far(curve, far) if far * num_different >= 1 else None
        for far in FARS
    }


def _missing_metrics(results, complete, missing):
    right = sum(result.accuracy * len(result.scores) for result in results)
    left_out = int(np.sum(~complete))
    return {
        "num_pairs_left_out": left_out,
        "missing": missing,
        "accuracy_bounds": [
            right / len(complete),
            (right + left_out) / len(complete),
        ],
    }


def save_figures(out: Path, curve, scores, is_same, threshold) -> None:
    """roc.png and similarities.png."""
    for name, draw in (
        ("roc.png", lambda axes: score_plots.plot_roc(axes, {"all pairs": curve})),
        (
            "similarities.png",
            lambda axes: score_plots.plot_similarity_histogram(axes, scores, is_same, threshold),
        ),
    ):
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        draw(figure.subplots())
        figure.savefig(out / name, dpi=120)


def summary(metrics: dict) -> str:
    """The numbers as lines of text, with what is missing said first."""
    lines = []
    if metrics["num_pairs_left_out"]:
        reasons = sorted(set(metrics["missing"].values()))
        low, high = (100 * bound for bound in metrics["accuracy_bounds"])
        lines.append(
            f"WARNING: {metrics['num_pairs_left_out']} pairs are left out, because "
            f"{len(metrics['missing'])} pictures are missing ({'; '.join(reasons)}). The numbers "
            f"below are of the other pairs. With those left out counted as wrong the accuracy "
            f"over all pairs is {low:.2f} %, counted as right {high:.2f} %."
        )
    per_fold = ", ".join(f"{100 * accuracy:.2f}" for accuracy in metrics["accuracy_per_fold"])
    tars = ", ".join(
        f"{far}: " + ("too few pairs" if tar is None else f"{100 * tar:.2f} %")
        for far, tar in metrics["tar_at_far"].items()
    )
    lines += [
        f"pairs              {metrics['num_pairs']}",
        f"accuracy           {100 * metrics['accuracy_mean']:.2f} % "
        f"+- {100 * metrics['accuracy_std']:.2f} (folds: {per_fold})",
        f"AUC                {metrics['auc']:.4f}",
        f"EER                {100 * metrics['eer']:.2f} %",
        f"TAR at FAR         {tars}",
    ]
    return "\n".join(lines)
