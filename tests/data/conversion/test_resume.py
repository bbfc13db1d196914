"""Conversions that are stopped, killed, or out of disk continue, and end with the same bytes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import images, records
from keras_sphereface.data.conversion import convert
from keras_sphereface.data.conversion.manifest import Manifest
from keras_sphereface.utils import atomic

NUM_SHARDS = 6


def write_faces(root, num_identities, images_per_identity):
    """Class folders of small images, with one that is broken."""
    rng = np.random.default_rng(0)
    encoded = [images.encode(rng.integers(0, 256, (112, 96, 3), dtype=np.uint8)) for _ in range(8)]
    for identity in range(num_identities):
        (root / f"{identity:07d}").mkdir()
        for number in range(images_per_identity):
            content = encoded[(identity + number) % 8] + bytes((identity, number))
            (root / f"{identity:07d}" / f"{number:03d}.jpg").write_bytes(content)
    (root / "0000003" / "002.jpg").write_bytes(b"broken")
    return root


@pytest.fixture(scope="module")
def large_source(tmp_path_factory):
    """1,200 images: the run takes long enough to be killed."""
    return write_faces(tmp_path_factory.mktemp("large"), 40, 30)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """60 images."""
    return write_faces(tmp_path_factory.mktemp("small"), 12, 5)


def command(source, out, **settings):
    flags = {"source": source, "out": out, "num_shards": NUM_SHARDS, **settings}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "keras_sphereface", "convert", *words]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def uninterrupted_run(source, out):
    """{name: bytes} of the output of a run that nothing stops."""
    config = ConvertConfig(source=str(source), out=str(out), num_shards=NUM_SHARDS, workers=1)
    info = convert.make_records(config)
    assert info.num_skipped == 1
    return contents(out)


@pytest.fixture(scope="module")
def uninterrupted(source, tmp_path_factory):
    return uninterrupted_run(source, tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture(scope="module")
def large_uninterrupted(large_source, tmp_path_factory):
    return uninterrupted_run(large_source, tmp_path_factory.mktemp("whole") / "out")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_processes_gives_the_same_bytes(
    large_source, large_uninterrupted, tmp_path, workers
):
    config = ConvertConfig(
        source=str(large_source),
        out=str(tmp_path / "out"),
        num_shards=NUM_SHARDS,
        workers=workers,
    )
    convert.make_records(config)
    assert contents(tmp_path / "out") == large_uninterrupted


def processes_with(variable):
    """Ids of the processes that have an environment variable `name=value`."""
    processes = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    processes += [int(entry)] if variable.encode() in file.read() else []
            except OSError:
                continue
    return processes


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_continues_to_the_same_bytes(
    large_source, large_uninterrupted, tmp_path, workers
):
    out = tmp_path / "out"
    mark = f"MARK_OF_THIS_TEST={tmp_path}"
    environment = {**os.environ, "MARK_OF_THIS_TEST": str(tmp_path)}
    rng = np.random.default_rng(workers)
    kills, seconds, finished = 0, 0.1, False
    while not finished:
        process = subprocess.Popen(
            command(large_source, out, workers=workers),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert process.wait(seconds * rng.uniform(0.5, 1.5)) == 0
            finished = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            is_whole = (out / records.INFO_FILE).exists()
            assert is_whole or not out.exists()
            # Killed on its way out, with nothing left to do.
            finished = is_whole and not (out / convert.SCRATCH).exists()
        seconds *= 1.2
    assert kills >= 3
    assert contents(out) == large_uninterrupted
    # The processes of those that were killed have ended too.
    deadline = time.monotonic() + 20
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_with(mark) == []


class Stopped(BaseException):
    """Ends a run as a signal would."""


# Every step that a run keeps, and those that put the folder into its place.
STEPS = [
    (Manifest, "list_images", 1),
    (Manifest, "arrange", 1),
    (Manifest, "divide", 1),
    (Manifest, "finish_shard", 1),
    (Manifest, "finish_shard", NUM_SHARDS),
    (Manifest, "skip_identities_below", 1),
    (Manifest, "finish_shard", NUM_SHARDS + 2),
    (convert, "commit_directory", 1),
    (convert.shutil, "rmtree", 2),
]


@pytest.fixture(scope="module")
def renumbered(tmp_path_factory):
    """Settings of a run that skips p1 at its end and numbers the others anew, and its output."""
    root = tmp_path_factory.mktemp("renumbered")
    rng = np.random.default_rng(0)
    for identity in range(4):
        (root / "source" / f"p{identity}").mkdir(parents=True)
        for number in range(5):
            noise = rng.integers(0, 256, (112, 96, 3), dtype=np.uint8)
            file = root / "source" / f"p{identity}" / f"{number}.jpg"
            file.write_bytes(images.encode(noise))
    (root / "source" / "p1" / "0.jpg").write_bytes(b"broken")
    config = dict(source=str(root / "source"), num_shards=NUM_SHARDS, min_images=5)
    convert.make_records(ConvertConfig(out=str(root / "whole"), **config))
    return config, contents(root / "whole")


@pytest.mark.parametrize(
    ("owner", "name", "call"), STEPS, ids=[f"{name}-{call}" for _, name, call in STEPS]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_stopped_before_or_after_any_step_it_continues(
    renumbered, tmp_path, monkeypatch, owner, name, call, after
):
    config, whole = renumbered
    real, calls = getattr(owner, name), []

    def stop(*arguments, **keywords):
        calls.append(name)
        if len(calls) == call and not after:
            raise Stopped
        result = real(*arguments, **keywords)
        if len(calls) == call:
            raise Stopped
        return result

    out = tmp_path / "out"
    monkeypatch.setattr(owner, name, stop)
    with pytest.raises(Stopped):
        convert.make_records(ConvertConfig(out=str(out), **config))
    monkeypatch.undo()
    convert.make_records(ConvertConfig(out=str(out), **config))
    assert contents(out) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_settings_start_anew_with_a_message(source, tmp_path, monkeypatch, capsys):
    config = dict(source=str(source), out=str(tmp_path / "out"), workers=1)
    monkeypatch.setattr(Manifest, "divide", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert.make_records(ConvertConfig(**config, num_shards=3))
    monkeypatch.undo()
    assert convert.make_records(ConvertConfig(**config, num_shards=2)).num_images == 59
    assert "had other settings" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord*")) == [
        records.shard_name(i, 2) for i in range(2)
    ]


def stop_before_the_last_step(monkeypatch, **settings):
    def stop(_):
        raise Stopped

    monkeypatch.setattr(convert, "commit_directory", stop)
    with pytest.raises(Stopped):
        convert.make_records(ConvertConfig(workers=1, **settings))
    monkeypatch.undo()


def test_it_continues_from_another_folder_with_another_spelling(
    source, uninterrupted, tmp_path, monkeypatch, capsys
):
    settings = {"num_shards": NUM_SHARDS}
    stop_before_the_last_step(
        monkeypatch, source=str(source), out=str(tmp_path / "out"), **settings
    )
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(source, tmp_path) + "/"
    convert.make_records(ConvertConfig(source=relative, out="out/", workers=1, **settings))
    assert "continuing" in capsys.readouterr().err
    assert contents(tmp_path / "out") == uninterrupted


def test_a_forgotten_overwrite_loses_nothing(source, uninterrupted, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    settings = {"source": str(source), "out": str(out), "num_shards": NUM_SHARDS}
    convert.make_records(ConvertConfig(workers=1, seed=5, **settings))
    stop_before_the_last_step(monkeypatch, overwrite=True, **settings)
    with pytest.raises(FileExistsError, match="--overwrite"):
        convert.make_records(ConvertConfig(workers=1, **settings))
    convert.make_records(ConvertConfig(workers=1, overwrite=True, **settings))
    assert "continuing" in capsys.readouterr().err
    assert contents(out) == uninterrupted


def test_a_source_file_that_changed_starts_anew(source, tmp_path, monkeypatch, capsys):
    archive = shutil.make_archive(tmp_path / "faces", "tar", source)
    settings = {"source": archive, "out": str(tmp_path / "out"), "num_shards": 2}
    stop_before_the_last_step(monkeypatch, **settings)
    shutil.rmtree(tmp_path / "faces", ignore_errors=True)
    for folder in sorted(source.iterdir())[:3]:
        shutil.copytree(folder, tmp_path / "faces" / folder.name)
    shutil.make_archive(tmp_path / "faces", "tar", tmp_path / "faces")
    info = convert.make_records(ConvertConfig(workers=1, **settings))
    assert "had other settings" in capsys.readouterr().err
    assert info.num_images == 15


def test_stopped_after_the_last_step_it_returns_the_result(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    settings = {"source": str(source), "out": str(out), "workers": 1}
    remove = shutil.rmtree

    def stop(path, *arguments, **keywords):
        if path == out / convert.SCRATCH:
            raise Stopped
        remove(path, *arguments, **keywords)

    monkeypatch.setattr(convert.shutil, "rmtree", stop)
    with pytest.raises(Stopped):
        convert.make_records(ConvertConfig(**settings))
    monkeypatch.undo()
    (out / convert.SCRATCH / Manifest.FILE).unlink()  # it may have begun to remove it
    assert (out / records.INFO_FILE).exists()
    info = convert.make_records(ConvertConfig(**settings))
    assert info.seed == 0
    assert not (out / convert.SCRATCH).exists()
    # With other settings it is a result like any other.
    Manifest(out / convert.SCRATCH).close()
    info = convert.make_records(ConvertConfig(**settings, seed=9, overwrite=True))
    assert info.seed == 9
    assert not (out / convert.SCRATCH).exists()


def test_two_conversions_to_one_place_are_refused(source, tmp_path):
    out = tmp_path / "out"
    manifest = Manifest(atomic.partial_folder(out) / convert.SCRATCH)
    with pytest.raises(BlockingIOError, match="Another conversion"):
        convert.make_records(ConvertConfig(source=str(source), out=str(out)))
    manifest.close()


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_the_previous_result(
    large_source, large_uninterrupted, tmp_path
):
    # A limit on the size of files stands for the disk: writing fails in the same way.
    out = tmp_path / "out"
    out.mkdir()
    for name, content in large_uninterrupted.items():
        (out / name).write_bytes(content)
    words = [*command(large_source, out, seed=5), "--overwrite"]
    result = subprocess.run(words, preexec_fn=limit_files, capture_output=True, text=True)
    assert result.returncode == 1
    assert "The disk is full." in result.stderr
    assert contents(out) == large_uninterrupted
    subprocess.run(words, check=True, capture_output=True)
    info = records.read_info(out)
    assert (info.seed, info.num_images) == (5, 1199)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_too_little_space_is_reported_before_the_long_run(source, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(atomic.DiskSpaceError, match=r"About 0\.00 GB are needed"):
        convert.make_records(ConvertConfig(source=str(source), out=str(tmp_path / "out")))
