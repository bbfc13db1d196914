import numpy as np
import pytest

from keras_sphereface.data.contact_sheet import draw_contact_sheet


def test_a_sheet_shows_every_face_as_it_is():
    faces = np.random.default_rng(0).integers(0, 256, (5, 20, 16, 3), dtype=np.uint8)
    sheet = draw_contact_sheet(faces, columns=3)
    assert sheet.shape == (8 + 2 * 28, 8 + 3 * 24, 3)
    np.testing.assert_array_equal(sheet[8:28, 8:24], faces[0])
    np.testing.assert_array_equal(sheet[36:56, 32:48], faces[4])
    assert np.all(sheet[36:56, 56:] == 255)  # no sixth face


def test_captions_stay_below_their_face():
    faces = np.zeros((3, 40, 60, 3), np.uint8)
    sheet = draw_contact_sheet(faces, captions=["id", "", "an identity with a very long name"])
    assert draw_contact_sheet(faces).shape[1] == sheet.shape[1]
    below = sheet[48:].min(axis=(0, 2))  # the darkest of each column
    assert below[8:68].min() < 200
    assert below[76:136].min() == 255
    assert below[144:204].min() < 200
    for margin in (slice(0, 8), slice(68, 76), slice(136, 144), slice(204, None)):
        assert below[margin].min() == 255


def test_captions_may_hold_any_letters():
    face = np.zeros((1, 40, 60, 3), np.uint8)
    plain = draw_contact_sheet(face, captions=["Zoe ??"])
    np.testing.assert_array_equal(draw_contact_sheet(face, captions=["Zoë\n山田"]), plain)


@pytest.mark.parametrize(
    ("count", "columns", "captions"), [(0, 12, None), (2, 0, None), (2, 2, ["one"])]
)
def test_a_sheet_without_faces_columns_or_captions_is_refused(count, columns, captions):
    with pytest.raises(ValueError, match="Received"):
        draw_contact_sheet([np.zeros((4, 4, 3), np.uint8)] * count, columns, captions)
