"""Quality of one face: what makes its embedding doubtful."""

import dataclasses

import cv2
import numpy as np

from keras_sphereface.export.recognition_file import OrdinaryNorms

# Of the template's 35 pixels: less than a third is seen, the rest is interpolated.
MIN_EYE_DISTANCE = 12.0
# Of 400 aligned faces of LFW 0.2 % are below; of the same blurred by 3 pixels (standard deviation)
# 87 %, by 5 pixels 95 %, and aligned from a third of their size 3 %.
MIN_SHARPNESS = 0.014
_BORDER = 8  # the outer eighth of the width may be black


@dataclasses.dataclass(frozen=True)
class FaceQuality:
    """What is known of the quality of a face.

    Attributes:
        eye_distance: Float. Pixels between the eyes in the image; None without detection.
        sharpness: Float >= 0. Variance of the Laplacian as a share of the variance of the aligned
            face: about 0.1 of faces of LFW, 0.01 of blurred ones.
        confidence: Float in [0, 1], the detector's; None without detection.
        norm: Float. Length |x| of the embedding of the face alone; None before it is embedded.
            Networks trained with A-Softmax give clear faces longer ones; what is ordinary for the
            network stands in its recognition.json, and a shorter one is a warning.
        warnings: Sentences on what is doubtful; none if all looks well.

    Example:
        >>> quality = measure_quality(np.zeros((112, 96, 3), np.uint8), eye_distance=8.0)
        >>> quality.warnings[0]
        'the face is tiny: 8 pixels between the eyes, at least 12 are needed'
    """

    eye_distance: float | None
    sharpness: float
    confidence: float | None
    norm: float | None
    warnings: tuple[str, ...]


def with_norm(quality: FaceQuality, norm: float, ordinary: OrdinaryNorms | None) -> FaceQuality:
    """Return the quality with the length |x| of the embedding, and a warning if that is short.

    Args:
        quality: Quality of the face.
        norm: Float. |x|.
        ordinary: Those of faces that the network was calibrated on; None: not known.
    """
    warnings = quality.warnings
    if ordinary is not None and norm < ordinary.low:
        warnings = (
            *warnings,
            f"the embedding is short: |x| is {norm:.3g}; of the faces of the calibration 99 % have "
            f"at least {ordinary.low:.3g}",
        )
    return dataclasses.replace(quality, norm=norm, warnings=warnings)


def measure_quality(
    crop: np.ndarray, eye_distance: float | None = None, confidence: float | None = None
) -> FaceQuality:
    """Measure an aligned face.

    Args:
        crop: uint8 (H, W, 3) RGB.
        eye_distance: Float. Pixels between the eyes before alignment; None: not known.
        confidence: Float in [0, 1], the detector's; None: not known.

    Example:
        >>> measure_quality(np.zeros((112, 96, 3), np.uint8)).sharpness
        0.0
    """
    sharpness = _sharpness(crop)
    warnings = []
    if eye_distance is not None and eye_distance < MIN_EYE_DISTANCE:
        warnings.append(
            f"the face is tiny: {eye_distance:.0f} pixels between the eyes, at least "
            f"{MIN_EYE_DISTANCE:.0f} are needed"
        )
    if sharpness < MIN_SHARPNESS:
        warnings.append(
            f"the face is blurred: sharpness {sharpness:.3f}, at least {MIN_SHARPNESS} is needed"
        )
    return FaceQuality(eye_distance, sharpness, confidence, None, tuple(warnings))


def _sharpness(crop: np.ndarray) -> float:
    # As large as the template: the limits were measured there.
    face = crop
    if face.shape[0] != 112:
        face = cv2.resize(face, (round(112 * face.shape[1] / face.shape[0]), 112))
    gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = gray.shape
    middle = gray[height // 7 : height - height // 7, width // _BORDER : width - width // _BORDER]
    return float(cv2.Laplacian(middle, cv2.CV_32F).var() / max(float(middle.var()), 1.0))
