"""The index lists of Celebrities in Frontal-Profile (CFP), as published.

`Protocol/Split/FF/01` to `10` and `FP/01` to `10` each hold same.txt and diff.txt, whose lines
`i,j` are numbers of images. `Pair_list_F.txt` and `Pair_list_P.txt` have a line `number path` for
each frontal image and each profile. In FF both numbers are frontal images; in FP the second is a
profile.
"""

import os
import re
from pathlib import Path

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.utils.text import numbered_lines

SAME, DIFFERENT = "same.txt", "diff.txt"
FRONTAL, PROFILE = "Pair_list_F.txt", "Pair_list_P.txt"
_LISTS_OF = {"FF": (FRONTAL, FRONTAL), "FP": (FRONTAL, PROFILE)}
_IMAGES = "Data/Images/"  # the paths in the lists are ../Data/Images/001/frontal/01.jpg


def read_cfp(folder: str | os.PathLike) -> lfw.Pairs:
    """Read the pairs of a folder `Protocol/Split/FF` or `FP`, a fold for each folder in it.

    Keys are `001/frontal/01.jpg`, below the folder `Data/Images`.

    Raises:
        ValueError: naming file and line, if a line has another form or names no image.
        FileNotFoundError: if a list is missing.

    Reference: Sengupta et al., "Frontal to profile face verification in the wild", WACV 2016.

    Example:

    >>> folder = Path("cfp/Protocol/Split/FP/01")
    >>> folder.mkdir(parents=True)
    >>> for name, line in (("same", "1,1"), ("diff", "1,2")):
    ...     _ = (folder / f"{name}.txt").write_text(line)
    >>> for kind, name in (("F", "frontal"), ("P", "profile")):
    ...     lines = [f"{i} ../Data/Images/{i:03d}/{name}/01.jpg" for i in (1, 2)]
    ...     _ = Path(f"cfp/Protocol/Pair_list_{kind}.txt").write_text("\\n".join(lines))
    >>> pairs = read_cfp("cfp/Protocol/Split/FP")
    >>> pairs.first[1], pairs.second[1], pairs.is_same
    ('001/frontal/01.jpg', '002/profile/01.jpg', array([ True, False]))
    """
    root = Path(folder)
    splits = sorted(path for path in root.iterdir() if (path / SAME).is_file())
    if root.name not in _LISTS_OF or not splits:
        raise ValueError(
            "A folder of pairs must be Protocol/Split/FF or Protocol/Split/FP of CFP, with 01/same"
            f".txt and 01/diff.txt in it, and so on. Received: {root}"
        )
    images = [_images(root, name) for name in _LISTS_OF[root.name]]
    first: list[str] = []
    second: list[str] = []
    is_same, folds, lines = [], [], []
    for fold, split in enumerate(splits, start=1):
        for name in (SAME, DIFFERENT):
            for number, line in numbered_lines(split / name):
                match = re.fullmatch(r"(\d{1,9})\s*[, \t]\s*(\d{1,9})", line)
                if match is None or any(
                    int(index) not in of for index, of in zip(match.groups(), images, strict=True)
                ):
                    raise ValueError(
                        f"{split / name}, line {number}: expected two numbers `i,j` of the images "
                        f"in {' and '.join(_LISTS_OF[root.name])}. Received: {line!r}"
                    )
                first.append(images[0][int(match[1])])
                second.append(images[1][int(match[2])])
                is_same.append(name == SAME)
                folds.append(fold)
                lines.append(number)
    return lfw.Pairs(
        first, second, np.array(is_same, bool), np.array(folds, np.int64), np.array(lines)
    )


def _images(root: Path, name: str) -> dict[int, str]:
    """Return {number: key} of a list of images, which lies beside the folder Split or in it."""
    places = [place / name for place in (root.parent.parent, root.parent)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{root} needs {name}, the list of its images. Received: no file {places[0]}"
        )
    images = {}
    for number, line in numbered_lines(path):
        match = re.fullmatch(r"(\d{1,9})[\s,]+(\S.*)", line)
        if match is None:
            raise ValueError(f"{path}, line {number}: expected `number path`. Received: {line!r}")
        key = match[2].replace("\\", "/")
        images[int(match[1])] = key.rpartition(_IMAGES)[2].removeprefix("../")
    return images
