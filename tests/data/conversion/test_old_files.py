"""A conversion that an earlier version left unfinished continues, and ends with its bytes."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion import convert
from keras_sphereface.data.conversion.manifest import Manifest
from keras_sphereface.utils import atomic
from tests.conftest import OLD_FILES


class Stopped(BaseException):
    pass


@pytest.fixture
def config(tmp_path):
    shutil.copytree(OLD_FILES / "conversion_source", tmp_path / "source")
    place = dict(source=str(tmp_path / "source"), out=str(tmp_path / "out"))
    return ConvertConfig(**place, num_shards=2, height=14, width=12)


def fingerprint_of(config, monkeypatch):
    """The checksum of the settings, from a run that is stopped once it has stored it."""

    def stop(*_):
        raise Stopped

    monkeypatch.setattr(Manifest, "list_images", stop)
    with pytest.raises(Stopped):
        convert.make_records(config)
    monkeypatch.undo()
    partial = atomic.partial_folder(Path(config.out))
    manifest = Manifest(partial / convert.SCRATCH)
    fingerprint = manifest.get_meta("settings")
    manifest.close()
    shutil.rmtree(partial)
    return fingerprint


def moved(state, config, fingerprint):
    """Put a copy of the state beside OUT, as if it had been written for this source."""
    partial = atomic.partial_folder(Path(config.out))
    shutil.copytree(state, partial)
    database = sqlite3.connect(partial / convert.SCRATCH / Manifest.FILE)
    database.execute(
        "UPDATE pictures SET file = ? || '/' || key WHERE file LIKE '%/' || key", [config.source]
    )
    database.execute(
        "UPDATE facts SET value = ? WHERE name = 'settings'", [json.dumps(fingerprint)]
    )
    database.commit()
    database.close()


def test_a_stopped_conversion_of_an_earlier_version_continues(config, monkeypatch, capsys):
    moved(OLD_FILES / "conversion_state", config, fingerprint_of(config, monkeypatch))
    finished = OLD_FILES / "conversion_state" / records.shard_name(0, 2)
    written = []
    real = Manifest.finish_shard
    monkeypatch.setattr(
        Manifest, "finish_shard", lambda self, *args: (written.append(args[0]), real(self, *args))
    )
    info = convert.make_records(config)
    assert "continuing" in capsys.readouterr().err
    assert written == [1]
    expected = json.loads((OLD_FILES / "expected.json").read_text())["shards"]
    assert {shard.file: shard.sha256 for shard in info.shards} == expected
    assert records.damaged_shards(config.out) == {}
    assert (info.num_images, info.num_identities) == (6, 2)
    assert (Path(config.out) / finished.name).read_bytes() == finished.read_bytes()
