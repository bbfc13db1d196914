"""How the false positives of a search grow with the gallery, from those of single comparisons."""

import math

from keras_sphereface.utils.validation import check_integer, require


def fpir_of_fmr(fmr: float, num_comparisons: int) -> float:
    """Return the false positive identification rate of a search of so many comparisons.

    FPIR = 1 - (1 - FMR)^N, about N FMR while that is small. It takes the N comparisons of a probe
    as independent, and the gallery and the probes as like the pairs that the FMR was measured on.
    Templates of one identity, and identities that look alike, are not independent: then FPIR is
    lower. Where probe and gallery are of one age, sex and origin, FMR and with it FPIR is higher.

    Args:
        fmr: Float in [0, 1]. False match rate of one comparison at the threshold.
        num_comparisons: Int >= 0. N, the templates that a probe is compared with.

    References: ISO/IEC 19795-1; Grother, Ngan and Hanaoka, "FRVT Part 2: Identification", NISTIR
    8271, which measures how far it holds.

    Example:
        >>> round(fpir_of_fmr(1e-5, 1000), 6)
        0.00995
    """
    require(0 <= fmr <= 1, "`fmr` must be in [0, 1].", fmr=fmr)
    check_integer(num_comparisons, "num_comparisons", 0)
    if fmr == 1:
        return float(num_comparisons > 0)
    # 1 - (1 - fmr)^N loses every digit of a small rate.
    return -math.expm1(num_comparisons * math.log1p(-fmr))


def fmr_for_fpir(fpir: float, num_comparisons: int) -> float:
    """Return the false match rate of one comparison by which a search has this FPIR.

    The inverse of `fpir_of_fmr`, with the same assumptions.

    Args:
        fpir: Float in (0, 1). False positive identification rate.
        num_comparisons: Int >= 1. N, the templates that a probe is compared with.

    Example:
        >>> f"{fmr_for_fpir(0.01, 1000):.3g}"
        '1.01e-05'
    """
    require(0 < fpir < 1, "`fpir` must be in (0, 1).", fpir=fpir)
    check_integer(num_comparisons, "num_comparisons", 1)
    return -math.expm1(math.log1p(-fpir) / num_comparisons)
