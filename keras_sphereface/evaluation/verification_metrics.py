"""The numbers of a verification as frozen records: the fields of `metrics.json`.

Rates and accuracies are fractions from 0 to 1, angles are degrees. Scores and thresholds have the
unit that `score_unit` names.
"""

import dataclasses

from keras_sphereface.evaluation.beyond_metrics import BeyondMetrics
from keras_sphereface.evaluation.calibration_metrics import CalibrationMetrics
from keras_sphereface.evaluation.error_metrics import ErrorMetrics
from keras_sphereface.evaluation.group_metrics import GroupMetrics
from keras_sphereface.evaluation.quality_metrics import QualityMetrics
from keras_sphereface.metrics.bootstrap import Interval


@dataclasses.dataclass(frozen=True)
class FoldMetrics:
    """One fold of a protocol, judged by the threshold that the other folds chose.

    Attributes:
        fold: Int. Number of the fold, from 1.
        accuracy: Float in [0, 1]. Share of its pairs that are classified correctly.
        threshold: Float, in the unit of the scores.

    Example:
        >>> FoldMetrics(fold=1, accuracy=0.95, threshold=0.31).accuracy
        0.95
    """

    fold: int
    accuracy: float
    threshold: float


@dataclasses.dataclass(frozen=True)
class AccuracySummary:
    """Accuracy over the folds of a protocol.

    Attributes:
        accuracy_mean: Float in [0, 1]. Mean over the folds.
        accuracy_std: Float. Standard deviation over the folds (population).
        accuracy_standard_error: Float. Standard error of the mean (Huang et al., 2007, eq. 3).

    Example:
        >>> AccuracySummary(0.95, 0.01, 0.0033).accuracy_mean
        0.95
    """

    accuracy_mean: float
    accuracy_std: float
    accuracy_standard_error: float


@dataclasses.dataclass(frozen=True)
class BootstrapIntervals:
    """Bootstrap intervals; None and an empty dict where none were computed.

    Attributes:
        replicates: Int. Number of bootstrap draws.
        confidence: Float in (0, 1). Share of the draws inside an interval.
        auc: Interval of the AUC.
        eer: Interval of the equal error rate.
        tar_at_far: {FAR: interval of the true accept rate}, for each FAR that the number of
            mismatched pairs supports.
        accuracy: Interval of the mean accuracy, with the thresholds of the folds as they are.
        resampled: "identities" where identities were drawn, with all of their pairs, else "pairs":
            pairs that share an identity were then taken for independent, and the intervals are too
            narrow.
        num_identities: Int. Number of identities that were drawn; None where pairs were.

    Example:
        >>> BootstrapIntervals(replicates=0, confidence=0.95).auc is None
        True
    """

    replicates: int
    confidence: float
    auc: Interval | None = None
    eer: Interval | None = None
    tar_at_far: dict[str, Interval] = dataclasses.field(default_factory=dict)
    accuracy: Interval | None = None
    resampled: str = "pairs"
    num_identities: int | None = None


@dataclasses.dataclass(frozen=True)
class VerificationMetrics(AccuracySummary):
    """The numbers of one set of pairs by one protocol.

    Attributes:
        folds: A `FoldMetrics` for each fold.
        auc: Float in [0, 1]. Area under the ROC curve.
        eer: Float in [0, 1]. Equal error rate.
        tar_at_far: {FAR: true accept rate}; None where the mismatched pairs are too few for
            that FAR. On single comparisons FAR is the FMR of ISO/IEC 19795-1, and 1 - TAR its
            FNMR.
        threshold_at_far: {FAR: threshold}; None as in `tar_at_far`, and where every threshold
            accepts too many mismatched pairs.
        intervals: Bootstrap intervals of the accuracy, `auc`, `eer` and `tar_at_far`, by identity
            where the pairs name them.
        pair_intervals: The same by pair, to compare: too narrow where identities repeat.
        num_pairs: Int. Number of complete pairs; all numbers except the bounds come from them.
        num_matched: Int. Complete pairs of one identity.
        num_mismatched: Int. Complete pairs of two identities.
        num_pairs_left_out: Int. Pairs without an embedding for one of their two faces.
        accuracy_bounds: (low, high). Share of correct decisions over all pairs, if all pairs
            that are left out were wrong, or correct.
        missing: {key of an image or template: reason why it has no embedding}.
        protocol: Name and description of the protocol.
        score_unit: Unit of scores and thresholds.
        num_views: Int. 2 with embeddings of the mirror images, 1 without.
        accuracy_by_protocol: {protocol: accuracy by it}.

    Example:
        >>> {"eer", "auc"} <= {field.name for field in dataclasses.fields(VerificationMetrics)}
        True
    """

    folds: tuple[FoldMetrics, ...]
    auc: float
    eer: float
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    intervals: BootstrapIntervals
    pair_intervals: BootstrapIntervals
    num_pairs: int
    num_matched: int
    num_mismatched: int
    num_pairs_left_out: int
    accuracy_bounds: tuple[float, float]
    missing: dict[str, str]
    protocol: str
    score_unit: str
    num_views: int
    accuracy_by_protocol: dict[str, AccuracySummary]


