"""The numbers of errors by group, as frozen records: `groups` of `metrics.json`."""

import dataclasses

from keras_sphereface.evaluation.operating_point import OperatingPoint
from keras_sphereface.metrics.bootstrap import Interval

MIN_IDENTITIES = 30  # of a group that is ranked: below, a few identities decide


@dataclasses.dataclass(frozen=True)
class ErrorRate:
    """A rate of errors at the threshold.

    Attributes:
        num_comparisons: Int.
        num_errors: Int.
        rate: Float in [0, 1]; None without comparisons.
        interval: 95 % interval by identity; None without comparisons or draws. Where there is no
            error it is that of Clopper and Pearson, over identities.

    Example:
        >>> ErrorRate(1000, 20, 0.02, Interval(0.01, 0.03)).rate
        0.02
    """

    num_comparisons: int
    num_errors: int
    rate: float | None
    interval: Interval | None


@dataclasses.dataclass(frozen=True)
class GroupRates:
    """Rates within a group, or across two groups.

    Attributes:
        groups: The group, or the two of them.
        num_identities: Int. Identities with an image in it; in both together across two.
        num_images: Int.
        is_small: Bool. Fewer than 30 identities in one of them: shown, not ranked.
        fmr: False match rate: mismatched comparisons that match.
        fnmr: False non-match rate: matched comparisons that do not. Across groups there are such
            only where groups are of images, for example ages.

    Example:
        >>> none = ErrorRate(0, 0, None, None)
        >>> GroupRates(("female",), 221, 400, False, none, none).name
        'female'
    """

    groups: tuple[str, ...]
    num_identities: int
    num_images: int
    is_small: bool
    fmr: ErrorRate
    fnmr: ErrorRate

    @property
    def name(self) -> str:
        """The names of the groups in one."""
        return " x ".join(self.groups)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A measure of how far the rates of groups are apart.

    Attributes:
        value: Float; infinite (null in JSON) where a rate is zero and another is not.
        interval: 95 % interval by identity; None without draws.

    Example:
        >>> Ratio(2.0, Interval(1.2, 3.1)).value
        2.0
    """

    value: float
    interval: Interval | None


@dataclasses.dataclass(frozen=True)
class Differential:
    """How far the rates of the ranked groups are apart, of one kind of error.

    Attributes:
        worst: Group with the highest rate.
        best: Group with the lowest rate.
        worst_to_best: Highest rate by lowest rate, >= 1. Its interval is that of these two groups:
            where it holds 1 the difference may be chance.
        worst_to_geometric_mean: Highest rate by the geometric mean of the rates, likewise.
        gini: Gini coefficient as in GARBE, 0 to 1.

    Example:
        >>> one = Ratio(1.0, None)
        >>> Differential("female", "male", one, one, Ratio(0.0, None)).worst
        'female'
    """

    worst: str
    best: str
    worst_to_best: Ratio
    worst_to_geometric_mean: Ratio
    gini: Ratio


@dataclasses.dataclass(frozen=True)
class AcrossPairs:
    """Listed mismatched pairs across groups, and the result without them.

    Attributes:
        num_mismatched: Int. Listed mismatched pairs with a group for both images.
        num_across: Int. Those of two groups.
        auc: Float in [0, 1]. Area under the ROC of the protocol's scores, of all listed pairs.
        auc_without: Float. The same without mismatched pairs across groups; None if none is left.
        eer: Float in [0, 1]. Equal error rate of all listed pairs.
        eer_without: Float. The same without.
        fnmr_without: Float. FNMR at the same FMR over comparisons within groups alone; None if
            there is none.

    Example:
        >>> AcrossPairs(600, 234, 0.97, 0.96, 0.08, 0.09, 0.5).share
        0.39
    """

    num_mismatched: int
    num_across: int
    auc: float
    auc_without: float | None
    eer: float
    eer_without: float | None
    fnmr_without: float | None

    @property
    def share(self) -> float:
        """Share of the listed mismatched pairs that are across groups."""
        return self.num_across / self.num_mismatched if self.num_mismatched else 0.0


@dataclasses.dataclass(frozen=True)
class GroupColumn:
    """Errors by the groups of one column.

    Attributes:
        column: Name of the column.
        num_without_group: Int. Images without a group in it.
        within: Rates within each group, the largest group first.
        across: Rates across each two groups.
        fmr: How far the false match rates of ranked groups are apart; None with fewer than two.
        fnmr: The same of false non-match rates.
        garbe: Gini aggregation rate for biometric equitability, alpha 0.5; None as above.
        listed: Listed mismatched pairs across groups.

    Example:
        >>> [field.name for field in dataclasses.fields(GroupColumn)][:2]
        ['column', 'num_without_group']
    """

    column: str
    num_without_group: int
    within: tuple[GroupRates, ...]
    across: tuple[GroupRates, ...]
    fmr: Differential | None
    fnmr: Differential | None
    garbe: Ratio | None
    listed: AcrossPairs


@dataclasses.dataclass(frozen=True)
class GroupMetrics:
    """Errors by group at one threshold.

    Attributes:
        file: Name of the file of groups.
        point: The threshold, and the errors of all images at it.
        replicates: Int. Draws of identities.
        columns: A `GroupColumn` for each column.
        notes: What was left out, a sentence each.

    Example:
        >>> [field.name for field in dataclasses.fields(GroupMetrics)][:2]
        ['file', 'point']
    """

    file: str
    point: OperatingPoint
    replicates: int
    columns: tuple[GroupColumn, ...]
    notes: tuple[str, ...]
