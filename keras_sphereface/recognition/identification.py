"""The answer to who a face is: the most similar identities of a gallery, or that it is unknown."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from keras_sphereface.export.recognition_file import Recognition, RecognitionThreshold
from keras_sphereface.metrics.identification.gallery_size import fmr_for_fpir, fpir_of_fmr
from keras_sphereface.recognition.comparison import ratio_in_words
from keras_sphereface.recognition.face_quality import FaceQuality
from keras_sphereface.recognition.faces import Face
from keras_sphereface.recognition.template_index import IdentityMatch
from keras_sphereface.utils.text import counted

USUAL_FPIR = 0.01
EMPTY_GALLERY = "The gallery has no identities, so every face is unknown."
MEAN_TEMPLATES = (
    "Threshold and ratios hold for single images; the mean of several templates has other scores."
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An identity that a face may be.

    Attributes:
        name: Name of the identity.
        score: Float in [-1, 1]. Cosine of the face and the identity; higher is more similar.
        log_likelihood_ratio: Float. Nats by which a single comparison with this score is likelier
            for one person than for two; None without a calibration. That the identity was chosen
            among many as the most similar is not counted: of N identities that are equally likely
            beforehand, log N nats are used up by the choice.

    Example:
        >>> Candidate("ada", 0.62, 9.1).name
        'ada'
    """

    name: str
    score: float
    log_likelihood_ratio: float | None = None


@dataclasses.dataclass(frozen=True)
class Identification:
    """A face looked for in a gallery.

    Attributes:
        candidates: The most similar identities, the most similar first.
        is_known: Bool. Whether the first candidate reaches the threshold; None without one.
        threshold: Float. Score from which on a face is taken for the identity; None without one.
        fmr: Float. False match rate of a single comparison at the threshold; None without one.
        fpir: Float. Expected false positive identification rate: the share of faces of other
            people that are taken for someone of this gallery, by `metrics.identification`'s
            `fpir_of_fmr`; None without a threshold.
        num_identities: Int. Identities of the gallery.
        num_comparisons: Int. Comparisons of the face: templates with the fusion "best",
            identities with "mean".
        quality: Quality of the face.
        box: (left, top, right, bottom) in pixels of the image; None without detection.
        notes: Sentences on what is missing or doubtful.

    Example:
        >>> quality = FaceQuality(41.0, 0.1, 0.99, 12.0, ())
        >>> candidates = (Candidate("ada", 0.62, 9.1), Candidate("bob", 0.21, -3.0))
        >>> answer = Identification(candidates, True, 0.55, 1e-4, 0.0095, 90, 95, quality, None)
        >>> answer.name
        'ada'
        >>> print(answer.describe())
        ada: the score 0.620 reaches the threshold 0.550 (about 0.95 % of unknown faces
        reach it among 90 identities). Such a score is about 9,000 times as likely for one person as
        for two. Among 95 comparisons, chance alone reaches it up to 95 times as often as in one.
    """

    candidates: tuple[Candidate, ...]
    is_known: bool | None
    threshold: float | None
    fmr: float | None
    fpir: float | None
    num_identities: int
    num_comparisons: int
    quality: FaceQuality
    box: tuple[float, float, float, float] | None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """The name of the identity if the face is known; None if it is not, or nothing tells."""
        return self.candidates[0].name if self.is_known else None

    def describe(self) -> str:
        """Return the answer in words, without the notes."""
        if not self.candidates:
            return "Unknown: the gallery is empty."
        first = self.candidates[0]
        if self.threshold is None or self.fpir is None:
            answer = f"Most similar is {first.name}, with the score {first.score:.3f}."
        else:
            rate = (
                f"about {_percent(self.fpir)} of unknown faces reach it among "
                f"{counted(self.num_identities, 'identity')}"
            )
            answer = (
                f"{first.name}: the score {first.score:.3f} reaches the threshold "
                f"{self.threshold:.3f} ({rate})."
                if self.is_known
                else f"Unknown: the most similar, {first.name}, has the score {first.score:.3f}, "
                f"below the threshold {self.threshold:.3f} ({rate})."
            )
        # Of the most similar of many, chance alone makes a high ratio: without a name it misleads.
        if first.log_likelihood_ratio is None or not self.is_known:
            return answer
        answer = f"{answer} {ratio_in_words(first.log_likelihood_ratio)}"
        if self.num_comparisons == 1:
            return answer
        return (
            f"{answer} Among "
            f"{self.num_comparisons:,} comparisons, chance alone reaches it up to "
            f"{self.num_comparisons:,} times as often as in one."
        )


