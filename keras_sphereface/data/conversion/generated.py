"""Generated faces as records, for demos, tests and benchmarks."""

from pathlib import Path
from typing import NamedTuple

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records, synthetic
from keras_sphereface.data.conversion.convert import make_records


class GeneratedRecords(NamedTuple):
    """A generated data set and the records of the people to train on."""

    faces: Path
    records: Path


def generated_records(
    folder: Path, num_identities: int, images_per_identity: int, num_test_identities: int, seed: int
) -> GeneratedRecords:
    """Generate faces in FOLDER/faces and convert them to FOLDER/records, if not done yet."""
    faces = synthetic.generate_faces(
        folder / "faces", num_identities, images_per_identity, num_test_identities, seed=seed
    )
    out, made_of = folder / "records", folder / "records_of.txt"
    description = synthetic.description(faces)
    there = (out / records.INFO_FILE).is_file() and made_of.is_file()
    if not (there and made_of.read_text() == description):
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
