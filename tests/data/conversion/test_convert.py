"""Images -> records -> tensors, and everything that goes wrong on the way."""

import errno
import json
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.commands.convert import conversion_summary, conversion_warnings
from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import alignment, images, records
from keras_sphereface.data.conversion import prepare
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.data.landmarks import read_landmarks


def convert(source, out, **settings):
    return make_records(ConvertConfig(source=str(source), out=str(out), **settings))


def read(folder):
    """{key: (label, identity, pixels)}, in the order of the shards."""
    return {
        record.key: (record.label, record.identity, images.decode(record.image))
        for record in records.read_folder(folder)
    }


@pytest.fixture
def source(faces, tmp_path):
    """Two class folders that a test may damage."""
    for name in ("person_0001", "person_0002"):
        shutil.copytree(faces / "images" / name, tmp_path / "source" / name)
    return tmp_path / "source"


def test_records_hold_every_face_aligned_once(faces, records_folder):
    info = records.read_info(records_folder)
    contents = read(records_folder)
    assert (info.num_images, info.num_identities, len(contents)) == (30, 5, 30)
    assert info.image_size == (112, 96)
    landmarks = read_landmarks(faces / "landmarks.txt")
    for key, (label, identity, pixels) in contents.items():
        assert identity == key.split("/")[0] == f"person_{label + 1:04d}"
        image = images.decode((faces / "images" / key).read_bytes())
        expected = alignment.align(image, landmarks[key]).astype(int)
        # JPEG of quality 95 is not exact.
        assert np.abs(pixels - expected).mean() < 4


def test_dataset_json_and_labels_csv_describe_the_shards(records_folder):
    info = records.read_info(records_folder)
    assert [shard.file for shard in info.shards] == [records.shard_name(i, 3) for i in range(3)]
    assert [shard.num_images for shard in info.shards] == [10, 10, 10]
    for shard in info.shards:
        assert records.file_sha256(records_folder / shard.file) == shard.sha256
    table = pd.read_csv(records_folder / "labels.csv")
    assert table["label"].tolist() == [0, 1, 2, 3, 4]
    assert table["count"].tolist() == [6] * 5
    assert table["identity"].tolist() == [f"person_{i:04d}" for i in range(1, 6)]


def test_the_shuffle_is_global_and_seeded(source, tmp_path):
    orders = []
    for number, seed in enumerate((0, 0, 1)):
        convert(source, tmp_path / f"out{number}", seed=seed, num_shards=2)
        orders.append(list(read(tmp_path / f"out{number}")))
    assert orders[0] == orders[1] != orders[2]
    first_shard = [key.split("/")[0] for key in orders[0][:6]]
    assert len(set(first_shard)) == 2
    bytes_ = [(tmp_path / f"out{n}" / records.shard_name(0, 2)).read_bytes() for n in (0, 1)]
    assert bytes_[0] == bytes_[1]


def test_images_of_the_right_size_pass_through_byte_for_byte(source, tmp_path):
    face = images.encode(np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8))
    (source / "person_0001" / "aligned.jpg").write_bytes(face)
    convert(source, tmp_path / "out", num_shards=1)
    stored = [record.image for record in records.read_folder(tmp_path / "out")]
    assert face in stored
    assert {images.decode(image).shape for image in stored} == {(112, 96, 3)}


