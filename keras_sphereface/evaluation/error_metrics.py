"""Errors of identities, pairs and images, as frozen records: `errors` of `metrics.json`."""

import dataclasses

from keras_sphereface.evaluation.operating_point import OperatingPoint


@dataclasses.dataclass(frozen=True)
class ZooMember:
    """An identity with its errors; `metrics.zoo` defines the kinds.

    Attributes:
        identity: Its name.
        kind: "goat", "wolf or lamb", both joined by a comma, or "".
        num_images: Int.
        num_matched: Int. Matched comparisons of its images.
        num_false_nonmatches: Int. Those that do not match.
        num_false_matches: Int. Mismatched comparisons with its images that match.
        share_of_false_nonmatches: Float in [0, 1]. Its share of those of all identities.
        share_of_false_matches: Float in [0, 1]. Share of all false matches that it is part of.

    Example:
        >>> ZooMember("Ann", "goat", 4, 6, 6, 0, 0.1, 0.0).kind
        'goat'
    """

    identity: str
    kind: str
    num_images: int
    num_matched: int
    num_false_nonmatches: int
    num_false_matches: int
    share_of_false_nonmatches: float
    share_of_false_matches: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Two identities that are mistaken for each other.

    Attributes:
        first: Name of an identity.
        second: Name of another one.
        num_false_matches: Int. Comparisons of their images that match.
        highest_score: Float. Highest cosine of these.
        first_image: Key of the image of `first` in it.
        second_image: Key of the image of `second`.

    Example:
        >>> Confusion("Ann", "Bea", 3, 0.7, "Ann/1.jpg", "Bea/2.jpg").num_false_matches
        3
    """

    first: str
    second: str
    num_false_matches: int
    highest_score: float
    first_image: str
    second_image: str


@dataclasses.dataclass(frozen=True)
class LabelDoubt:
    """A comparison whose label is probably wrong, to be looked at.

    Attributes:
        kind: "matched" or "mismatched", as labeled.
        first: Key of an image.
        second: Key of the other one.
        score: Float. Cosine.
        reason: Why, in a few words.

    Example:
        >>> LabelDoubt("matched", "Ann/1.jpg", "Ann/2.jpg", -0.1, "...").kind
        'matched'
    """

    kind: str
    first: str
    second: str
    score: float
    reason: str


@dataclasses.dataclass(frozen=True)
class ImageScore:
    """An image and how well it is recognized.

    Attributes:
        image: Its key.
        score: Float. Mean cosine with the other images of its identity.

    Example:
        >>> ImageScore("Ann/1.jpg", 0.6).score
        0.6
    """

    image: str
    score: float


@dataclasses.dataclass(frozen=True)
class Concentration:
    """How many identities the errors are of.

    Attributes:
        share_with_half: Float in [0, 1]. Smallest share of the identities that have half of the
            errors.
        by_chance: Float in [0, 1]. The same if each comparison were as likely to be an error.

    Example:
        >>> Concentration(0.05, 0.3).share_with_half
        0.05
    """

    share_with_half: float
    by_chance: float


@dataclasses.dataclass(frozen=True)
class ErrorMetrics:
    """Who is mistaken for whom at one threshold, and what may be labeled wrong.

    Attributes:
        point: The threshold, and the errors of all images at it.
        label_doubts: Comparisons that are probably labeled wrong, of each kind the clearest first.
        best_images: Those of the highest mean score with their mates.
        worst_images: Those of the lowest one.
        num_goats: Int. Identities that are not recognized; None where identities are unknown.
        num_wolves: Int. Identities that are mistaken for others; None likewise.
        false_nonmatches: Concentration of false non-matches; None likewise, or without any.
        false_matches: Concentration of false matches; None likewise.
        goats: The identities with most false non-matches.
        wolves: The identities with most false matches.
        confusions: The identities that are mistaken for each other most often.

    Example:
        >>> [field.name for field in dataclasses.fields(ErrorMetrics)][:2]
        ['point', 'label_doubts']
    """

    point: OperatingPoint
    label_doubts: tuple[LabelDoubt, ...]
    best_images: tuple[ImageScore, ...]
    worst_images: tuple[ImageScore, ...]
    num_goats: int | None = None
    num_wolves: int | None = None
    false_nonmatches: Concentration | None = None
    false_matches: Concentration | None = None
    goats: tuple[ZooMember, ...] = ()
    wolves: tuple[ZooMember, ...] = ()
    confusions: tuple[Confusion, ...] = ()
