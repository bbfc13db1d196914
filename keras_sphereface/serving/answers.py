"""The answers of the service, as its OpenAPI description shows them."""

import base64

import pydantic

from keras_sphereface.data.images import encode_png
from keras_sphereface.recognition.comparison import Comparison, ratio_in_words
from keras_sphereface.serving.inference_queue import EmbeddedFace


class FaceAnswer(pydantic.BaseModel):
    """A face of an upload."""

    box: tuple[float, float, float, float] | None = pydantic.Field(
        description="Left, top, right and bottom in pixels of the upright image; null without "
        "detection."
    )
    image_size: tuple[int, int] = pydantic.Field(description="Height and width of the image.")
    eye_distance: float | None = pydantic.Field(description="Pixels between the eyes.")
    sharpness: float = pydantic.Field(description="About 0.1 of clear faces, 0.01 of blurred ones.")
    confidence: float | None = pydantic.Field(description="That of the detector, in [0, 1].")
    norm: float | None = pydantic.Field(description="Length |x| of the embedding.")
    warnings: tuple[str, ...] = pydantic.Field(description="What is doubtful.")
    crop: str | None = pydantic.Field(description="The aligned face as a data: address, if asked.")


class CompareAnswer(pydantic.BaseModel):
    """Two faces compared."""

    score: float = pydantic.Field(description="Cosine of the embeddings, in [-1, 1].")
    log_likelihood_ratio: float | None = pydantic.Field(
        description="Nats by which the score is likelier for one person than for two; null without "
        "a calibration."
    )
    is_match: bool | None = pydantic.Field(description="Whether the score reaches the threshold.")
    threshold: float | None
    fmr: float | None = pydantic.Field(description="False match rate of the threshold.")
    answer: str = pydantic.Field(description="The answer in words.")
    notes: tuple[str, ...] = pydantic.Field(description="What is missing or doubtful.")
    faces: tuple[FaceAnswer, FaceAnswer]


class CandidateAnswer(pydantic.BaseModel):
    """An identity that a face may be."""

    name: str
    score: float = pydantic.Field(description="Cosine of the face and the identity, in [-1, 1].")
    log_likelihood_ratio: float | None
    answer: str | None = pydantic.Field(description="The ratio in words.")


class IdentifyAnswer(pydantic.BaseModel):
    """A face looked for in the gallery."""

    name: str | None = pydantic.Field(
        description="The identity, if the most similar one reaches the threshold."
    )
    is_known: bool | None = pydantic.Field(description="Null without a threshold.")
    threshold: float | None
    fpir: float | None = pydantic.Field(
        description="Expected share of unknown faces that are taken for someone of this gallery."
    )
    num_identities: int
    candidates: tuple[CandidateAnswer, ...] = pydantic.Field(
        description="The most similar identities, the most similar first."
    )
    answer: str = pydantic.Field(description="The answer in words.")
    notes: tuple[str, ...] = pydantic.Field(description="What is missing or doubtful.")
    face: FaceAnswer


class EnrollAnswer(pydantic.BaseModel):
    """An identity after an enrollment."""

    name: str
    num_added: int = pydantic.Field(description="Templates added; those there before are not.")
    faces: tuple[FaceAnswer, ...]


class IdentityAnswer(pydantic.BaseModel):
    """An enrolled identity."""

    name: str
    num_templates: int


class IdentitiesAnswer(pydantic.BaseModel):
    """A page of the enrolled identities, by name."""

    total: int
    identities: tuple[IdentityAnswer, ...]
    next: str | None = pydantic.Field(description="Give it as `after` for the next page.")


class RemoveAnswer(pydantic.BaseModel):
    """What became of a removed identity."""

    erased: bool = pydantic.Field(
        description="False while another process keeps the bytes in the file; it is found no more."
    )


class ThresholdAnswer(pydantic.BaseModel):
    """A threshold and its false match rate."""

    fmr: float
    threshold: float


class CalibrationAnswer(pydantic.BaseModel):
    """What a score is worth: slope * score + offset nats."""

    slope: float
    offset: float
    cllr: float = pydantic.Field(description="Cost in bits on other identities; 1 is useless.")
    thresholds: tuple[ThresholdAnswer, ...]
    data: str
    date: str


class ModelAnswer(pydantic.BaseModel):
    """The network, and what the service allows."""

    name: str
    fingerprint: str
    version: str
    image_size: tuple[int, int]
    detects_faces: bool
    has_gallery: bool
    calibration: CalibrationAnswer | None
    notes: tuple[str, ...]
    max_body_bytes: int
    max_pixels: int
    max_images: int


class HealthAnswer(pydantic.BaseModel):
    """The state of the service."""

    status: str


class ProblemAnswer(pydantic.BaseModel):
    """An error, application/problem+json."""

    title: str
    status: int
    code: str = pydantic.Field(description="What is wrong, for programs.")
    detail: str = pydantic.Field(description="What is wrong, for people.")
    field: str | None = pydantic.Field(None, description="The field of the form that is meant.")


def face_answer(embedded: EmbeddedFace, crops: bool) -> FaceAnswer:
    """Return what is told of a face; with `crops` also its aligned image."""
    face, crop = embedded.face, None
    if crops:
        crop = "data:image/png;base64," + base64.b64encode(encode_png(face.crop)).decode()
    quality = face.quality
    return FaceAnswer(
        box=face.box,
        image_size=embedded.image_size,
        eye_distance=quality.eye_distance,
        sharpness=quality.sharpness,
        confidence=quality.confidence,
        norm=quality.norm,
        warnings=quality.warnings,
        crop=crop,
    )


def compare_answer(
    comparison: Comparison, faces: tuple[EmbeddedFace, EmbeddedFace], crops: bool
) -> CompareAnswer:
    """Return the answer of a comparison."""
    return CompareAnswer(
        score=comparison.score,
        log_likelihood_ratio=comparison.log_likelihood_ratio,
        is_match=comparison.is_match,
        threshold=comparison.threshold,
        fmr=comparison.fmr,
        answer=comparison.describe(),
        notes=comparison.notes,
        faces=(face_answer(faces[0], crops), face_answer(faces[1], crops)),
    )


def candidate_answer(name: str, score: float, ratio: float | None) -> CandidateAnswer:
    """Return what is told of an identity that a face may be."""
    return CandidateAnswer(
        name=name,
        score=score,
        log_likelihood_ratio=ratio,
        answer=None if ratio is None else ratio_in_words(ratio),
    )
