"""Sources that Beam's file systems hold are read as those on this machine's disk."""

import shutil
from contextlib import suppress

import pytest

pytest.importorskip("apache_beam")

from keras_sphereface.data.conversion import beam_files, beam_source
from keras_sphereface.data.readers import open_source
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage
from tests.helpers.sources import as_list, as_recordio, as_tar_gz

pytestmark = pytest.mark.slow  # Beam takes seconds to import


@pytest.fixture
def source(faces, tmp_path):
    for name in ("person_0001", "person_0002"):
        shutil.copytree(faces / "images" / name, tmp_path / "source" / name)
    (tmp_path / "source" / "person_0001" / "Thumbs.db").touch()
    return tmp_path / "source"


def read(files):
    """The images of the files with their bytes, and the skipped ones."""
    entries = [entry for file in files for entry in beam_source.read_source_file(file)]
    images = [entry for entry in entries if isinstance(entry, ImageRecord)]
    loaded = [result for image in images for result in beam_source.load_content(image)]
    skipped = [entry for entry in entries if isinstance(entry, SkippedImage)]
    return [(key, identity, content) for key, identity, content, _ in loaded], skipped


@pytest.mark.parametrize("form", [None, as_list, as_tar_gz, as_recordio])
def test_a_remote_source_gives_what_a_local_one_gives(source, tmp_path, monkeypatch, form):
    path = source
    if form is not None:
        (tmp_path / "form").mkdir()
        path = form(source, tmp_path / "form")
    local, files = beam_source.find_source(str(path))
    local_images, local_skipped = read(files)
    assert len(local_images) == 12
    monkeypatch.setattr(beam_source, "is_local", lambda path: False)
    summary, files = beam_source.find_source(str(path))
    images, skipped = read(files)
    assert summary.kind == local.kind == open_source(path).kind
    assert summary.warnings == ()
    assert sorted(images) == sorted(local_images)
    assert skipped == local_skipped


def test_a_remote_folder_of_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_source, "is_local", lambda path: False)
    with pytest.raises(FileNotFoundError, match="must hold class folders"):
        beam_source.find_source(str(tmp_path))


def test_an_image_that_cannot_be_loaded_is_skipped_but_a_failing_disk_is_an_error(tmp_path):
    (tmp_path / "short.jpg").write_bytes(b"abc")
    short = ByteRange(str(tmp_path / "short.jpg"), 0, 5)
    (result,) = beam_source.load_content(ImageRecord("a/1.jpg", "a", short))
    assert result.reason == "cannot be used: the file ends in the middle of the image"
    listed = ByteRange(str(tmp_path / "none.jpg"), 0, beam_source.UNKNOWN_SIZE)
    (result,) = beam_source.load_content(ImageRecord("a/2.jpg", "a", listed))
    assert result == SkippedImage("a/2.jpg", "the file does not exist")
    lost = ByteRange(str(tmp_path / "none.jpg"), 0, 5)
    with pytest.raises((OSError, beam_source.BeamIOError)):
        list(beam_source.load_content(ImageRecord("a/3.jpg", "a", lost)))


def test_a_remote_file_appears_whole_and_can_be_written_again(tmp_path):
    path = str(tmp_path / "table.csv")
    for text in ("first", "second é"):
        with beam_files.atomic_remote_text(path) as file:
            file.write(text)
            assert not (tmp_path / "table.csv").exists() or text != "first"
        assert (tmp_path / "table.csv").read_text() == text
    with suppress(ZeroDivisionError), beam_files.atomic_remote_text(path) as file:
        file.write("third")
        raise ZeroDivisionError
    assert (tmp_path / "table.csv").read_text() == "second é"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
