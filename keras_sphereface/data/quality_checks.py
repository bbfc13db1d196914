"""Quality checks of a sample of images, from the pixels alone.

Faces that are not aligned, or aligned twice, or BGR, raise no error, but make a network inaccurate.
Each measure takes faces as the network will see them, uint8 (H, W, 3) RGB of one size, and returns
numbers; `check_images` turns the numbers into warnings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from keras_sphereface.data import alignment, face_measures

# Fewer images are not judged: one face would outweigh the mean of all.
MIN_SAMPLE = 16
# Faces of LFW aligned again by points 2 pixels off lose 0.01 of their single fit at most; faces
# a tenth too large have 0.02 to 0.05 less, and aligning them is right.
SAME_FIT = 0.02
# Faces of LFW, aligned: 0.002 on average. Aligned twice by the first landmarks: 0.4 to 0.6.
BLACK_SHARE = 0.1
# Of 20,000 samples of 64 faces of LFW none had more than 2 bluer than red. A half is far from both
# ends.
BLUER_SHARE = 0.5
# A few gray images are in every set.
GRAY_SHARE = 0.1


class TemplateFit(NamedTuple):
    """Fit of eyes, nose and mouth to the five-point template: correlations, -1 ... 1.

    Attributes:
        average: Fit of the average image: high if the faces lie in the right place.
        single: Average fit of the single images: high if every face lies there.

    Measured on 1,000 samples of 64 faces, lowest to highest, at 112 x 96 (112 x 112 is similar):

    | faces                                        | average      | single       |
    |----------------------------------------------|--------------|--------------|
    | LFW aligned, in color, gray or mirrored     | 0.74 .. 0.85 | 0.34 .. 0.43 |
    | the darkest tenth of them                    | 0.68 .. 0.76 | 0.31 .. 0.36 |
    | of a quarter of the resolution               | 0.62 .. 0.73 | 0.28 .. 0.35 |
    | generated, aligned                           | 0.81 .. 0.89 | 0.48 .. 0.56 |
    | LFW not aligned (in one place, but another)  | 0.42 .. 0.56 | 0.18 .. 0.26 |
    | LFW cropped at random                        | 0.26 .. 0.63 | 0.05 .. 0.18 |
    | aligned, but each moved by 8 pixels any way  | 0.55 .. 0.79 | 0.15 .. 0.27 |
    | aligned, but all moved by 8 pixels sideways  | 0.50 .. 0.60 | 0.24 .. 0.30 |
    | aligned, but all moved by 6 up or down       | 0.37 .. 0.54 | 0.20 .. 0.28 |
    | aligned, then the middle 0.6 to 0.8 enlarged | 0.31 .. 0.59 | 0.13 .. 0.28 |
    | aligned twice, by the first landmarks        | -0.0 .. 0.01 | -0.0 .. 0.01 |
    | upside down                                  | -0.1 .. 0.11 | -0.0 .. 0.04 |
    | ORL, not aligned                             | 0.49 .. 0.68 | 0.15 .. 0.23 |
    | generated, not aligned                       | 0.17 .. 0.44 | 0.04 .. 0.11 |
    """

    average: float
    single: float

    def is_aligned(self) -> bool:
        return self.average >= ALIGNED_FIT.average and self.single >= ALIGNED_FIT.single

    def __str__(self) -> str:
        return f"{self.average:.2f} on average and {self.single:.2f} singly"


ALIGNED_FIT = TemplateFit(average=0.6, single=0.26)


def check_images(
    faces: Sequence[np.ndarray], cropped: Sequence[np.ndarray] | None = None
) -> list[str]:
    """Return warnings about a sample of faces; none if all looks well.

    Args:
        faces: Some 64 faces as the network will see them, uint8 (H, W, 3) RGB of one size. Fewer
            than 16 are not judged.
        cropped: If `faces` were aligned by landmarks: the same images, only cropped to the shape
            (`images.crop_to`). They show whether alignment was needed.

    Returns:
        One or two sentences a warning: what was measured, what is likely, what to do.

    Example:

    >>> blue = np.zeros((112, 96, 3), np.uint8) + np.array([0, 0, 200], np.uint8)
    >>> [warning.split(":")[0] for warning in check_images([blue] * 16)][-1]
    'These images look like BGR'
    """
    if len(faces) < MIN_SAMPLE:
        return []
    return [*_alignment_warnings(faces, cropped), *_color_warnings(faces)]


def _alignment_warnings(
    faces: Sequence[np.ndarray], cropped: Sequence[np.ndarray] | None
) -> list[str]:
    fit, black = template_fit(faces), black_share(faces)
    if cropped is not None:
        before = template_fit(cropped)
        if before.is_aligned() and before.single > fit.single - SAME_FIT:
            measured = (
                "These images look aligned already, before their landmarks are used (fit to the "
                f"five-point template {before}"
            )
            if fit.is_aligned():
                return [f"{measured}): aligning again only blurs them. Leave the landmarks out."]
            return [
                f"{measured}; {fit} after it): aligning twice ruins them. Leave the landmarks out; "
                "they belong to the original images."
            ]
    if fit.is_aligned():
        return []
    measured = f"fit to the five-point template {fit}, of aligned faces about 0.8 and 0.4"
    if black >= BLACK_SHARE:
        return [
            f"These faces look aligned twice, or by landmarks of other images ({measured}; "
            f"{black:.0%} of the pixels are black). Start from the original images."
        ]
    if cropped is not None:
        return [
            f"These faces look unaligned in spite of their landmarks ({measured}). Check that "
            "the landmarks belong to these images, in pixels, left eye first."
        ]
    return [
        f"These faces look unaligned, or aligned twice ({measured}). Align the original images by "
        "their landmarks (--landmarks), or let a detector find these (--detect of convert, "
        "--detector of evaluate): a network needs faces aligned like those it was trained on."
    ]


def _color_warnings(faces: Sequence[np.ndarray]) -> list[str]:
    warnings = []
    gray = _measures(faces).is_gray
    if gray.mean() >= GRAY_SHARE:
        warnings.append(
            f"{gray.mean():.0%} of these images are gray. That is no error, but a network "
            "trained on color recognizes gray faces less accurately."
        )
    colored = [face for face, is_gray in zip(faces, gray, strict=True) if not is_gray]
    bluer = bluer_share(colored) if len(colored) >= MIN_SAMPLE else 0.0
    if bluer > BLUER_SHARE:
        warnings.append(
            f"These images look like BGR: in {bluer:.0%} of them the face is bluer than it is "
            "red. Swap the channels first."
        )
    return warnings


def template_fit(faces: Sequence[np.ndarray]) -> TemplateFit:
    """Measure how well faces lie on `alignment.landmark_template`, without a detector.

    Brows, lids, nostrils and lips are horizontal edges, and cheeks have none. The edges of one
    image mean little; averaged over a sample they stand out where the faces agree in place. A
    mirrored face fits as well as the face itself.

    Example:

    >>> noise = np.random.default_rng(0).integers(0, 256, (20, 112, 96, 3), np.uint8)
    >>> template_fit(noise).is_aligned()
    False
    """
    edges = np.array([_horizontal_edges(face) for face in faces])
    expected, inside = face_measures.expected_edges(edges.shape[2])
    expected, edges = _standardized(expected[inside]), edges[:, inside]
    return TemplateFit(
        average=float(_standardized(edges.mean(axis=0)) @ expected),
        single=float(np.mean(_standardized(edges) @ expected)),
    )


def _horizontal_edges(face: np.ndarray) -> np.ndarray:
    """Return the strength of the horizontal edges, 0 ... 1: (112, W'), scaled to the template."""
    height, width = face.shape[:2]
    image = Image.fromarray(face).convert("L")
    if height != alignment.TEMPLATE_SIZE[0]:
        scale = alignment.TEMPLATE_SIZE[0] / height
        image = image.resize((round(scale * width), alignment.TEMPLATE_SIZE[0]))
    gray = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float64)
    slope = np.abs(np.gradient(gray, axis=0))
    # Relative to the image's mean: neither contrast nor a black border may weigh too much.
    return slope / (slope + slope.mean() + 1e-6)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Shift and scale to mean 0 and norm 1 along the last axis; equal values become 0."""
    centered = values - values.mean(axis=-1, keepdims=True)
    return centered / np.maximum(np.linalg.norm(centered, axis=-1, keepdims=True), 1e-9)


def black_share(faces: Sequence[np.ndarray]) -> float:
    """Return the share of black pixels, which `alignment.warp` puts outside of an image."""
    return float(_measures(faces).black.mean())


def bluer_share(faces: Sequence[np.ndarray]) -> float:
    """Return the share of images whose middle, from eyes to mouth, is bluer than it is red.

    Gray images are neither.
    """
    return float(_measures(faces).is_bluer.mean())


def _measures(faces: Sequence[np.ndarray]) -> face_measures.FaceMeasures:
    return face_measures.measure_faces(np.stack([face_measures.thumbnail(face) for face in faces]))
