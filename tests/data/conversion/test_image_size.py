"""The size of the records: asked for, or that of the images."""

import json

import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, records
from keras_sphereface.data.conversion import image_size
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.conversion.prepare import Preparation
from keras_sphereface.data.readers.recordio import RecordioProperty
from tests.helpers.sources import as_recordio

SQUARE, NARROW = (112, 112), (112, 96)


@pytest.mark.parametrize(
    ("asked", "align", "sizes", "expected"),
    [
        ((0, 0), False, {SQUARE: 9}, SQUARE),
        ((0, 0), False, {NARROW: 9}, NARROW),
        ((0, 0), False, {SQUARE: 8, NARROW: 1}, NARROW),  # not all of one size
        ((0, 0), False, {(250, 250): 9}, NARROW),  # no size of aligned faces
        ((0, 0), False, {}, NARROW),
        ((0, 0), True, {SQUARE: 9}, NARROW),
        ((0, 112), True, {(250, 250): 9}, SQUARE),
        ((0, 96), False, {SQUARE: 9}, NARROW),
        ((56, 48), False, {SQUARE: 9}, (56, 48)),
    ],
)
def test_the_size_is_that_asked_for_or_that_of_all_images(asked, align, sizes, expected):
    assert image_size.sized(Preparation(asked, align), sizes).size == expected


def test_the_choice_and_what_is_cropped_are_logged():
    keeps = image_size.size_notes(Preparation(SQUARE), {SQUARE: 9})
    assert keeps == [
        "Of 9 images, 9 are 112 x 112. The records keep this size; --height and --width overrule "
        "it."
    ]
    (crops,) = image_size.size_notes(Preparation(NARROW), {SQUARE: 8, NARROW: 1})
    assert crops.startswith("Of 9 images, 8 are 112 x 112, 1 are 112 x 96. Others than 112 x 96 ")
    assert image_size.size_notes(Preparation(NARROW), {NARROW: 9}) == []
    assert image_size.size_notes(Preparation(NARROW, align=True), {SQUARE: 9}) == []


@pytest.mark.parametrize(
    ("num_identities", "sizes", "expected"),
    [
        (5, {SQUARE: 9}, None),
        (5, {}, None),
        (3, {SQUARE: 9}, "hold 3 identities and images of 112 x 112. Parts of the set may be"),
        (6, {SQUARE: 9}, "hold 6 identities and images of 112 x 112."),
        (5, {NARROW: 9, SQUARE: 1}, "hold 5 identities and images of 112 x 96."),
    ],
)
def test_a_property_that_promises_something_else_is_a_warning(num_identities, sizes, expected):
    promised = RecordioProperty(5, *SQUARE)
    found = image_size.property_warnings(promised, num_identities, sizes)
    assert image_size.property_warnings(None, num_identities, sizes) == []
    if expected is None:
        assert found == []
    else:
        assert "says 5 identities and images of 112 x 112. The files " + expected in found[0]
        assert ("may be missing" in found[0]) == (num_identities < 5)


@pytest.fixture
def square_faces(tmp_path):
    """RecordIO of 2 identities with 3 faces of 112 x 112 each."""
    rng = np.random.default_rng(0)
    for number in range(6):
        file = tmp_path / f"faces/{number // 3}/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images.encode(rng.integers(0, 256, (*SQUARE, 3), np.uint8)))
    (tmp_path / "ms1m").mkdir()
    return as_recordio(tmp_path / "faces", tmp_path / "ms1m")


def test_faces_of_112_x_112_are_kept_byte_for_byte(square_faces, tmp_path, capsys):
    originals = {file.read_bytes() for file in (tmp_path / "faces").glob("*/*")}
    (square_faces / "property").write_text("85742,112,112")
    config = ConvertConfig(source=str(square_faces), out=str(tmp_path / "out"))
    info = make_records(config)
    assert info.image_size == SQUARE
    assert json.loads((tmp_path / "out/dataset.json").read_text())["image_size"] == [112, 112]
    assert {record.image for record in records.read_folder(tmp_path / "out")} == originals
    assert "6 are 112 x 112. The records keep this size" in capsys.readouterr().err
    assert "says 85742 identities and images of 112 x 112. The files hold 2 " in info.warnings[0]


def test_excluded_identities_were_there(square_faces, tmp_path):
    (tmp_path / "exclude.txt").write_text("1\n")
    config = ConvertConfig(
        source=str(square_faces), out=str(tmp_path / "out"), exclude=str(tmp_path / "exclude.txt")
    )
    info = make_records(config)
    assert (info.num_read, info.num_images, info.excluded_images) == (6, 3, 3)
    assert not any("property" in warning for warning in info.warnings)


def test_another_size_is_made_if_asked_for(square_faces, tmp_path):
    config = ConvertConfig(source=str(square_faces), out=str(tmp_path / "out"), width=96)
    info = make_records(config)
    assert info.image_size == NARROW
    shapes = {images.decode(record.image).shape for record in records.read_folder(tmp_path / "out")}
    assert shapes == {(112, 96, 3)}
