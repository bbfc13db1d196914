"""How well measures of image quality foretell errors: `quality` of metrics.json."""

import dataclasses

from keras_sphereface.evaluation.operating_point import OperatingPoint
from keras_sphereface.metrics.bootstrap import Interval


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What refusing the images of lowest quality costs and brings, at the same threshold.

    Attributes:
        share: Float in (0, 1). Share of the images that are refused.
        limit: Float. Images below this quality are refused.
        num_refused: Int. Images refused.
        num_identities_lost: Int. Identities of which no image is left; None where identities are
            unknown.
        fnmr: Float in [0, 1]. False non-match rate of what is kept; None if that is nothing.
        change: Float. `fnmr` minus that of all images.
        interval: 95 % interval of `change` by identity; None without draws.
        fmr: Float in [0, 1]. False match rate of what is kept.

    Example:
        >>> Refusal(0.05, 12.5, 78, 3, 0.08, -0.02, None, 0.001).share
        0.05
    """

    share: float
    limit: float
    num_refused: int
    num_identities_lost: int | None
    fnmr: float | None
    change: float | None
    interval: Interval | None
    fmr: float | None


@dataclasses.dataclass(frozen=True)
class QualityMeasure:
    """A measure of quality and how well it foretells false non-matches.

    Attributes:
        name: "norm", "sharpness", "size" or "frontality".
        description: What it is, in words.
        area: Float. Partial area under the error-versus-discard curve up to a discard of 20 %:
            0 is the best possible, 1 is random; None without errors.
        interval: 95 % interval of `area` by identity; None without draws.
        fnmr_by_discard: (41,) FNMR of what is kept where 0, 1, ..., 40 % of the matched
            comparisons are discarded.
        refusals: What refusing 1, 2, 5, 10 and 20 % of the images does.

    Example:
        >>> QualityMeasure("norm", "length of the embedding", 0.6, None, (), ()).area
        0.6
    """

    name: str
    description: str
    area: float | None
    interval: Interval | None
    fnmr_by_discard: tuple[float, ...]
    refusals: tuple[Refusal, ...]

    @property
    def is_better_than_random(self) -> bool:
        """Whether the interval of the area lies below 1."""
        return self.interval is not None and self.interval.high < 1


@dataclasses.dataclass(frozen=True)
class ImageQuality:
    """An image and a measure of its quality.

    Attributes:
        image: Its key.
        quality: Float.

    Example:
        >>> ImageQuality("Ann/1.jpg", 11.2).quality
        11.2
    """

    image: str
    quality: float


@dataclasses.dataclass(frozen=True)
class QualityMetrics:
    """Quality of images and errors at one threshold.

    Attributes:
        point: The threshold, and the errors of all images at it.
        measures: Those that are known of all images and differ between them.
        suggested: The refusal that brings most for each image refused, of the norm and of 10 % at
            most; None if none surely lowers the false non-match rate.
        lowest: The images of the shortest embeddings.

    Example:
        >>> [field.name for field in dataclasses.fields(QualityMetrics)][:2]
        ['point', 'measures']
    """

    point: OperatingPoint
    measures: tuple[QualityMeasure, ...]
    suggested: Refusal | None
    lowest: tuple[ImageQuality, ...]