@dataclasses.dataclass(frozen=True)
class Criterion:
    """SphereFace's criterion: the largest intra-class angle is below the smallest inter-class one.

    Attributes:
        compared: "identities" where all images of all identities were compared, else "pairs".
        largest_intra_class_angle: Float. Degrees.
        smallest_inter_class_angle: Float. Degrees.
        holds: Bool. Whether the criterion holds.
        num_identities: Int. Number of identities; None where pairs were compared.
        num_identities_with_several_images: Int, of them; None where pairs were compared.
        share_of_identities: Float in [0, 1]. Share of the identities with several images for
            which the criterion holds; None where pairs were compared.

    Reference: Liu et al., "SphereFace", CVPR 2017, section 1.

    Example:
        >>> Criterion("pairs", 70.0, 80.0, holds=True).num_identities is None
        True
    """

    compared: str
    largest_intra_class_angle: float
    smallest_inter_class_angle: float
    holds: bool
    num_identities: int | None = None
    num_identities_with_several_images: int | None = None
    share_of_identities: float | None = None


@dataclasses.dataclass(frozen=True)
class AccuracyVariant:
    """The accuracy with other pairs, for example without repeated ones.

    Attributes:
        pairs: Description of the pairs.
        num_pairs: Int. Number of the pairs.
        accuracy_mean: Float in [0, 1]; None if the protocol cannot judge these pairs.

    Example:
        >>> AccuracyVariant("without repeated pairs", num_pairs=55, accuracy_mean=0.9).num_pairs
        55
    """

    pairs: str
    num_pairs: int
    accuracy_mean: float | None


@dataclasses.dataclass(frozen=True)
class AcquisitionMetrics:
    """Failures to acquire images and to enroll templates, and the FNMR that counts them.

    Attributes:
        num_images: Int. Images that the pairs need.
        num_failures_to_acquire: Int. Images of them without an embedding.
        fta: Float in [0, 1]. Failure-to-acquire rate: the share of these images.
        num_templates: Int. Templates that the pairs name; 0 where they name images.
        num_failures_to_enroll: Int. Templates without an embedding of any image.
        fte: Float in [0, 1]. Failure-to-enroll rate: the share of these templates; None where the
            pairs name images.
        fnmr_at_fmr: {FMR: FNMR} over all pairs, those with a failure counted as not matching;
            None where the mismatched pairs are too few for that FMR.

    Example:
        >>> AcquisitionMetrics(20, 1, 0.05, 0, 0, None, {"0.1": 0.12}).fnmr_at_fmr["0.1"]
        0.12
    """

    num_images: int
    num_failures_to_acquire: int
    fta: float
    num_templates: int
    num_failures_to_enroll: int
    fte: float | None
    fnmr_at_fmr: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class EmbeddingRuntime:
    """Time and size of embeddings, each of an image joined with that of its mirror image.

    Attributes:
        num_images: Int. Images that were embedded.
        batch_size: Int. Images of the largest batch.
        milliseconds_per_image: Float. Median over the batches; reading and aligning images are
            not in it.
        images_per_second: Float. Its inverse.
        bytes_per_template: Int. Size of a template in float32.
        machine: Description of the machine.

    Example:
        >>> EmbeddingRuntime(64, 32, 2.0, 500.0, 4096, "2 cores").images_per_second
        500.0
    """

    num_images: int
    batch_size: int
    milliseconds_per_image: float
    images_per_second: float
    bytes_per_template: int
    machine: str


@dataclasses.dataclass(frozen=True)
class EvaluationMetrics:
    """Contents of `metrics.json`: one model on one set of pairs.

    Attributes:
        model: Name of the model, or of its file of embeddings.
        set: Name of the set of pairs.
        warnings: Findings of the quality checks, a sentence or two each.
        verification: Accuracy, ROC and counts.
        criterion: Angles within and between identities.
        variants: The accuracy with other pairs.
        acquisition: Failures to acquire and to enroll, and the FNMR that counts them.
        runtime: Time and size of embeddings; None of saved ones. Equal results may differ in it.
        groups: Errors by group; None without `--groups`.
        errors: Who is mistaken for whom, and which labels may be wrong.
        calibration: Log-likelihood ratios and thresholds; None without `--calibrate`.
        quality: How well the length of embeddings and other measures foretell errors; None of
            templates.
        beyond: False match rates from all pairs of the images, and extrapolated ones; None where
            keys name no identities, or the images are too many.

    Example:
        >>> [field.name for field in dataclasses.fields(EvaluationMetrics)][:3]
        ['model', 'set', 'warnings']
    """

    model: str
    set: str
    warnings: tuple[str, ...]
    verification: VerificationMetrics
    criterion: Criterion
    variants: tuple[AccuracyVariant, ...]
    acquisition: AcquisitionMetrics | None = None
    runtime: EmbeddingRuntime | None = dataclasses.field(default=None, compare=False)
    groups: GroupMetrics | None = None
    errors: ErrorMetrics | None = None
    calibration: CalibrationMetrics | None = None
    quality: QualityMetrics | None = None
    beyond: BeyondMetrics | None = None
