"""`recognition.json`: the threshold and the calibration that belong to a network.

`sphereface evaluate --calibrate` writes it into the folder of a SavedModel, or beside a .tflite,
.onnx or .npz file, and into its output folder. What compares faces with this network reads from it
how a score is made, from which score on two faces are one person, and what a score is worth.
"""

import dataclasses
import hashlib
import json
import os
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.reporting.metrics_file import as_json
from keras_sphereface.utils.atomic import atomic_file

RECOGNITION_FILE = "recognition.json"
FORMAT, VERSION = "keras_sphereface.recognition", 1
SCORE = "cosine"
FUSIONS = ("concatenate", "none")  # of the embeddings of the image and of its mirror image
BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class RecognitionThreshold:
    """A threshold for a false match rate, chosen and judged on different identities.

    Attributes:
        fmr: Float in (0, 1). Wanted false match rate, on the pairs that chose the threshold.
        threshold: Float. Score from which on two faces are accepted as one person.
        threshold_interval: (low, high), 95 %, by identity; None where none was computed.
        judged_fmr: Float in [0, 1]. False match rate on other identities; None if not measured.
        judged_fmr_interval: (low, high), 95 %, by identity.
        judged_fnmr: Float in [0, 1]. False non-match rate on other identities.
        judged_fnmr_interval: (low, high), 95 %, by identity.

    Example:
        >>> RecognitionThreshold(0.001, 0.41, (0.39, 0.44)).threshold
        0.41
    """

    fmr: float
    threshold: float
    threshold_interval: tuple[float, float] | None = None
    judged_fmr: float | None = None
    judged_fmr_interval: tuple[float, float] | None = None
    judged_fnmr: float | None = None
    judged_fnmr_interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class OrdinaryNorms:
    """Lengths |x| of the embeddings of the faces of a set, mirror images apart.

    Attributes:
        low: Float. 1 % of the faces have a shorter one.
        median: Float.
        high: Float. 1 % of the faces have a longer one.
        num_images: Int. Number of faces.

    Example:
        >>> OrdinaryNorms.of(np.linspace(10, 20, 1001)).low
        10.1
    """

    low: float
    median: float
    high: float
    num_images: int

    @classmethod
    def of(cls, norms: np.ndarray) -> "OrdinaryNorms | None":
        """Return those of norms (N,); None if they do not differ, as of embeddings of length 1."""
        low, median, high = (float(value) for value in np.quantile(norms, (0.01, 0.5, 0.99)))
        if high - low <= 1e-3 * median:
            return None
        return cls(round(low, 6), round(median, 6), round(high, 6), len(norms))


@dataclasses.dataclass(frozen=True)
class CarriedOver:
    """What shows that a calibration holds for a converted network too.

    Attributes:
        model: Name of the network that was calibrated.
        fingerprint: SHA-256 of its files.
        num_faces: Int. Number of faces that both networks embedded.
        faces: "given" or "drawn".
        score_difference: Float. Largest difference of a score of two of these faces.

    Example:
        >>> CarriedOver("casia/export", "0" * 64, 64, "given", 3e-7).faces
        'given'
    """

    model: str
    fingerprint: str
    num_faces: int
    faces: str
    score_difference: float


@dataclasses.dataclass(frozen=True)
class Recognition:
    """Contents of `recognition.json`.

    Attributes:
        model: Name of the network.
        fingerprint: SHA-256 of its files, of `model_fingerprint`.
        score: "cosine", of two embeddings.
        fusion: "concatenate": an embedding is that of the image joined with that of its mirror
            image (the signature `embed` of the SavedModel); "none": that of the image alone.
        embedding_size: Int. Numbers of an embedding as it is compared.
        image_size: (height, width) of the faces in pixels; None for saved embeddings.
        color_order: "RGB", the order of the channels of the faces.
        alignment: "five points" by `template`, "center crop", "as stored" or "unknown".
        template: Five points (x, y) in pixels of the face; None without landmarks.
        slope: Float. Nats of log-likelihood ratio for each unit of the score.
        offset: Float. Nats. The ratio is slope * score + offset.
        cllr: Float. Cost of the ratios on identities that did not fit them, in bits.
        min_cllr: Float. The lowest cost that these scores allow, in bits.
        thresholds: By falling false match rate.
        data: Name of the set of pairs.
        date: Day of the calibration, YYYY-MM-DD.
        identities_are_apart: Bool. Whether the identities that judge are others than those that
            chose; False where the pairs name none.
        num_calibration_identities: Int; None where the pairs name none.
        num_calibration_pairs: Int.
        num_judged_identities: Int; None likewise.
        num_judged_pairs: Int.
        norms: Lengths of the embeddings of the set; None in older files, and where they are equal.
        carried_over: The network that was calibrated, if this one was converted from it; else None.
        generated_faces: Bool. Whether the faces of the pairs are generated, so that nothing here
            holds for real ones. Files without it are of other faces.

    Example:
        >>> dataclasses.fields(Recognition)[0].name
        'model'
    """

    model: str
    fingerprint: str
    score: str
    fusion: str
    embedding_size: int
    image_size: tuple[int, int] | None
    color_order: str
    alignment: str
    template: tuple[tuple[float, float], ...] | None
    slope: float
    offset: float
    cllr: float
    min_cllr: float
    thresholds: tuple[RecognitionThreshold, ...]
    data: str
    date: str
    identities_are_apart: bool
    num_calibration_identities: int | None
    num_calibration_pairs: int
    num_judged_identities: int | None
    num_judged_pairs: int
    norms: OrdinaryNorms | None = None
    carried_over: CarriedOver | None = None
    generated_faces: bool = False

    def log_likelihood_ratio(self, score: float) -> float:
        """Return the nats that a score is worth."""
        return self.slope * score + self.offset

    def threshold_at(self, fmr: float) -> RecognitionThreshold:
        """Return the threshold for a false match rate.

        Raises:
            ValueError: If the file has none for it, with those that it has.
        """
        for one in self.thresholds:
            if abs(one.fmr - fmr) <= 1e-9 * fmr:
                return one
        rates = ", ".join(f"{one.fmr:g}" for one in self.thresholds) or "none"
        is_small = fmr < min((one.fmr for one in self.thresholds), default=1.0)
        why = f": the pairs of {self.data} were too few for it" if is_small else ""
        raise ValueError(
            f"There is no threshold for the false match rate {fmr:g}{why}. Available: {rates}"
        )


