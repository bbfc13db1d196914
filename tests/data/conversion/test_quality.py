"""The table of quality of a conversion: in dataset.json, on the page and in near_duplicates.csv."""

import shutil

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import alignment, images, near_duplicates, records
from keras_sphereface.data.conversion import quality_page
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import read_landmarks
from keras_sphereface.data.records import QualityRow

NEEDS_IMAGEHASH = pytest.mark.skipif(
    not near_duplicates.is_imagehash_installed(), reason="ImageHash is not installed"
)


def aligned_folder(root, images_of, landmarks, keys):
    """Write the faces of keys, aligned, as class folders of PNG; return {key of PNG: face}."""
    faces = {}
    for key in keys:
        image = images.decode((images_of / key).read_bytes())
        name = key.rsplit(".", 1)[0] + ".png"
        faces[name] = alignment.align(image, landmarks[key])
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(images.encode_png(faces[name]))
    return faces


@pytest.fixture(scope="module")
def clean(faces, tmp_path_factory):
    """Aligned faces of 6 identities in a folder, and {key: face}."""
    root = tmp_path_factory.mktemp("clean")
    landmarks = read_landmarks(faces / "landmarks.txt")
    return root, aligned_folder(root, faces / "images", landmarks, sorted(landmarks)[:36])


@pytest.fixture
def source(clean, tmp_path):
    root, faces = clean
    shutil.copytree(root, tmp_path / "source")
    return tmp_path / "source", dict(faces)


def convert(source, out, **settings):
    return make_records(ConvertConfig(source=str(source), out=str(out), workers=1, **settings))


def table(info):
    return {row.check: row for row in info.quality}


def brighter(face):
    return np.clip(face * 1.1 + 5, 0, 255).astype(np.uint8)


def test_faults_of_single_images_are_counted_and_shown(source, tmp_path):
    root, faces = source
    keys = sorted(faces)[::4]
    turned, swapped = keys[:5], keys[5:]
    for key in turned:
        (root / key).write_bytes(images.encode_png(faces[key][::-1, ::-1]))
    for key in swapped:
        (root / key).write_bytes(images.encode_png(faces[key][..., ::-1]))
    info = convert(root, tmp_path / "out")
    found = table(info)
    assert found["upside down"].num_found == 5
    assert set(found["upside down"].examples) == set(turned)
    assert found["BGR"].num_found == 4
    assert set(found["BGR"].examples) == set(swapped)
    assert found["several faces"].num_found is None
    assert "--detect" in found["several faces"].note
    assert records.read_info(tmp_path / "out") == info
    page = (tmp_path / "out" / "quality.html").read_text()
    assert all(key in page for key in keys)
    assert page.count("data:image/png") == sum(bool(row.examples) for row in info.quality)


def test_captions_tell_images_of_numbered_folders_apart(monkeypatch):
    captions = []
    monkeypatch.setattr(
        quality_page,
        "draw_contact_sheet",
        lambda faces, columns, names: captions.extend(names) or faces[0],
    )
    faces = {key: np.zeros((12, 10, 3), np.uint8) for key in ("0000045/017.jpg", "Ann/Ann_1.jpg")}
    quality_page.render_quality([QualityRow("gray", 2, tuple(faces), "")], 2, [], faces)
    assert captions == ["0000045/017.jpg", "Ann_1.jpg"]


@NEEDS_IMAGEHASH
def test_duplicates_within_and_across_identities_are_told_apart(source, tmp_path):
    root, faces = source
    first, second, third = "person_0001", "person_0002", "person_0003"
    shutil.copy(root / first / f"{first}_0001.png", root / second / "copy.png")
    (root / third / "near.png").write_bytes(
        images.encode_png(brighter(faces[f"{first}/{first}_0002.png"]))
    )
    (root / third / "again.jpg").write_bytes(images.encode(faces[f"{third}/{third}_0004.png"]))
    info = convert(root, tmp_path / "out")
    found = table(info)
    assert found["exact duplicates, several identities"].num_found == 2
    assert found["exact duplicates, several identities"].examples == (
        f"{first}/{first}_0001.png",
        f"{second}/copy.png",
    )
    assert found["exact duplicates, same identity"].num_found == 0
    assert found["near duplicates, several identities"].num_found == 2
    written = pd.read_csv(tmp_path / "out" / "near_duplicates.csv")
    assert len(written) == 2 + found["near duplicates, same identity"].num_found
    assert written[written["kind"] == "several identities"].values.tolist() == [
        [0, "several identities", first, f"{first}/{first}_0002.png"],
        [0, "several identities", third, f"{third}/near.png"],
    ]
    group = written.loc[written["key"] == f"{third}/again.jpg", "group"].item()
    members = written[written["group"] == group]
    assert f"{third}/{third}_0004.png" in set(members["key"])
    assert set(members["kind"]) == {"same identity"}


