"""Landmark files as public tools write them, all of the same faces."""

import re

import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.alignment import landmark_template
from keras_sphereface.data.conversion import make_records
from keras_sphereface.data.landmark_layout import choose_landmark_layout, landmark_layout_of_names
from keras_sphereface.data.landmarks import (
    landmark_line,
    landmark_notes,
    landmark_warnings,
    read_landmarks,
)

KEYS = [f"{name}/{name}_{i:04d}.jpg" for name in ("Ada", "Bob") for i in range(1, 5)]


def face(number: int) -> np.ndarray:
    """The points of a face in an image of 250 x 250, tilted, and off the template by 2 pixels."""
    rng = np.random.default_rng(number)
    angle = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (landmark_template() - (48, 72)) @ turn * rng.uniform(0.8, 1.2) + rng.normal(125, 9, 2)
    return np.round(points + rng.normal(0, 2, (5, 2)), 2)


POINTS = {key: face(number) for number, key in enumerate(KEYS)}
SWAPPED = [1, 0, 2, 4, 3]
PARTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
NAMES = [f"{part}_{axis}" for part in PARTS for axis in "xy"]
V2_NAMES = [f"P{i}{axis}" for i in range(1, 6) for axis in "XY"]


def rows(form) -> str:
    """The lines that `form` makes of (key, points, number of the identity)."""
    return "".join(
        form(key, points, int(key.startswith("Bob"))) + "\n" for key, points in POINTS.items()
    )


def joined(sign: str, *values) -> str:
    return sign.join(str(v) for value in values for v in np.ravel(value))


BOX = (10.5, 20, 110, 130)
DIALECTS = {
    "plain, tabs": rows(lambda k, p, n: joined("\t", k, p)),
    "plain, spaces": rows(lambda k, p, n: joined(" ", k, p)),
    "label behind the path (CASIA)": rows(lambda k, p, n: joined("\t", k, n, p)),
    "label, with spaces": rows(lambda k, p, n: joined(" ", k, n, p)),
    "score at the end": rows(lambda k, p, n: joined("\t", k, p, 0.98)),
    "box, then points": rows(lambda k, p, n: joined(" ", k, BOX, p)),
    "box, score, points (MTCNN)": rows(lambda k, p, n: joined(",", k, BOX, 0.9987, p)),
    "points, box": rows(lambda k, p, n: joined(",", k, p, BOX)),
    "five x, five y": rows(lambda k, p, n: joined("\t", k, p.T)),
    "label, box, five x, five y": rows(lambda k, p, n: joined("\t", k, n, BOX, p.T)),
    "aligned, path, label, box, five x, five y (InsightFace)": rows(
        lambda k, p, n: joined("\t", 0, k, n, BOX, p.T)
    ),
    "index, points, path (im2rec)": rows(lambda k, p, n: joined("\t", n, n, p, k)),
    "left and right of the person": rows(lambda k, p, n: joined("\t", k, p[SWAPPED])),
    "y before x": rows(lambda k, p, n: joined("\t", k, p[:, ::-1])),
    "count and names (CelebA)": f"{len(KEYS)}\n{' '.join(NAMES)}\n"
    + rows(lambda k, p, n: joined(" ", k, p)),
    "named columns": "image_id," + ",".join(NAMES) + "\n" + rows(lambda k, p, n: joined(",", k, p)),
    "named, in another order": "label;file;"
    + ";".join(sorted(NAMES))
    + "\n"
    + rows(lambda k, p, n: joined(";", n, k, p.ravel()[np.argsort(NAMES)])),
    "named, of the person": "path,score,"
    + ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")
    + "\n"
    + rows(lambda k, p, n: joined(",", k, 0.5, p[SWAPPED])),
    "quoted, without suffix (VGGFace2)": ",".join(f'"{name}"' for name in ["NAME_ID", *V2_NAMES])
    + "\n"
    + rows(lambda k, p, n: joined(",", f'"{k[:-4]}"', p)),
    "remark": "# five points of MTCNN\n" + rows(lambda k, p, n: joined("\t", k, p)),
    "absolute paths": rows(lambda k, p, n: joined("\t", f"/data/CASIA maxpy/{k}", n, p)),
    "paths of Windows": rows(lambda k, p, n: joined("\t", "C:\\faces\\" + k.replace("/", "\\"), p)),
    "./": rows(lambda k, p, n: joined(" ", f"./{k}", p)),
    "other suffix": rows(lambda k, p, n: joined(" ", k.replace(".jpg", ".PNG"), p)),
    "UTF-16": rows(lambda k, p, n: joined("\t", k, p)),
    "lines of Windows": rows(lambda k, p, n: joined("\t", k, n, p)).replace("\n", "\r\n"),
}
PLAIN = {
    *("plain, tabs", "plain, spaces", "./", "other suffix", "paths of Windows", "UTF-16"),
    *("count and names (CelebA)", "named columns", "quoted, without suffix (VGGFace2)", "remark"),
}