def test_images_that_cannot_be_used_are_skipped_counted_and_listed(source, faces, tmp_path):
    (source / "person_0001" / "empty.jpg").touch()
    (source / "person_0001" / "broken.png").write_bytes(b"\x89PNG but no more")
    whole = (source / "person_0002" / "person_0002_0001.jpg").read_bytes()
    (source / "person_0002" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "person_0002" / "Thumbs.db").touch()
    lines = (faces / "landmarks.txt").read_text().splitlines()
    landmarks = tmp_path / "landmarks.txt"
    points = "\t".join(["50"] * 10)
    extra = [
        f"person_0001/{n}\t50\t50\t90\t50\t70\t70\t55\t90\t85\t90"
        for n in ("empty.jpg", "broken.png")
    ]
    extra += ["person_0002/half.jpg\t50\t50\t90\t50\t70\t70\t55\t90\t85\t90"]
    extra += [f"person_0002/person_0002_0002.jpg\t{points}"]
    without = "person_0001/person_0001_0003.jpg"
    landmarks.write_text(
        "\n".join([line for line in lines if not line.startswith(without)] + extra)
    )
    (source / "person_0003").mkdir()
    (source / "person_0003" / "nothing.jpg").touch()
    extra = landmarks.read_text() + "\nperson_0003/nothing.jpg 50 50 90 50 70 70 55 90 85 90\n"
    landmarks.write_text(extra.replace("person_0002/person_0002_0003.jpg\t", "x/y.jpg\t"))
    with open(landmarks, "a") as file:
        file.write("person_0002/person_0002_0003.jpg 1e10 0 2e10 0 3e10 0 4e10 9 5e10 9\n")
    info = convert(source, tmp_path / "out", landmarks=str(landmarks))
    assert info.num_identities == 2  # person_0003 has no image that can be read
    reasons = {entry.key: entry.reason for entry in info.skipped}
    assert reasons.pop(without) == "no landmarks"
    for number in (2, 3):
        assert "do not fit" in reasons.pop(f"person_0002/person_0002_{number:04d}.jpg")
    assert "the file is empty" in reasons.pop("person_0001/empty.jpg")
    assert "the file is empty" in reasons.pop("person_0003/nothing.jpg")
    assert reasons.pop("person_0002/Thumbs.db") == "the name has no image suffix"
    assert set(reasons) == {"person_0001/broken.png", "person_0002/half.jpg"}
    assert info.num_images == 9 == len(read(tmp_path / "out"))
    assert records.read_info(tmp_path / "out") == info
    text = conversion_summary(info)
    assert "9 images of 2 identities" in text
    assert "17 read: 9 kept, 0 excluded, 8 skipped" in text
    assert f"skipped 1: no landmarks, for example {without}" in text
    assert info.skipped_examples.keys() == info.skipped_by_reason.keys()
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["num_read"] == 17


