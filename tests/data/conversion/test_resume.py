"""Conversions that are stopped, killed, or out of disk go on, and end with the same bytes."""

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
from tests.conftest import ROOT

NUM_SHARDS = 6


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """1,200 small images of 40 people, with one that is broken."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    pictures = [images.encode(rng.integers(0, 256, (112, 96, 3), dtype=np.uint8)) for _ in range(8)]
    for person in range(40):
        (root / f"{person:07d}").mkdir()
        for number in range(30):
            content = pictures[(person + number) % 8] + bytes((person, number))
            (root / f"{person:07d}" / f"{number:03d}.jpg").write_bytes(content)
    (root / "0000003" / "002.jpg").write_bytes(b"broken")
    return root


def command(source, out, **settings):
    flags = {"source": source, "out": out, "num_shards": NUM_SHARDS, **settings}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    return [sys.executable, str(ROOT / "tools" / "make_tfrecords.py"), *words]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    config = ConvertConfig(source=str(source), out=str(out), num_shards=NUM_SHARDS, workers=1)
    info = convert.make_records(config)
    assert (info.num_images, info.num_skipped) == (1199, 1)
    return contents(out)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_processes_gives_the_same_bytes(source, uninterrupted, tmp_path, workers):
    subprocess.run(
        command(source, tmp_path / "out", workers=workers), check=True, capture_output=True
    )
    assert contents(tmp_path / "out") == uninterrupted


def processes_about(text):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    found += [int(entry)] if text.encode() in file.read() else []
            except OSError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_continues_to_the_same_bytes(
    source, uninterrupted, tmp_path, workers
):
    out = tmp_path / "out"
    mark = f"MARK_OF_THIS_TEST={tmp_path}"
    environment = {**os.environ, "MARK_OF_THIS_TEST": str(tmp_path)}
    rng = np.random.default_rng(workers)
    kills, seconds, finished = 0, 0.1, False
    while not finished:
        process = subprocess.Popen(
            command(source, out, workers=workers),
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
            is_there = (out / records.INFO_FILE).exists()
            assert is_there or not out.exists()
            # Killed on its way out, with nothing left to do.
            finished = is_there and not (out / convert.SCRATCH).exists()
        seconds *= 1.2
    assert kills >= 3
    assert contents(out) == uninterrupted
    # The processes of those that were killed have ended too.
    deadline = time.monotonic() + 20
    while processes_about(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_about(mark) == []


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


@pytest.mark.parametrize(("owner", "name", "call"), STEPS, ids=lambda value: str(value))
@pytest.mark.parametrize("after", [False, True])
def test_stopped_beside_any_step_it_continues(tmp_path, monkeypatch, owner, name, call, after):
    source = tmp_path / "source"
    rng = np.random.default_rng(0)
    for person in range(4):
        (source / f"p{person}").mkdir(parents=True)
        for number in range(5):
            noise = rng.integers(0, 256, (112, 96, 3), dtype=np.uint8)
            (source / f"p{person}" / f"{number}.jpg").write_bytes(images.encode(noise))
    # p1 leaves at the end, so that the others are numbered anew.
    (source / "p1" / "0.jpg").write_bytes(b"broken")
    config = dict(source=str(source), num_shards=NUM_SHARDS, min_images=5)
    convert.make_records(ConvertConfig(out=str(tmp_path / "whole"), **config))

    real, calls = getattr(owner, name), []

    def stops(*arguments, **keywords):
        calls.append(name)
        if len(calls) == call and not after:
            raise Stopped
        result = real(*arguments, **keywords)
        if len(calls) == call:
            raise Stopped
        return result

    out = tmp_path / "out"
    monkeypatch.setattr(owner, name, stops)
    with pytest.raises(Stopped):
        convert.make_records(ConvertConfig(out=str(out), **config))
    monkeypatch.undo()
    convert.make_records(ConvertConfig(out=str(out), **config))
    assert contents(out) == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "whole", "out"}


def test_other_settings_start_anew_and_say_so(source, tmp_path, monkeypatch, capsys):
    config = dict(source=str(source), out=str(tmp_path / "out"), workers=1)
    monkeypatch.setattr(Manifest, "divide", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert.make_records(ConvertConfig(**config, num_shards=3))
    monkeypatch.undo()
    assert convert.make_records(ConvertConfig(**config, num_shards=2)).num_images == 1199
    assert "had other settings" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord*")) == [
        records.shard_name(i, 2) for i in range(2)
    ]


def stop_before_the_last_step(monkeypatch, **settings):
    def stops(_):
        raise Stopped

    monkeypatch.setattr(convert, "commit_directory", stops)
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
    there = os.path.relpath(source, tmp_path) + "/"
    convert.make_records(ConvertConfig(source=there, out="out/", workers=2, **settings))
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
    assert info.num_images == 90


def test_stopped_after_the_last_step_it_gives_what_was_asked_for(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    settings = {"source": str(source), "out": str(out), "workers": 1}
    remove = shutil.rmtree

    def stops(path, *arguments, **keywords):
        if path == out / convert.SCRATCH:
            raise Stopped
        remove(path, *arguments, **keywords)

    monkeypatch.setattr(convert.shutil, "rmtree", stops)
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
    plan = Manifest(atomic.partial_folder(out) / convert.SCRATCH)
    with pytest.raises(BlockingIOError, match="Another conversion"):
        convert.make_records(ConvertConfig(source=str(source), out=str(out)))
    plan.close()


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_the_previous_result(source, uninterrupted, tmp_path):
    # A limit on the size of files stands for the disk: writing fails in the same way.
    out = tmp_path / "out"
    out.mkdir()
    for name, content in uninterrupted.items():
        (out / name).write_bytes(content)
    words = [*command(source, out, seed=5), "--overwrite"]
    result = subprocess.run(words, preexec_fn=limit_files, capture_output=True, text=True)
    assert result.returncode == 1
    assert "The disk is full." in result.stderr
    assert contents(out) == uninterrupted
    subprocess.run(words, check=True, capture_output=True)
    info = records.read_info(out)
    assert (info.seed, info.num_images) == (5, 1199)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_too_little_space_is_said_before_the_long_run(source, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(atomic.DiskSpaceError, match=r"About 0\.03 GB are needed"):
        convert.make_records(ConvertConfig(source=str(source), out=str(tmp_path / "out")))
