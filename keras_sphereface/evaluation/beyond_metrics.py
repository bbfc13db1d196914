"""The numbers beyond the listed pairs as frozen records: fields of `metrics.json`."""

import dataclasses

from keras_sphereface.metrics.bootstrap import Interval


@dataclasses.dataclass(frozen=True)
class BeyondPoint:
    """A false match rate: the threshold that all pairs show for it, and extrapolated ones.

    Attributes:
        fmr: Float in (0, 1). False match rate.
        threshold: Float. Cosine at which all mismatched pairs have the rate; None where it allows
            less than one of them.
        threshold_interval: 95 % interval by identity; an end that the pairs do not tell is -1 or 1.
        fnmr: Float in [0, 1]. False non-match rate of all matched pairs at the threshold.
        fnmr_interval: 95 % interval by identity.
        extrapolated_threshold: Float. That of the extreme-value distribution of the highest scores
            of all pairs; an extrapolation.
        extrapolated_interval: 95 % interval by identity; None where none was drawn.
        listed_threshold: Float. The same from the listed pairs alone; an extrapolation.
        listed_fmr: Float in [0, 1]. False match rate of all pairs at `listed_threshold`: the check
            of the extrapolation. None where all pairs do not tell it.
        listed_fmr_interval: 95 % interval by identity.

    Example:
        >>> BeyondPoint(1e-8).threshold is None
        True
    """

    fmr: float
    threshold: float | None = None
    threshold_interval: Interval | None = None
    fnmr: float | None = None
    fnmr_interval: Interval | None = None
    extrapolated_threshold: float | None = None
    extrapolated_interval: Interval | None = None
    listed_threshold: float | None = None
    listed_fmr: float | None = None
    listed_fmr_interval: Interval | None = None


@dataclasses.dataclass(frozen=True)
class BeyondMetrics:
    """False match rates that the listed pairs do not carry, from all pairs of their images.

    Attributes:
        num_images: Int. Images of the listed pairs.
        num_identities: Int.
        num_matched: Int. All matched pairs of them.
        num_mismatched: Int. All mismatched pairs of them.
        num_listed_mismatched: Int. Mismatched pairs of the list.
        points: By falling false match rate.

    Example:
        >>> BeyondMetrics(900, 400, 1200, 403_350, 600, ()).num_mismatched
        403350
    """

    num_images: int
    num_identities: int
    num_matched: int
    num_mismatched: int
    num_listed_mismatched: int
    points: tuple[BeyondPoint, ...]
