"""The numbers of a calibration as frozen records: fields of `metrics.json`."""

import dataclasses

from keras_sphereface.metrics.bootstrap import Interval


@dataclasses.dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold that some identities chose for a false match rate, judged on others.

    Attributes:
        fmr: Float in (0, 1). Wanted false match rate.
        threshold: Float. Cosine from which on two faces are accepted; chosen on all pairs to
            calibrate on.
        threshold_interval: 95 % interval of the threshold, by identity; None where none was drawn.
        llr: Float. Log-likelihood ratio at the threshold, in nats.
        judged_fmr: Float in [0, 1]. False match rate on the judged identities.
        judged_fmr_interval: 95 % interval by identity.
        judged_fnmr: Float in [0, 1]. False non-match rate on the judged identities.
        judged_fnmr_interval: 95 % interval by identity.
        is_of_all_pairs: Bool. Whether the threshold and the rates come from all pairs of the
            images, because the listed ones do not carry the rate.

    Example:
        >>> one = Interval(0.0, 0.1)
        >>> CalibratedThreshold(0.01, 0.4, None, 3.0, 0.02, one, 0.3, one).judged_fmr
        0.02
    """

    fmr: float
    threshold: float
    threshold_interval: Interval | None
    llr: float
    judged_fmr: float
    judged_fmr_interval: Interval
    judged_fnmr: float
    judged_fnmr_interval: Interval
    is_of_all_pairs: bool = False


@dataclasses.dataclass(frozen=True)
class CalibrationMetrics:
    """A calibration of the cosines of embeddings, and what it is worth on other identities.

    Attributes:
        split: How identities were kept apart, a sentence.
        identities_are_apart: Bool. Whether judged identities are others than calibrated ones.
        num_pairs_dropped: Int. Pairs of two identities of which one was to be calibrated on and
            the other to be judged.
        num_calibration_pairs: Int. Pairs that slope, offset and thresholds come from.
        num_calibration_identities: Int; None where pairs name none.
        num_judged_pairs: Int. Pairs that the costs and rates come from.
        num_judged_identities: Int; None where pairs name none.
        slope: Float. Nats of log-likelihood ratio for each unit of the cosine.
        offset: Float. Nats. The ratio is slope * cosine + offset.
        cllr: Float. Cost of the ratios on the judged pairs, in bits: 0 is perfect, 1 worth nothing.
        cllr_interval: 95 % interval by identity; None where none was drawn.
        isotonic_cllr: Float. The cost of ratios that rise with the score in any way, likewise.
        min_cllr: Float. The lowest cost that the judged scores allow; the rest of `cllr` is lost
            by the calibration.
        thresholds: By falling false match rate, as far as the pairs carry.

    Example:
        >>> dataclasses.fields(CalibrationMetrics)[0].name
        'split'
    """

    split: str
    identities_are_apart: bool
    num_pairs_dropped: int
    num_calibration_pairs: int
    num_calibration_identities: int | None
    num_judged_pairs: int
    num_judged_identities: int | None
    slope: float
    offset: float
    cllr: float
    cllr_interval: Interval | None
    isotonic_cllr: float
    min_cllr: float
    thresholds: tuple[CalibratedThreshold, ...]
