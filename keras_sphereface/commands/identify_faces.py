"""`sphereface identify`: who the faces of images are among the identities of a gallery."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from keras_sphereface.commands.compare import open_finder
from keras_sphereface.config.compare import IdentifyFacesConfig
from keras_sphereface.recognition import DoubtfulImageError, Gallery, Identification
from keras_sphereface.recognition.face_finder import FaceFinder, image_paths
from keras_sphereface.recognition.face_recognizer import BATCH_SIZE
from keras_sphereface.recognition.faces import Face
from keras_sphereface.reporting.metrics_file import as_json
from keras_sphereface.utils.progress import log


def run_identify_faces(config: IdentifyFacesConfig) -> int:
    """Identify and print the answers; what is missing or doubtful goes to standard error.

    Returns:
        1 if an image was refused, else 0.
    """
    paths = image_paths(config.images)
    finder = open_finder(config, paths)
    refused: dict[str, str] = {}
    answers: dict[str, list[Identification]] = {}
    with Gallery.open(config.gallery, finder.recognizer.fingerprint) as gallery:
        for batch in _batches(finder, paths, refused):
            for path, answer in _identify(finder, batch, gallery, config):
                if config.strict and answer.quality.warnings:
                    refused[path] = "; ".join(answer.quality.warnings)
                    log(f"{path}: {refused[path]}")
                    continue
                answers.setdefault(path, []).append(answer)
                if not config.json:
                    _print_answer(path, answer)
    if config.json:
        values = [_as_json(path, answers.get(path, []), refused.get(path)) for path in paths]
        print(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False))
    return int(bool(refused))


def _batches(
    finder: FaceFinder, paths: Sequence[str], refused: dict[str, str]
) -> Iterator[list[tuple[str, Face]]]:
    """Yield faces with the paths of their images, and fill in what is refused, with its reason."""
    batch: list[tuple[str, Face]] = []
    for path in paths:
        try:
            batch += [(path, face) for face in finder.faces(path, path)]
        except DoubtfulImageError as error:
            refused[path] = error.reason
            log(str(error))
        if len(batch) >= BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _identify(
    finder: FaceFinder,
    batch: Sequence[tuple[str, Face]],
    gallery: Gallery,
    config: IdentifyFacesConfig,
) -> Iterator[tuple[str, Identification]]:
    paths, faces = zip(*batch, strict=True)
    answers = finder.recognizer.identify_faces(
        faces,
        gallery,
        top=config.top,
        fpir=config.fpir,
        fusion=config.fusion,
        detect=finder.detect,
    )
    return zip(paths, answers, strict=True)


def _print_answer(path: str, answer: Identification) -> None:
    for note in answer.notes:
        log(f"{path}: {note}")
    box = "" if answer.box is None else f" at {', '.join(f'{side:.0f}' for side in answer.box)}"
    print(f"{path}{box}: {answer.describe()}")
    width = max([len(candidate.name) for candidate in answer.candidates], default=0)
    for candidate in answer.candidates:
        nats = candidate.log_likelihood_ratio
        ratio = "" if nats is None else f"  {nats:+.1f} nats"
        print(f"  {candidate.name:<{width}}  {candidate.score:6.3f}{ratio}")


def _as_json(path: str, answers: list[Identification], refused: str | None) -> dict[str, Any]:
    faces = [{"name": answer.name, **as_json(answer)} for answer in answers]
    return {"image": path, "refused": refused, "faces": faces}
