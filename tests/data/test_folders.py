"""What is said of a folder of the wrong kind, and which folder near it is named."""

import shutil

import pytest

from keras_sphereface.data import folders
from keras_sphereface.data.readers import open_source
from keras_sphereface.data.records import read_info


@pytest.fixture
def people(tmp_path, monkeypatch):
    """photos/{ada,bob}/1.jpg, and an empty folder of records beside it; paths are relative."""
    monkeypatch.chdir(tmp_path)
    for name in ("ada", "bob"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(b"never decoded")
    return tmp_path


def make_records_folder(folder):
    folder.mkdir(parents=True)
    (folder / folders.INFO_FILE).write_text("{}")


@pytest.mark.parametrize("given", ["photos", "photos/ada", "."])
def test_images_in_place_of_records_are_to_be_converted(people, given):
    command = "sphereface convert --source photos --out records"
    message = folders.instead_of_records(given)
    assert message == f"It holds images; make records of them first: {command}"


@pytest.mark.parametrize("given", ["made", "made/out/deeper", "."])
def test_records_one_or_two_levels_away_are_named(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    make_records_folder(tmp_path / "made" / "out")
    (tmp_path / "made" / "out" / "deeper").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds dataset\.json.* records are in made/out$"):
        read_info(given)


def test_a_conversion_that_was_stopped_is_to_be_continued(tmp_path):
    make_records_folder(tmp_path / ".out.partial")
    (tmp_path / "out").mkdir()
    assert "has not finished" in folders.instead_of_records(tmp_path / "out")


def test_what_else_a_folder_holds_is_said(tmp_path):
    assert folders.instead_of_records(tmp_path / "absent") == "There is no such folder."
    assert folders.instead_of_records(tmp_path) == "It is empty"
    (tmp_path / "notes.txt").touch()
    assert folders.instead_of_records(tmp_path) == "It holds notes.txt, but no images"
    (tmp_path / "faces.rec").touch()
    assert f"convert --source {tmp_path} --out" in folders.instead_of_records(tmp_path)
    (tmp_path / "faces.rec").unlink()
    (tmp_path / "train-00000-of-00002.tfrecord").touch()
    assert "is not whole" in folders.instead_of_records(tmp_path)


@pytest.mark.parametrize("given", ["photos/ada", "."])
def test_a_source_of_another_depth_names_the_right_one(people, given):
    with pytest.raises(ValueError, match=r"a folder of images for each person.* are in photos$"):
        open_source(given)


@pytest.mark.parametrize("given", ["out", "out/figures"])
def test_a_folder_that_holds_the_class_folders_among_others_names_them(people, given):
    for name in ("figures", "report"):  # more than half of those beside the faces
        (people / "out" / name).mkdir(parents=True)
        (people / "out" / name / "1.png").touch()
    (people / "photos" / "cleo").mkdir()
    (people / "photos" / "cleo" / "1.jpg").touch()
    (people / "out" / "faces").mkdir()
    (people / "photos").rename(people / "out" / "faces" / "photos")
    with pytest.raises(ValueError, match=r"class folders are in out/faces/photos$"):
        open_source(given)


def test_a_person_with_folders_of_images_is_one_of_several(people):
    (people / "photos" / "cleo" / "profile").mkdir(parents=True)
    (people / "photos" / "cleo" / "profile" / "1.jpg").touch()
    assert open_source("photos").kind == "class folders"


def test_images_without_class_folders_are_refused_with_their_form(people):
    shutil.rmtree(people / "photos" / "bob")
    with pytest.raises(ValueError, match=r"photos/ada/PERSON/IMAGE\.jpg$"):
        open_source("photos/ada")


def test_records_as_a_source_are_to_be_trained_on(people):
    make_records_folder(people / "records")
    with pytest.raises(ValueError, match=r"records already: sphereface train --data records$"):
        open_source("records")


def test_the_folder_below_which_files_lie_is_found(people):
    keys = ["cleo/1.jpg", "bob/1.jpg"]
    for root in ("photos", ".", "photos/ada"):
        assert str(folders.folder_with(root, keys)) == "photos"
    assert folders.folder_with(".", ["cleo/1.jpg"]) is None


def add_images(root, *folders):
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "1.jpg").touch()


def test_of_the_parts_of_a_set_that_to_train_on_is_named_and_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_images(
        tmp_path, *(f"set/{part}/{name}" for part in ("test", "train", "val") for name in "ab")
    )
    message = "are in set/train; set/test, set/val have class folders too: convert the parts"
    with pytest.raises(ValueError, match=message):
        open_source("set")
    assert open_source("set/train").kind == "class folders"


def test_folders_of_images_beside_the_larger_set_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_images(tmp_path, "set/ada", *(f"set/more/{name}" for name in "abcd"))
    with pytest.raises(ValueError, match=r"are in set/more; beside it 1 folders .* set/ada: move"):
        open_source("set")