def open_set_threshold(
    recognition: Recognition, num_comparisons: int, fpir: float | None = None
) -> tuple[RecognitionThreshold | None, list[str]]:
    """Return the threshold for a gallery of this size, and sentences on what is missing.

    Of the thresholds in recognition.json it is the lowest one whose false match rate gives at most
    the wanted FPIR; between those that were measured none is made up.

    Args:
        recognition: Contents of recognition.json.
        num_comparisons: Int >= 1. Comparisons of a probe.
        fpir: Float in (0, 1). Wanted false positive identification rate; None: 0.01, or the lowest
            that the file allows.

    Raises:
        ValueError: If `fpir` is given and no threshold is high enough for it.
    """
    by_rate = sorted(recognition.thresholds, key=lambda one: -one.fmr)
    wanted = fmr_for_fpir(USUAL_FPIR if fpir is None else fpir, num_comparisons)
    if not by_rate:
        return None, [
            f"recognition.json has no threshold: the pairs of {recognition.data} were too few."
        ]
    chosen = next((one for one in by_rate if one.fmr <= wanted * (1 + 1e-9)), None)
    if chosen is not None:
        return chosen, []
    lowest = fpir_of_fmr(by_rate[-1].fmr, num_comparisons)
    missing = (
        f"needs a threshold for the false match rate {wanted:.2g}; the lowest in recognition.json "
        f"is {by_rate[-1].fmr:g}, by which about {_percent(lowest)} of unknown faces are taken for "
        "someone"
    )
    if fpir is not None:
        raise ValueError(
            f"`fpir` cannot be reached: with {num_comparisons:,} comparisons {fpir:g} {missing}. "
            f"Give fpir >= {lowest:.2g}, or calibrate on more pairs by `sphereface evaluate "
            "--calibrate`."
        )
    return by_rate[-1], [
        f"With {num_comparisons:,} comparisons a false positive identification rate of "
        f"{USUAL_FPIR:g} {missing}. Calibrate on more pairs, or take names with care."
    ]


class GallerySize(NamedTuple):
    """The size of a gallery, as a search meets it.

    Attributes:
        num_identities: Number of identities.
        num_templates: Number of templates.
        fusion: "best" or "mean", of the templates of an identity.
    """

    num_identities: int
    num_templates: int
    fusion: str

    @property
    def num_comparisons(self) -> int:
        """Comparisons of a probe: with each template, or with the mean of each identity."""
        return self.num_templates if self.fusion == "best" else self.num_identities

    @property
    def notes(self) -> list[str]:
        """Sentences on what the threshold does not count."""
        is_mean = self.fusion == "mean" and self.num_templates > self.num_identities
        return [MEAN_TEMPLATES] if is_mean else []


def identification_of(
    face: Face,
    matches: Sequence[IdentityMatch],
    recognition: Recognition | None,
    threshold: RecognitionThreshold | None,
    size: GallerySize,
    notes: Sequence[str],
) -> Identification:
    """Return the answer for a face.

    Args:
        face: The face, embedded.
        matches: The most similar identities.
        recognition: What holds for its scores; None: nothing is known of them.
        threshold: The threshold for a gallery of this size; None: there is none.
        size: Size of the gallery.
        notes: Sentences on what is missing.
    """
    candidates = tuple(
        Candidate(
            match.name,
            match.score,
            None if recognition is None else recognition.log_likelihood_ratio(match.score),
        )
        for match in matches
    )
    is_known = None
    if not candidates:
        is_known = False
    elif threshold is not None:
        is_known = candidates[0].score >= threshold.threshold
    return Identification(
        candidates=candidates,
        is_known=is_known,
        threshold=None if threshold is None else threshold.threshold,
        fmr=None if threshold is None else threshold.fmr,
        fpir=None if threshold is None else fpir_of_fmr(threshold.fmr, size.num_comparisons),
        num_identities=size.num_identities,
        num_comparisons=size.num_comparisons,
        quality=face.quality,
        box=face.box,
        notes=(*notes, *face.quality.warnings),
    )


def _percent(rate: float) -> str:
    return f"{float(f'{100 * rate:.2g}'):g} %"
