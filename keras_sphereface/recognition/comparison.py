"""The answer to whether two faces are of one person: a score, and what it is worth."""

import dataclasses
import math

from keras_sphereface.export.recognition_file import Recognition, RecognitionThreshold
from keras_sphereface.recognition.face_quality import FaceQuality

USUAL_FMR = 1e-3
NEUTRAL_NATS = math.log(1.5)  # a ratio nearer to 1 speaks for neither
NO_CALIBRATION = (
    "The network has no recognition.json, so its scores have neither a threshold nor a likelihood "
    "ratio: `sphereface evaluate --calibrate` writes one from pairs of faces."
)
GENERATED_FACES = (
    "Threshold and likelihood ratio are of generated faces; of real ones they say nothing."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two faces compared.

    Attributes:
        score: Float in [-1, 1]. Cosine of the embeddings; higher is more similar.
        log_likelihood_ratio: Float. Nats by which the score is likelier for one person than for
            two; None without a calibration.
        is_match: Bool. Whether the score reaches the threshold; None without one.
        threshold: Float. Score from which on two faces are accepted as one person; None without
            one.
        fmr: Float. False match rate of the threshold: the share of pairs of two persons that
            reach it; None without one.
        quality: The `FaceQuality` of both faces.
        boxes: Of both faces (left, top, right, bottom) in pixels; None without detection.
        notes: Sentences on what is missing or doubtful.

    Example:
        >>> quality = FaceQuality(41.0, 0.1, 0.99, 12.0, ())
        >>> print(Comparison(0.62, 9.1, True, 0.41, 0.001, (quality,) * 2, (None,) * 2).describe())
        One person: the score 0.620 reaches the threshold 0.410 (false match rate 0.001). Such a
        score is about 9,000 times as likely for one person as for two.
    """

    score: float
    log_likelihood_ratio: float | None
    is_match: bool | None
    threshold: float | None
    fmr: float | None
    quality: tuple[FaceQuality, FaceQuality]
    boxes: tuple[tuple[float, float, float, float] | None, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """ "One person", "Two persons" or "Maybe one person"; "" without a threshold.

        A score below a threshold for few false matches may still be likelier for one person.
        """
        if self.threshold is None:
            return ""
        if self.is_match:
            return "One person"
        nats = self.log_likelihood_ratio
        return "Two persons" if nats is None or nats <= -NEUTRAL_NATS else "Maybe one person"

    def describe(self) -> str:
        """Return the answer in words, without the notes."""
        if self.threshold is None:
            answer = f"The score is {self.score:.3f}."
        else:
            verb = "reaches" if self.is_match else "is below"
            answer = (
                f"{self.verdict}: the score {self.score:.3f} {verb} the threshold "
                f"{self.threshold:.3f} (false match rate {self.fmr:g})."
            )
        if self.log_likelihood_ratio is None:
            return answer
        return f"{answer} {ratio_in_words(self.log_likelihood_ratio)}"


def ratio_in_words(log_likelihood_ratio: float) -> str:
    """Return what a log-likelihood ratio in nats says, as a sentence.

    No more than one digit of it is meant, and beyond a million to one none.

    Example:
        >>> ratio_in_words(-3.2)
        'Such a score is about 20 times as likely for two persons as for one.'
    """
    sides = ("one person as for two", "two persons as for one")
    side = sides[log_likelihood_ratio < 0]
    nats = abs(log_likelihood_ratio)
    if nats >= math.log(1e6):
        return f"Such a score is more than 1,000,000 times as likely for {side}."
    ratio = math.exp(nats)
    if nats < NEUTRAL_NATS:
        return "Such a score is about as likely for one person as for two."
    rounded = float(f"{ratio:.1g}")
    return f"Such a score is about {rounded:,.0f} times as likely for {side}."


def chosen_threshold(recognition: Recognition, fmr: float | None) -> RecognitionThreshold | None:
    """Return the threshold for a false match rate; of None the largest one up to 0.001.

    None if the file has no threshold at all; if all are above 0.001, the lowest.

    Raises:
        ValueError: If `fmr` is given and the file has no threshold for it.
    """
    if fmr is not None:
        return recognition.threshold_at(fmr)
    by_rate = sorted(recognition.thresholds, key=lambda one: -one.fmr)
    usual = [one for one in by_rate if one.fmr <= USUAL_FMR * (1 + 1e-9)]
    return next(iter(usual or by_rate[-1:]), None)
