import dataclasses
import os

import pytest

from keras_sphereface.config.fields import setting
from keras_sphereface.config.paths import check_paths


@dataclasses.dataclass(frozen=True)
class Paths:
    list_file: str = setting("", "A list.", path="file")
    data: str = setting("", "Records.", path="folder")
    models: tuple[str, ...] = setting((), "Models.", path="input")
    out: str = setting("", "Results.", path="output")
    sheet: str = setting("", "A picture.", path="output-file")
    name: str = setting("nowhere", "No path.")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "train.tfrecord").touch()
    (tmp_path / "pairs.txt").touch()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"list_file": "pairs.txt", "data": "records/", "models": ("records", "pairs.txt")},
        {"list_file": "gs://bucket/pairs.txt", "data": "s3://bucket/records"},
        {"out": "runs/first", "sheet": "runs/sheet.png"},
        {"out": "records", "sheet": "pairs.txt"},
        {"out": os.path.abspath("new"), "sheet": "new.png"},
    ],
)
def test_paths_of_the_right_kind_pass(settings):
    check_paths(Paths(**settings))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"list_file": "pair.txt"},
            FileNotFoundError,
            "`--list-file` must be a file that exists. Received: pair.txt. "
            "Did you mean `pairs.txt`?",
        ),
        (
            {"data": "records/train.tfrecords"},
            FileNotFoundError,
            "`--data` must be a folder that exists. Received: records/train.tfrecords. "
            "Did you mean `records/train.tfrecord`?",
        ),
        (
            {"data": "a/b"},
            FileNotFoundError,
            "`--data` must be a folder that exists. Received: a/b",
        ),
        (
            {"models": ("records", "q")},
            FileNotFoundError,
            "`--models` must be a file or a folder that exists. Received: q",
        ),
        (
            {"list_file": "records"},
            IsADirectoryError,
            "`--list-file` must be a file. Received: records, which is a folder",
        ),
        (
            {"data": "pairs.txt"},
            NotADirectoryError,
            "`--data` must be a folder. Received: pairs.txt, which is a file",
        ),
        (
            {"sheet": "records"},
            IsADirectoryError,
            "`--sheet` must be a file. Received: records, which is a folder",
        ),
    ],
)
def test_other_paths_are_named_with_what_is_wrong(settings, error, message):
    with pytest.raises(error) as raised:
        check_paths(Paths(**settings))
    assert str(raised.value) == message


@pytest.mark.parametrize("settings", [{"out": "pairs.txt"}, {"out": "pairs.txt/a/b"}])
def test_a_folder_cannot_be_made_below_a_file(settings, tmp_path):
    with pytest.raises(FileExistsError, match=rf"`--out` must be .*{tmp_path}/pairs\.txt is a fil"):
        check_paths(Paths(**settings))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("settings", [{"out": "records/a/b"}, {"sheet": "records/a.png"}])
def test_a_folder_that_is_read_only_is_named(settings, tmp_path):
    (tmp_path / "records").chmod(0o500)
    with pytest.raises(PermissionError, match=r"nothing may be written to .*records"):
        check_paths(Paths(**settings))
