import numpy as np
import pytest

from keras_sphereface.data.contact_sheet import LINE_HEIGHT, draw_contact_sheet


def test_a_sheet_shows_every_face_as_it_is():
    faces = np.random.default_rng(0).integers(0, 256, (5, 20, 16, 3), dtype=np.uint8)
    sheet = draw_contact_sheet(faces, columns=3)
    assert sheet.shape == (8 + 2 * 28, 8 + 3 * 24, 3)
    np.testing.assert_array_equal(sheet[8:28, 8:24], faces[0])
    np.testing.assert_array_equal(sheet[36:56, 32:48], faces[4])
    assert np.all(sheet[36:56, 56:] == 255)  # no sixth face


def test_captions_stay_below_their_face():
    faces = np.zeros((3, 40, 90, 3), np.uint8)
    sheet = draw_contact_sheet(faces, captions=["id", "", "an identity with a very long name"])
    assert draw_contact_sheet(faces).shape[1] == sheet.shape[1]
    below = sheet[48:].min(axis=(0, 2))  # the darkest of each column
    assert below[8:98].min() < 200
    assert below[106:196].min() == 255
    assert below[204:294].min() < 200
    for margin in (slice(0, 8), slice(98, 106), slice(196, 204), slice(294, None)):
        assert below[margin].min() == 255


def test_small_faces_stand_apart_so_that_captions_can_be_read():
    faces = np.zeros((2, 20, 16, 3), np.uint8)
    sheet = draw_contact_sheet(faces, captions=["0000045/017", "0000045/018"])
    assert sheet.shape[1] == 8 + 2 * (88 + 8)
    np.testing.assert_array_equal(sheet[8:28, 44:60], faces[0])  # in the middle of its cell


def test_a_cell_may_be_wider_than_its_face():
    face = [np.zeros((4, 4, 3), np.uint8)]
    sheet = draw_contact_sheet(face, cell_width=10)
    assert sheet.shape[1] == 10 + 2 * 8
    assert np.flatnonzero((sheet == 0).any(axis=(0, 2))).tolist() == [11, 12, 13, 14]
    assert draw_contact_sheet(face, cell_width=2).shape == draw_contact_sheet(face).shape


def test_a_long_caption_breaks_between_folder_and_image():
    faces = np.zeros((2, 40, 90, 3), np.uint8)
    one = draw_contact_sheet(faces, captions=["Ann", "Bob"])
    two = draw_contact_sheet(faces, captions=["Ann", "mohamed elbaradei/IMG_007.jpg"])
    assert two.shape[0] == one.shape[0] + LINE_HEIGHT
    alone = draw_contact_sheet(faces[:1], captions=["IMG_007.jpg"])
    second = two[50 + LINE_HEIGHT :, 106:196]
    np.testing.assert_array_equal(second[:12], alone[50:62, 8:98])


def test_captions_may_hold_any_letters():
    face = np.zeros((1, 40, 90, 3), np.uint8)
    plain = draw_contact_sheet(face, captions=["Zoe ??"])
    np.testing.assert_array_equal(draw_contact_sheet(face, captions=["Zoë\n山田"]), plain)


@pytest.mark.parametrize(
    ("count", "columns", "captions"), [(0, 12, None), (2, 0, None), (2, 2, ["one"])]
)
def test_a_sheet_without_faces_columns_or_captions_is_refused(count, columns, captions):
    with pytest.raises(ValueError, match="Received"):
        draw_contact_sheet([np.zeros((4, 4, 3), np.uint8)] * count, columns, captions)
