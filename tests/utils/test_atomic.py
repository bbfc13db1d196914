"""Files and folders appear whole or not at all, and a full disk is explained."""

import errno
import os
import shutil
import sqlite3
from contextlib import nullcontext, suppress

import pytest

from keras_sphereface.utils import atomic
from keras_sphereface.utils.atomic import atomic_directory, atomic_file


def write(folder, text):
    with atomic_directory(folder) as partial:
        (partial / "file.txt").write_text(text)
        assert text != "bad"


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    for text in ("first", "second"):
        write(tmp_path / "deep" / "out", text)
        assert (tmp_path / "deep" / "out" / "file.txt").read_text() == text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_block_that_fails_leaves_the_old_folder(tmp_path):
    write(tmp_path / "out", "first")
    with pytest.raises(AssertionError):
        write(tmp_path / "out", "bad")
    assert (tmp_path / "out" / "file.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_a_kill_left_moved_aside_comes_back(tmp_path):
    write(tmp_path / "out", "first")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    atomic.recover(tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").read_text() == "first"
    shutil.copytree(tmp_path / "out", tmp_path / ".out.replaced")
    atomic.recover(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    file = tmp_path / "table.csv"
    for text in ("first", "bad", "second"):
        try:
            with atomic_file(file) as partial:
                assert partial.suffix == ".csv"
                partial.write_text(text)
                assert text != "bad"
        except AssertionError:
            assert file.read_text() == "first"
        assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert file.read_text() == "second"


def test_an_interrupt_leaves_nothing_either(tmp_path):
    with suppress(KeyboardInterrupt), atomic_file(tmp_path / "table.csv") as partial:
        partial.write_text("first")
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), atomic_directory(tmp_path / "out") as partial:
        (partial / "deep").mkdir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_error_before_the_file_is_made_passes_unchanged(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "table.csv"):
        raise ZeroDivisionError


@pytest.fixture
def synced(monkeypatch, tmp_path):
    """(name, names beside it in `tmp_path` at that moment) of all that is synced, in order."""
    real, calls = os.fsync, []

    def fsync(descriptor):
        inode = os.fstat(descriptor).st_ino
        paths = [tmp_path, *tmp_path.rglob("*")]
        name = next(path.name for path in paths if path.stat().st_ino == inode)
        calls.append((name, sorted(path.name for path in tmp_path.iterdir())))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, synced):
    with atomic_file(tmp_path / "table.csv") as partial:
        partial.write_text("first")
    assert synced == [
        (".partial-table.csv", [".partial-table.csv"]),
        (tmp_path.name, ["table.csv"]),
    ]


def test_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, synced):
    for text in ("first", "second"):
        with atomic_directory(tmp_path / "out") as partial:
            (partial / "deep").mkdir()
            (partial / "deep" / "file.txt").write_text(text)
            (partial / ".scratch").mkdir()
            (partial / ".scratch" / "locked").touch()
    for before, calls in (([], synced[:4]), (["out"], synced[4:])):
        assert sorted(name for name, _ in calls[:3]) == [".out.partial", "deep", "file.txt"]
        assert [names for _, names in calls[:3]] == [[".out.partial", *before]] * 3
    # The previous one goes when the name of the new one is safe.
    assert synced[3] == (tmp_path.name, ["out"])
    assert synced[7:] == [(tmp_path.name, [".out.replaced", "out"])]


@pytest.mark.parametrize(
    ("number", "is_refused"), [(errno.EINVAL, False), (errno.EIO, True), (errno.ENOSPC, True)]
)
def test_only_what_cannot_be_synced_is_passed_over(tmp_path, monkeypatch, number, is_refused):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    expected = pytest.raises(OSError, match=os.strerror(number)) if is_refused else nullcontext()
    with expected, atomic_file(tmp_path / "table.csv") as partial:
        partial.write_text("first")
    assert [path.name for path in tmp_path.iterdir()] == ([] if is_refused else ["table.csv"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("disk I/O error"),
        RuntimeError("OP_REQUIRES failed: part-00000; No space left on device"),
    ],
)
def test_a_full_disk_is_explained_with_the_next_step(tmp_path, error):
    message = r"The disk is full.*run the same command again"
    with pytest.raises(OSError, match=message) as full, atomic.explain_full_disk(tmp_path):
        raise error
    assert full.value.errno == errno.ENOSPC
    assert full.value.filename == str(tmp_path)
    assert full.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        atomic.DiskSpaceError(errno.ENOSPC, "About 5 GB are needed"),
        sqlite3.OperationalError("database is locked"),
    ],
)
def test_other_errors_stay_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as raised, atomic.explain_full_disk(tmp_path):
        raise error
    assert raised.value is error


def test_too_little_space_is_an_error_before_writing(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    atomic.check_free_space(tmp_path, free // 2)
    with pytest.raises(atomic.DiskSpaceError, match=r"GB are needed, and the disk has .* GB left"):
        atomic.check_free_space(tmp_path, 2 * free)