def write(folder, name):
    file = folder / "landmarks.txt"
    encoding = "utf-16" if name == "UTF-16" else "utf-8"
    file.write_bytes(DIALECTS[name].encode(encoding))
    return file


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_points_of_the_same_images(name, tmp_path):
    file = write(tmp_path, name)
    landmarks = read_landmarks(file)
    assert len(landmarks) == len(KEYS)
    for (key, points), expected in zip(landmarks.items(), POINTS, strict=True):
        assert expected[:-4] in key
        np.testing.assert_array_equal(points, POINTS[expected])
    assert bool(landmark_notes(file)) == (name not in PLAIN)


@pytest.mark.slow
def test_every_dialect_gives_equal_records(faces, tmp_path):
    landmarks = read_landmarks(faces / "landmarks.txt")
    keys = sorted(landmarks)[:12]
    expected = None
    for name, form in {
        "plain": lambda k, p: joined("\t", k, p),
        "label": lambda k, p: joined("\t", k, 0, p),
        "person": lambda k, p: joined("\t", k, p[SWAPPED]),
        "absolute": lambda k, p: joined("\t", f"/elsewhere/{k}", p),
        "suffix": lambda k, p: joined(",", f"./{k[:-4]}.png", 0.9, p.T),
    }.items():
        file = tmp_path / f"{name}.txt"
        file.write_text("".join(form(key, landmarks[key]) + "\n" for key in keys))
        config = ConvertConfig(
            source=str(faces / "images"), out=str(tmp_path / name), landmarks=str(file)
        )
        info = make_records(config)
        stored = [(r.key, r.label, r.image) for r in records.read_folder(config.out)]
        assert sorted(key for key, *_ in stored) == keys
        assert info.skipped_by_reason == {"no landmarks": len(landmarks) - len(keys)}
        expected = expected or stored
        assert stored == expected


def test_named_columns_overrule_what_fits(tmp_path):
    file = tmp_path / "landmarks.txt"
    file.write_text(rows(lambda k, p, n: joined("\t", k, p[SWAPPED])))
    columns = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"
    for key, points in read_landmarks(file, columns).items():
        np.testing.assert_array_equal(points, POINTS[key][SWAPPED])
    assert landmark_layout_of_names("-,path,-,x1,x2,x3,x4,x5,y1,y2,y3,y4,y5").points[:3] == (
        3,
        8,
        4,
    )
    with pytest.raises(ValueError, match=r"where x5 occurs 0 times"):
        read_landmarks(file, "path,x1,y1,x2,y2,x3,y3,x4,y4")


def test_a_line_that_is_not_understood_is_named_with_its_columns(tmp_path):
    file = tmp_path / "landmarks.txt"
    lines = DIALECTS["label behind the path (CASIA)"].splitlines()
    lines[2] = lines[2].rpartition("\t")[0]
    file.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"line 3: expected 12 columns path,-,x1.* of 11 columns"):
        read_landmarks(file)
    file.write_text("Ada/1.jpg 1 2 3 4\n" + lines[0])
    with pytest.raises(ValueError, match=r"line 1: expected .* of 5 columns"):
        read_landmarks(file)


def test_numbers_that_fit_no_face_are_refused_with_the_flag():
    numbers = " ".join(map(str, np.random.default_rng(0).integers(0, 250, 12)))
    with pytest.raises(ValueError, match=re.escape("--landmark-columns path,-,x1,y1,...")):
        choose_landmark_layout([(1, f"a.jpg {numbers}")])
    with pytest.raises(ValueError, match="137 columns, of which ten in a row"):
        choose_landmark_layout([(1, "a.jpg " + " ".join(["1"] * 136))])


@pytest.mark.parametrize("size", [(112, 96), (112, 112)])
def test_points_of_aligned_faces_are_a_warning(size, tmp_path):
    file = tmp_path / "landmarks.txt"
    rng = np.random.default_rng(0)
    points = landmark_template(size) + rng.normal(0, 1, (20, 5, 2))
    file.write_text("".join(landmark_line(f"{i}.jpg", p) for i, p in enumerate(points)))
    (warning,) = landmark_warnings(file)
    assert f"aligned to {size[0]} x {size[1]}" in warning
    assert not landmark_warnings(write(tmp_path, "plain, tabs"))


def test_real_landmarks_are_recognized_in_every_order(real_faces, tmp_path):
    file = real_faces / "lfw_dev" / "landmarks.txt"
    landmarks = dict(list(read_landmarks(file).items())[:300])
    for order in (lambda p: p, lambda p: p.T, lambda p: p[SWAPPED], lambda p: p[:, ::-1]):
        for columns in (
            lambda p: ([], p),
            lambda p: (7, p),
            lambda p: (p, 0.9),
            lambda p: (BOX, p),
        ):
            copy = tmp_path / "landmarks.txt"
            lines = (joined("\t", k, *columns(order(p))) for k, p in landmarks.items())
            copy.write_text("\n".join(lines))
            read = read_landmarks(copy)
            assert all(np.array_equal(read[key], landmarks[key]) for key in landmarks)
