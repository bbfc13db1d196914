"""A recognition.json carried over to other formats of a network, where the scores are the same."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_sphereface.data import alignment
from keras_sphereface.data.face_drawing import draw_traits, render_face
from keras_sphereface.export.network import network_name
from keras_sphereface.export.recognition_file import (
    CarriedOver,
    model_fingerprint,
    read_recognition,
    recognition_path,
    write_recognition,
)
from keras_sphereface.export.runtime import open_network
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.progress import log

# Of a cosine. The 95 % intervals of thresholds chosen on thousands of pairs are ten times as wide,
# and with a slope of 20 nats a ratio moves by a tenth of a nat.
MAX_SCORE_DIFFERENCE = 0.005
NUM_FACES = 64  # whose 2,016 scores are compared
Embed = Callable[[np.ndarray], np.ndarray]  # uint8 (N, H, W, 3) -> float32 (N, D)


def carry_recognition(
    model: Path,
    files: Mapping[str, Path],
    reference: Embed,
    size: tuple[int, int],
    faces: np.ndarray | None,
) -> dict[str, float]:
    """Write the recognition.json of a network beside other formats of it that score alike.

    A format whose scores differ by more than `MAX_SCORE_DIFFERENCE` gets none, and is to be
    calibrated itself. An older file beside a format that belongs to another network is removed.

    Args:
        model: Path of the network; without a recognition.json of its own nothing is carried over.
        files: {format: file} of the formats.
        reference: The network itself.
        size: (height, width) of the faces.
        faces: uint8 (N, H, W, 3) to compare on, of which the first are taken; None: faces are
            drawn.

    Returns:
        {format: largest difference of a score}; empty if nothing could be carried over.

    Raises:
        ValueError: If recognition.json is damaged.
    """
    for file in files.values():
        _remove_foreign(file)
    source = recognition_path(model)
    if not source.is_file():
        return {}
    recognition = read_recognition(model)
    fingerprint = model_fingerprint(model)
    if recognition.fingerprint != fingerprint:
        log(f"{source} belongs to another network than {model}, and is not carried over.")
        return {}
    kind = "drawn" if faces is None else "given"
    crops = drawn_faces(NUM_FACES, size) if faces is None else faces[:NUM_FACES]
    has_mirror = recognition.fusion == "concatenate"
    expected = _scores(reference, crops, has_mirror)
    differences: dict[str, float] = {}
    for name, file in files.items():
        difference = float(np.abs(_scores(open_network(file), crops, has_mirror) - expected).max())
        differences[name] = difference
        measured = f"scores of {len(crops)} {kind} faces differ by at most {difference:.2g}"
        if difference > MAX_SCORE_DIFFERENCE:
            log(
                f"{name}: recognition.json is not carried over: {measured}, more than "
                f"{MAX_SCORE_DIFFERENCE:g}. Calibrate it itself: sphereface evaluate --model "
                f"{file} --calibrate ..."
            )
            continue
        before = recognition.carried_over
        origin = (
            CarriedOver(recognition.model, fingerprint, len(crops), kind, difference)
            if before is None
            # Of a network that was converted twice the differences add up.
            else dataclasses.replace(before, score_difference=before.score_difference + difference)
        )
        carried = dataclasses.replace(
            recognition,
            model=network_name(file),
            fingerprint=model_fingerprint(file),
            carried_over=origin,
        )
        write_recognition(recognition_path(file), carried)
        log(f"{name}: recognition.json is carried over: {measured}")
    return differences


def drawn_faces(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return aligned drawn faces of different identities, uint8 (count, H, W, 3)."""
    rng = np.random.default_rng(seed)
    faces = [render_face(draw_traits(rng), rng) for _ in range(count)]
    return np.stack([alignment.align(image, points, size) for image, points in faces])


def _scores(embed: Embed, crops: np.ndarray, has_mirror: bool) -> np.ndarray:
    """The scores (N, N) of all pairs of faces."""
    views = [crops, crops[:, :, ::-1]] if has_mirror else [crops]
    rows = unit_rows(np.concatenate([embed(view) for view in views], axis=1), "embeddings")
    return rows @ rows.T


def _remove_foreign(file: Path) -> None:
    """Remove a recognition file that an earlier network left beside a file of this name."""
    path = recognition_path(file)
    if not path.is_file():
        return
    try:
        is_ours = read_recognition(path).fingerprint == model_fingerprint(file)
    except ValueError:
        is_ours = False
    if not is_ours:
        path.unlink()
        log(f"{path} belongs to an earlier {file.name} and is removed.")
