"""The small network that a demo leaves: a file to compare faces with at once, and faces to compare.

It knows generated faces only, which its card says, and every comparison with it.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.config.choices import FORMATS
from keras_sphereface.data import images, records
from keras_sphereface.data.alignment import align
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.evaluation.artifacts import CARD_FILE, PAIRS_FILE
from keras_sphereface.export.converters import write_format
from keras_sphereface.utils.atomic import atomic_file

# 8 bits: a quarter of float32, and as right on generated faces (96.33 % of pairs, as before).
FORMAT = "tflite-int8"
NUM_CALIBRATION = 200
SIZE = (112, 96)
KNOWS = (
    "> **It knows generated faces only.** It was trained and measured on drawings in a minute, to "
    "show how the parts work together. Of real faces it knows nothing, and no number below holds "
    "for them."
)


def write_small_network(export: Path, records_folder: Path, out: Path) -> Path:
    """Write the network of a SavedModel in 8 bits, with ranges from the faces it was trained on.

    Args:
        export: The SavedModel.
        records_folder: Its training records.
        out: Folder of the file.

    Returns:
        The file.

    Raises:
        FileNotFoundError, ValueError: As `export.write_format`.
    """
    trained_on = records.read_folder(records_folder)
    few = itertools.islice(trained_on, NUM_CALIBRATION)
    faces = np.stack([images.decode(record.image) for record in few])
    return write_format(export, out, FORMAT, faces)


def small_network_path(out: Path) -> Path:
    """Return where `write_small_network` writes.

    Example:
        >>> small_network_path(Path("runs/demo/model")).as_posix()
        'runs/demo/model/model-int8.tflite'
    """
    return out / FORMATS[FORMAT].file


def write_card(evaluation: Path, out: Path) -> Path:
    """Copy the card of an evaluation, with what the network knows as its first sentence."""
    title, _, rest = (evaluation / CARD_FILE).read_text(encoding="utf-8").partition("\n\n")
    with atomic_file(out / CARD_FILE) as partial:
        partial.write_text(f"{title}\n\n{KNOWS}\n\n{rest}", encoding="utf-8")
    return out / CARD_FILE


def write_example_faces(
    evaluation: Path, images_folder: Path, landmarks: Path, out: Path
) -> list[Path]:
    """Write the aligned faces of a usual pair of one person, and of one of two persons.

    Usual is the pair of the median score among those of its kind.

    Args:
        evaluation: Folder of an evaluation with its pairs.csv.
        images_folder: Folder of the images of the pairs.
        landmarks: Five points of each.
        out: Folder to write.

    Returns:
        same_1.png, same_2.png, different_1.png and different_2.png.
    """
    table = pd.read_csv(evaluation / PAIRS_FILE)
    points = read_landmarks(landmarks)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for is_same, name in ((1, "same"), (0, "different")):
        of_kind = table[table["is_same"] == is_same].sort_values("score", kind="stable")
        pair = of_kind.iloc[len(of_kind) // 2]
        for number, key in enumerate((pair["first"], pair["second"]), start=1):
            image = images.decode((images_folder / key).read_bytes())
            written.append(out / f"{name}_{number}.png")
            with atomic_file(written[-1]) as partial:
                partial.write_bytes(images.encode_png(align(image, points[key], SIZE)))
    return written
