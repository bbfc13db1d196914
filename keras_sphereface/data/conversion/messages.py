"""Warnings about a source, and the error of an empty one: the same here and on Beam."""

import collections
from collections.abc import Iterable, Sequence

from keras_sphereface.data import landmarks
from keras_sphereface.data.conversion.dataset_info import by_frequency
from keras_sphereface.data.conversion.prepare import NO_LANDMARKS
from keras_sphereface.data.types import SkippedImage
from keras_sphereface.utils.text import counted


def name_warnings(twins: Sequence[Sequence[str]]) -> list[str]:
    """Return a warning if names of identities differ in case or Unicode form alone.

    Args:
        twins: Groups of such names.
    """
    if not twins:
        return []
    shown = "; ".join(" and ".join(map(repr, names)) for names in twins[:3])
    return [
        f"{len(twins)} names of identities occur in several spellings that differ in upper and "
        f"lower case or in their Unicode form alone: {shown}. They are separate identities here; "
        "join their folders if they are one."
    ]


def landmark_use_warnings(
    num_with: int, total: int, align: bool, landmark_file: str, of_file: Iterable[str]
) -> list[str]:
    """Return warnings: landmarks are not used, most images lack them, or those of the file.

    Args:
        num_with, total: Int. Images with landmarks, and all.
        align: Bool. Whether faces are aligned.
        landmark_file: Str. Path of the landmark file, or "".
        of_file: Iterable of str. `landmarks.landmark_warnings` of the file.
    """
    if num_with and not align:
        return [
            f"{counted(num_with, 'image has', 'images have')} landmarks that are not used. Use "
            "them: --align."
        ]
    if not landmark_file:
        return []
    warnings = list(of_file)
    if num_with < total / 2:
        warnings.append(
            f"Only {num_with} of {total} images have landmarks in {landmark_file}. Check that "
            "its names are those of the images."
        )
    return warnings


def empty_message(skipped: Iterable[SkippedImage], source: str, first_landmark: str) -> str:
    """Return why no image of a source can be used.

    Args:
        skipped: Iterable of all skipped images, by key.
        source: Str. Path of the source.
        first_landmark: Str. First name in the landmark file; "": there is none.
    """
    skipped = list(skipped)
    reasons = by_frequency(collections.Counter(entry.reason for entry in skipped))
    listed = ", ".join(f"{count} times {reason}" for reason, count in reasons.items())
    example = f", for example {skipped[0].key}" if skipped and skipped[0].key else ""
    hint = ""
    if NO_LANDMARKS in reasons:
        name = first_landmark or "nothing"
        hint = f". Names in --landmarks must be those of the images; its first is {name}"
    return (
        f"No image of the source can be used: {listed or 'there is none'}{example}{hint}. "
        f"Received: source={source}"
    )


def first_landmark_name(landmark_file: str, columns: str) -> str:
    """Return the first name in a landmark file; "" without a file or a line."""
    if not landmark_file:
        return ""
    name, _ = next(landmarks.landmark_lines(landmark_file, columns), ("", None))
    return name