def recognition_path(model: str | os.PathLike) -> Path:
    """Return where the recognition file of a network is: in its folder, or beside its file.

    Example:
        >>> recognition_path("model").as_posix(), recognition_path("net.onnx").as_posix()
        ('model/recognition.json', 'net.onnx.recognition.json')
    """
    path = Path(model)
    return (
        path / RECOGNITION_FILE
        if path.is_dir()
        else path.with_name(path.name + f".{RECOGNITION_FILE}")
    )


def model_fingerprint(model: str | os.PathLike) -> str:
    """Return the SHA-256 of a file, or of the graph and the weights of a SavedModel, as hex digits.

    Example:
        >>> len(model_fingerprint("model"))
        64
    """
    path = Path(model)
    files = [path]
    if path.is_dir():
        files = [path / "saved_model.pb", *sorted((path / "variables").glob("*"))]
    digest = hashlib.sha256()
    for file in files:
        # The sizes keep two files apart from one that joins them.
        digest.update(f"{file.name if path.is_dir() else ''}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def write_recognition(path: str | os.PathLike, recognition: Recognition) -> None:
    """Write a recognition file, whole or not at all.

    Example:
        >>> recognition = Recognition(
        ...     model="net", fingerprint="0" * 64, score="cosine", fusion="none", embedding_size=8,
        ...     image_size=(112, 96), color_order="RGB", alignment="center crop", template=None,
        ...     slope=20.0, offset=-8.0, cllr=0.3, min_cllr=0.2,
        ...     thresholds=(RecognitionThreshold(0.01, 0.41),), data="lfw", date="2026-11-29",
        ...     identities_are_apart=True, num_calibration_identities=90,
        ...     num_calibration_pairs=200, num_judged_identities=80, num_judged_pairs=200)
        >>> write_recognition("recognition.json", recognition)
        >>> read_recognition("recognition.json") == recognition
        True
    """
    values = {"format": FORMAT, "version": VERSION, **as_json(recognition)}
    text = json.dumps(values, indent=2, allow_nan=False)
    with atomic_file(Path(path)) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_recognition(path: str | os.PathLike) -> Recognition:
    """Read a recognition file, or that of a network.

    Args:
        path: A recognition.json, or a network as in `recognition_path`.

    Raises:
        FileNotFoundError: If there is none, with the command that writes it.
        ValueError: If it is damaged, of another version, or misses something.

    Example:
        >>> read_recognition("model")
        Traceback (most recent call last):
        FileNotFoundError: There is no model/recognition.json. `sphereface evaluate --calibrate` ...
    """
    file = Path(path)
    if not file.name.endswith(RECOGNITION_FILE):
        file = recognition_path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no {file}. `sphereface evaluate --calibrate` writes it.")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} must be a recognition file in JSON. Received: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(
            f'{file} must be a recognition file, with "format": "{FORMAT}". '
            "`sphereface evaluate --calibrate` writes one."
        )
    if values.get("version") != VERSION:
        raise ValueError(
            f"{file} must be of version {VERSION}; write it anew by `sphereface evaluate "
            f"--calibrate`. Received: version {values.get('version')!r}"
        )
    recognition = _record(Recognition, values, str(file), ("format", "version"))
    for name, allowed in (("score", (SCORE,)), ("fusion", FUSIONS), ("color_order", ("RGB",))):
        if getattr(recognition, name) not in allowed:
            raise ValueError(
                f"{file}: `{name}` must be {' or '.join(allowed)}. "
                f"Received: {getattr(recognition, name)!r}"
            )
    return recognition


def _record(kind: type, values: Any, where: str, others: tuple[str, ...] = ()) -> Any:
    """Return a frozen record from an object of JSON with its fields and no others.

    Those with a default may be missing: files of earlier versions lack them.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be an object. Received: {values!r}")
    hints = typing.get_type_hints(kind)
    given = set(values) - set(others)
    needed = {
        field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING
    }
    if not needed <= given <= set(hints):
        raise ValueError(
            f"{where} must have the keys {', '.join(hints)}. Received: without "
            f"{sorted(needed - given) or 'none of them'}, with other "
            f"{sorted(given - set(hints)) or 'none'}"
        )
    return kind(**{name: _value(values[name], hints[name], f"{where}: `{name}`") for name in given})


def _value(value: Any, hint: Any, where: str) -> Any:
    """Return a value of JSON in the type of its field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _value(value, arguments[0], where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            pairs = zip(value, kinds, strict=True)
            return tuple(_value(one, kind, f"{where}[{i}]") for i, (one, kind) in enumerate(pairs))
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    # True is an int to Python, not to a reader of the file.
    if hint in (str, bool, int) and type(value) is hint:
        return value
    raise ValueError(f"{where} must be {getattr(hint, '__name__', hint)}. Received: {value!r}")