def test_identities_with_one_image_are_counted(source, tmp_path):
    root, _ = source
    for path in list((root / "person_0005").iterdir())[1:]:
        path.unlink()
    row = table(convert(root, tmp_path / "out"))["identities with one image"]
    assert (row.num_found, len(row.examples)) == (1, 1)
    assert row.examples[0].startswith("person_0005/")


def test_without_the_hash_library_the_table_says_what_is_missing(source, tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "is_imagehash_installed", lambda: False)
    row = table(convert(source[0], tmp_path / "out"))["near duplicates, several identities"]
    assert row.num_found is None
    assert "pip install 'keras-sphereface[duplicates]'" in row.note
    assert not (tmp_path / "out" / "near_duplicates.csv").exists()


def test_it_can_be_left_out(source, tmp_path):
    info = convert(source[0], tmp_path / "out", quality=False)
    assert info.quality == ()
    assert not (tmp_path / "out" / "quality.html").exists()


def test_the_records_are_the_same_with_and_without(source, tmp_path):
    for name, quality in (("with", True), ("without", False)):
        convert(source[0], tmp_path / name, quality=quality, height=56, width=56)
    one, other = (
        [record.image for record in records.read_folder(tmp_path / name)]
        for name in ("with", "without")
    )
    assert one == other


@pytest.mark.slow
@NEEDS_IMAGEHASH
def test_of_real_faces_injected_faults_are_found(real_faces, tmp_path):
    """600 aligned faces of LFW; a twelfth each is turned, swapped, aligned twice or copied."""
    folder = real_faces / "lfw_dev"
    landmarks = read_landmarks(folder / "landmarks.txt")
    rng = np.random.default_rng(5)
    keys = rng.choice(sorted(landmarks), 600, replace=False).tolist()
    faces = aligned_folder(tmp_path / "clean", folder / "images", landmarks, keys)
    clean = table(convert(tmp_path / "clean", tmp_path / "clean-records"))
    limits = {"upside down": 4, "aligned twice": 1, "BGR": 2, "poor fit to the template": 12}
    assert all(clean[check].num_found <= limit for check, limit in limits.items())
    for check in ("exact duplicates", "near duplicates"):
        assert clean[f"{check}, several identities"].num_found == 0

    names, by_name = sorted(faces), {key.rsplit(".", 1)[0]: landmarks[key] for key in keys}
    turned, swapped, twice, copied = (names[start::12] for start in range(4))
    for name in turned:
        faces[name] = faces[name][::-1, ::-1]
    for name in swapped:
        faces[name] = faces[name][..., ::-1]
    for name in twice:
        faces[name] = alignment.align(faces[name], by_name[name.rsplit(".", 1)[0]])
    for name in names:
        path = tmp_path / "faulty" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(faces[name]))
    (tmp_path / "faulty" / "Somebody").mkdir()
    for number, name in enumerate(copied):
        copy = images.encode(brighter(faces[name]))  # JPEG of quality 95, and brighter
        (tmp_path / "faulty" / "Somebody" / f"{number}.jpg").write_bytes(copy)
    found = table(convert(tmp_path / "faulty", tmp_path / "records"))
    for check in ("upside down", "BGR", "aligned twice"):
        assert 0.9 * 50 <= found[check].num_found <= 50 + limits[check] + 2, check
    assert found["near duplicates, several identities"].num_found >= 2 * 0.98 * 50