def test_identities_are_left_out_by_name_by_pairs_and_by_number(faces, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("person_0001\nNobody\n")
    info = convert(
        faces / "images",
        tmp_path / "out",
        exclude=str(names),
        allow_missing=True,
        exclude_pairs=str(faces / "pairs.txt"),
        exclude_folds=(1, 2),
    )
    # Identities 6 to 9 are those of folds 1 and 2.
    kept = set(pd.read_csv(tmp_path / "out" / "labels.csv")["identity"])
    assert kept == {f"person_{i:04d}" for i in (*range(2, 6), *range(10, 20))}
    assert info.unknown_exclusions == ("Nobody",)
    (warning,) = conversion_warnings(info)
    assert warning.startswith("lines of the exclusions that match nothing in the source: 1")
    assert info.excluded_identities == ("person_0001", *(f"person_{i:04d}" for i in range(6, 10)))


def test_an_excluded_name_that_meets_nothing_is_an_error_with_the_nearest(source, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("person_0001\nPerson_0002\nXavier\nperson_0001/1.jpg\n")
    with pytest.raises(ValueError, match="--allow-missing lets them be") as caught:
        convert(source, tmp_path / "out", exclude=str(names))
    assert "3 lines that meet nothing: Person_0002 (the nearest name is person_0002), Xavier, " in (
        str(caught.value)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["names.txt", "source"]
    info = convert(source, tmp_path / "out", exclude=str(names), allow_missing=True)
    assert info.excluded_identities == ("person_0001",)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_excluded_names_are_met_in_any_unicode_form(source, tmp_path, form):
    name = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "Zoë Ö")
    (source / "person_0001").rename(source / name)
    names = tmp_path / "names.txt"
    for line in ("Zoë Ö", "Zoë*", "*Ö/*_0001.jpg", "Zoë Ö/person_0001_0001.jpg"):
        names.write_text(unicodedata.normalize(form, line), encoding="utf-8")
        info = convert(source, tmp_path / "out", exclude=str(names), overwrite=True)
        assert info.excluded_images == (1 if "/" in line else 6)
    # The name itself stays as it was.
    assert name in set(pd.read_csv(tmp_path / "out" / "labels.csv")["identity"])


def test_names_that_differ_in_case_or_unicode_form_alone_are_a_warning(source, tmp_path):
    twins = ["Zoë", unicodedata.normalize("NFD", "ZOË")]
    for old, new in zip(("person_0001", "person_0002"), twins, strict=True):
        (source / old).rename(source / new)
    info = convert(source, tmp_path / "out")
    (warning,) = (text for text in info.warnings if "spellings" in text)
    assert all(repr(name) in warning for name in twins)
    assert info.num_identities == 2


def test_identities_with_few_images_are_skipped(source, tmp_path):
    for number in range(2, 7):
        (source / "person_0001" / f"person_0001_{number:04d}.jpg").unlink()
    info = convert(source, tmp_path / "out", min_images=2)
    assert info.num_identities == 1
    assert [entry.key for entry in info.skipped] == ["person_0001/person_0001_0001.jpg"]


def test_repeated_images_are_reported_and_flagged(source, tmp_path):
    first = source / "person_0001" / "person_0001_0001.jpg"
    shutil.copy(first, source / "person_0001" / "again.jpg")
    second = source / "person_0002" / "person_0002_0003.jpg"
    shutil.copy(second, source / "person_0001" / "other.jpg")
    info = convert(source, tmp_path / "out")
    assert (info.duplicates_same_identity, info.duplicates_several_identities) == (2, 2)
    table = pd.read_csv(tmp_path / "out" / "duplicates.csv")
    assert table.values.tolist() == [
        [0, "same identity", "person_0001", "person_0001/again.jpg"],
        [0, "same identity", "person_0001", "person_0001/person_0001_0001.jpg"],
        [1, "several identities", "person_0001", "person_0001/other.jpg"],
        [1, "several identities", "person_0002", "person_0002/person_0002_0003.jpg"],
    ]
    text = conversion_summary(info)
    assert "2 images occur more than once" in text
    (warning,) = conversion_warnings(info)
    assert warning.startswith("2 images occur under several identities")


def test_patterns_leave_out_identities_and_single_images(faces, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text(
        "person_000[2-9]\n*1/*_0003.jpg\nperson_0001/person_0001_0002.jpg\nperson_001?\n"
    )
    info = convert(faces / "images", tmp_path / "out", exclude=str(names))
    assert info.num_identities == 1
    assert info.excluded_identities == tuple(f"person_{i:04d}" for i in range(2, 20))
    assert (info.num_images, info.excluded_images) == (4, 18 * 6 + 2)
    assert "person_0001/person_0001_0002.jpg" not in read(tmp_path / "out")


@pytest.mark.parametrize("exclude", [True, False])
def test_identities_of_casia_that_are_in_lfw_are_left_out_unless_kept(source, tmp_path, exclude):
    (source / "person_0002").rename(source / "0166921")
    info = convert(source, tmp_path / "out", exclude_casia_lfw=exclude)
    assert info.num_identities == (1 if exclude else 2)
    assert info.excluded_identities == (("0166921",) if exclude else ())
    assert info.unknown_exclusions == ()


def test_labels_of_identities_whose_names_are_numbers_follow_their_value(source, tmp_path):
    for old, new in (("person_0001", "10"), ("person_0002", "9")):
        (source / old).rename(source / new)
    convert(source, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "labels.csv")["identity"].tolist() == [9, 10]


def test_identities_with_few_readable_images_are_skipped_too(source, tmp_path):
    for number in (1, 2):
        (source / "person_0001" / f"person_0001_{number:04d}.jpg").write_bytes(b"broken")
    info = convert(source, tmp_path / "out", min_images=5, num_shards=2)
    assert (info.num_identities, info.num_images) == (1, 6)
    assert info.skipped_by_reason["fewer than 5 readable images of this identity"] == 4
    assert info.num_skipped == 6
    assert {(label, name) for label, name, _ in read(tmp_path / "out").values()} == {
        (0, "person_0002")
    }
    assert sum(shard.num_images for shard in info.shards) == 6
    assert records.damaged_shards(tmp_path / "out") == {}


def test_an_identity_without_a_readable_image_leaves_no_gap_in_the_labels(source, tmp_path):
    (source / "a nobody").mkdir()
    (source / "a nobody" / "1.jpg").write_bytes(b"no image")
    info = convert(source, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "labels.csv")
    assert table["identity"].tolist() == ["person_0001", "person_0002"]
    contents = read(tmp_path / "out").values()
    assert {(label, identity) for label, identity, _ in contents} == set(
        zip(table["label"], table["identity"], strict=True)
    )
    shard = info.shards[0]
    assert records.file_sha256(tmp_path / "out" / shard.file) == shard.sha256


def test_nothing_but_records_is_ever_replaced(source, tmp_path):
    (tmp_path / "mine" / ".scratch").mkdir(parents=True)
    (tmp_path / "mine" / ".scratch" / "thesis.txt").write_text("years")
    (tmp_path / "out.old").mkdir()
    for out in (tmp_path / "mine", source, source / "records"):
        with pytest.raises((FileExistsError, ValueError), match="Received: "):
            convert(source, out, overwrite=True)
    for seed in (0, 1):
        convert(source, tmp_path / "out", overwrite=True, seed=seed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "out.old", "source"]
    assert (tmp_path / "mine" / ".scratch" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["notes.txt", "source", "train-1-of-2.tfrecord"])
def test_records_with_something_else_beside_them_are_not_replaced(source, tmp_path, name):
    out = tmp_path / "out"
    convert(source, out)
    if name == "source":
        shutil.move(source, out / "source")
        source = out / "source"
    else:
        (out / name).write_text("mine")
    with pytest.raises((FileExistsError, ValueError), match=r"Received: .*out"):
        convert(source, out, overwrite=True)
    assert (out / name).exists()


def test_a_list_in_the_output_is_not_lost(source, tmp_path):
    convert(source, tmp_path / "out")
    landmarks = tmp_path / "out" / "landmarks.txt"
    landmarks.write_text("x 1 2 3 4 5 6 7 8 9 10\n")
    with pytest.raises(ValueError, match="must lie outside of the output"):
        convert(source, tmp_path / "out", landmarks=str(landmarks), overwrite=True)
    assert landmarks.exists()


def test_a_failing_disk_ends_the_run_and_skips_nothing(source, tmp_path, monkeypatch):
    def fail(image):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(prepare, "content_of", fail)
    with pytest.raises(OSError, match="Input/output error"):
        convert(source, tmp_path / "out")
    monkeypatch.undo()
    assert convert(source, tmp_path / "out").num_skipped == 0


def test_absurd_landmarks_harm_only_their_image(source, faces, tmp_path):
    lines = (faces / "landmarks.txt").read_text().splitlines()
    landmarks = tmp_path / "landmarks.txt"
    for number, value in enumerate(("1e200", "1e-200")):
        key = f"person_000{number + 1}/person_000{number + 1}_0001.jpg"
        lines.append("\t".join([key, value, *["0"] * 9]))
    landmarks.write_text("\n".join(lines))
    info = convert(source, tmp_path / "out", landmarks=str(landmarks))
    assert info.num_images == 10
    assert info.skipped_by_reason == {"its landmarks do not fit the image": 2}


def test_reasons_can_be_counted(source, tmp_path):
    files = sorted(source.glob("*/*.jpg"))
    for number, file in enumerate(files[:5]):
        file.write_bytes(file.read_bytes()[: -500 - number])
    info = convert(source, tmp_path / "out")
    assert list(info.skipped_by_reason.values()) == [5]


def test_one_image_makes_one_shard(source, tmp_path):
    shutil.rmtree(source / "person_0002")
    for file in sorted((source / "person_0001").iterdir())[1:]:
        file.unlink()
    info = convert(f"{source}/", tmp_path / "out", num_shards=5)
    assert (info.num_images, len(info.shards)) == (1, 1)


def test_existing_records_stay_unless_overwriting_is_asked_for(source, tmp_path):
    out = tmp_path / "out"
    before = convert(source, out)
    with pytest.raises(FileExistsError, match="--overwrite"):
        convert(source, out, seed=5)
    assert records.read_info(out) == before
    bad = tmp_path / "bad.txt"
    bad.write_text("no landmarks\n")
    with pytest.raises(ValueError, match="line 1"):
        convert(source, out, overwrite=True, landmarks=str(bad))
    assert records.read_info(out) == before
    assert convert(source, out, overwrite=True, seed=5).seed == 5
    assert records.read_info(out).seed == 5


def test_bad_settings_and_empty_sources_are_refused(source, tmp_path):
    (tmp_path / "empty").mkdir()
    for where, settings, error in (
        (tmp_path / "absent", {}, FileNotFoundError),
        (tmp_path / "empty", {}, ValueError),
        (source, {"num_shards": -1}, ValueError),
        (source, {"min_images": 100}, ValueError),
        (source, {"exclude_folds": (1,)}, ValueError),
    ):
        with pytest.raises(error, match="Received: "):
            convert(where, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()


def test_links_are_not_followed_on_beam(source, tmp_path):
    with pytest.raises(ValueError, match="leave --follow-links or --runner out"):
        convert(source, tmp_path / "out", follow_links=True, runner="DirectRunner")
