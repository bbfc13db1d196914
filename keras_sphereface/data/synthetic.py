"""Generated face data sets in the form of LFW.

They stand in for a real data set where none is at hand: `make demo`, the tests and every
script that is started without `--data` use them.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.data.face_drawing import draw_traits, render_face
from keras_sphereface.data.images import encode
from keras_sphereface.data.landmarks import landmark_line
from keras_sphereface.data.pairs import lfw
from keras_sphereface.utils.atomic import atomic_directory
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import require

IMAGES, LANDMARKS, PAIRS = "images", "landmarks.txt", "pairs.txt"
TEST_IDENTITIES = "test_identities.txt"
DESCRIPTION = "generated.txt"  # the arguments, as JSON


def generate_faces(
    folder: str | os.PathLike,
    num_identities: int = 60,
    images_per_identity: int = 20,
    num_test_identities: int = 40,
    num_folds: int = 2,
    pairs_per_class: int = 150,
    seed: int = 0,
) -> Path:
    """Write a data set in the form of LFW.

    FOLDER/images/person_0001/person_0001_0001.jpg and so on, landmarks.txt, and for the test
    identities, the last ones, pairs.txt and test_identities.txt (to be excluded from training).
    Each test identity is in one fold. Faces generated with the same arguments are left as they
    are, and those of other arguments are replaced.

    Args:
        folder: Folder to write.
        num_identities: Int. Identities to train on.
        images_per_identity: Int. Images of each, at least 2.
        num_test_identities: Int. Further identities, for the pairs only; 0 for no pairs.
        num_folds: Int. Folds of the pairs.
        pairs_per_class: Int. Matched pairs a fold, and as many mismatched ones.
        seed: Int. Seed for faces and pairs.

    Returns:
        The folder, as an absolute path.

    Raises:
        ValueError: if there are too few identities or images for the pairs.
        FileExistsError: if the folder holds other files.

    Example:

    >>> folder = generate_faces("new", num_identities=1, images_per_identity=2,
    ...                         num_test_identities=0)
    >>> sorted(path.name for path in (folder / "images" / "person_0001").iterdir())
    ['person_0001_0001.jpg', 'person_0001_0002.jpg']
    """
    settings = dict(
        num_identities=num_identities,
        images_per_identity=images_per_identity,
        num_test_identities=num_test_identities,
        num_folds=num_folds,
        pairs_per_class=pairs_per_class,
        seed=seed,
    )
    require(
        num_identities >= 1 and num_test_identities >= 0 and images_per_identity >= 2,
        "At least one identity and 2 images an identity are needed.",
        **settings,
    )
    require(
        not num_test_identities or (num_folds >= 2 and pairs_per_class >= 1),
        "Pairs need at least 2 folds and 1 pair of each kind.",
        **settings,
    )
    require(
        not num_test_identities or num_test_identities >= 2 * num_folds,
        "Every fold needs at least 2 test identities.",
        **settings,
    )
    finished, text = Path(folder).resolve(), json.dumps(settings) + "\n"
    if finished.exists() and any(finished.iterdir()) and description(finished) == text:
        return finished
    names = [f"person_{i:04d}" for i in range(1, num_identities + num_test_identities + 1)]
    test_names = names[num_identities:]
    with atomic_directory(finished) as partial:
        _write_images(partial, names, images_per_identity, seed)
        (partial / TEST_IDENTITIES).write_text("".join(f"{name}\n" for name in test_names))
        if test_names:
            rng = np.random.default_rng([seed, len(names)])
            pairs = _draw_pairs(test_names, images_per_identity, num_folds, pairs_per_class, rng)
            lfw.write_pairs(partial / PAIRS, pairs)
        (partial / DESCRIPTION).write_text(text)
    return finished


def is_generated(folder: Path) -> bool:
    """Return whether a folder holds faces that `generate_faces` has written.

    Example:
        >>> is_generated(Path("faces"))
        True
    """
    return (folder / DESCRIPTION).is_file()


def description(folder: Path) -> str:
    """Return the arguments that a generated data set was made with, as JSON.

    Raises:
        FileExistsError: if `folder` holds other files.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        raise FileExistsError(
            f"The folder must be new, empty, or hold generated faces. Received: {folder}"
        )
    return file.read_text()


def _write_images(folder: Path, names: Sequence[str], images_per_identity: int, seed: int) -> None:
    """Write the images of all identities, and their landmarks."""
    total = len(names) * images_per_identity
    with (
        open(folder / LANDMARKS, "w") as landmarks,
        progress_bar(total=total, unit="image", desc="generating faces") as progress,
    ):
        for identity, name in enumerate(names):
            traits = draw_traits(np.random.default_rng([seed, identity]))
            (folder / IMAGES / name).mkdir(parents=True)
            for number in range(1, images_per_identity + 1):
                image, points = render_face(traits, np.random.default_rng([seed, identity, number]))
                key = f"{name}/{name}_{number:04d}.jpg"
                (folder / IMAGES / key).write_bytes(encode(image))
                landmarks.write(landmark_line(key, points))
                progress.update()


def _draw_pairs(
    names: Sequence[str],
    images_per_identity: int,
    num_folds: int,
    pairs_per_class: int,
    rng: np.random.Generator,
) -> lfw.Pairs:
    """Draw random pairs of two images; none is repeated before all others were drawn."""
    first, second, is_same, folds = [], [], [], []
    for fold, identities in enumerate(np.array_split(names, num_folds), start=1):
        keys = [
            f"{name}/{name}_{i:04d}.jpg"
            for name in identities
            for i in range(1, images_per_identity + 1)
        ]
        # All pairs of images, by their places in `keys`.
        pairs = np.stack(np.triu_indices(len(keys), k=1), axis=1)
        of_one_identity = np.equal(*(pairs // images_per_identity).T)
        for matched in (True, False):
            candidates = pairs[of_one_identity == matched]
            order = np.resize(rng.permutation(len(candidates)), pairs_per_class)
            # Either image may come first.
            for one, other in rng.permuted(candidates[order], axis=1):
                first.append(keys[one])
                second.append(keys[other])
                is_same.append(matched)
                folds.append(fold)
    return lfw.Pairs(first, second, np.array(is_same), np.array(folds))
