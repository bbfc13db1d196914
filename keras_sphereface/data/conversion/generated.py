"""Generated faces as records, for demos, tests and benchmarks."""

from pathlib import Path
from typing import NamedTuple

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records, synthetic
from keras_sphereface.data.conversion.convert import make_records


class GeneratedRecords(NamedTuple):
    """A generated data set, and the records of its identities to train on.

    Attributes:
        faces: Path of the folder of `generate_faces`.
        records: Path of the folder of records.

    Example:

    >>> made = generated_records("generated", 2, 3, num_test_identities=4)
    >>> made.faces.name, made.records.name
    ('faces', 'records')
    """

    faces: Path
    records: Path


def generated_records(
    folder: str | Path,
    num_identities: int,
    images_per_identity: int,
    num_test_identities: int,
    seed: int = 0,
) -> GeneratedRecords:
    """Generate faces in FOLDER/faces and convert them to FOLDER/records, unless done before.

    Args:
        folder: Path of the folder.
        num_identities: Int. Identities to train on.
        images_per_identity: Int. Images of each.
        num_test_identities: Int. Further identities, in the pairs only.
        seed: Int. Seed of the faces.

    Example:

    >>> made = generated_records("generated", 2, 3, num_test_identities=4, seed=0)
    >>> records.read_info(made.records).num_images
    6
    """
    folder = Path(folder)
    faces = synthetic.generate_faces(
        folder / "faces", num_identities, images_per_identity, num_test_identities, seed=seed
    )
    out, made_of = folder / "records", folder / "records_of.txt"
    description = synthetic.description(faces)
    is_made = (out / records.INFO_FILE).is_file() and made_of.is_file()
    if not (is_made and made_of.read_text() == description):
        config = ConvertConfig(
            source=str(faces / synthetic.IMAGES),
            out=str(out),
            landmarks=str(faces / synthetic.LANDMARKS),
            exclude=str(faces / synthetic.TEST_IDENTITIES),
            overwrite=True,
            workers=1,
        )
        make_records(config)
        made_of.write_text(description)
    return GeneratedRecords(faces, out)
