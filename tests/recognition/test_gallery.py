"""A gallery finds what it should, tells what does not fit, and is one for several processes."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest

from keras_sphereface.recognition import (
    EnrolledIdentity,
    Gallery,
    IdentityMatch,
    gallery_database,
    gallery_export,
    gallery_file,
)
from keras_sphereface.recognition import template_index as index_module
from tests.conftest import ROOT

MODEL = "sha256:5a"


@pytest.fixture
def file_place(tmp_path):
    return tmp_path / "people.db"


@pytest.fixture
def database_place(postgres_server):
    with postgres_server.new_schema() as url:
        yield url


@pytest.fixture(params=["file", pytest.param("database", marks=pytest.mark.slow)])
def place(request):
    """Where a gallery may be: what holds of one store holds of the other."""
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture
def gallery(place):
    with Gallery.create(place, MODEL) as gallery:
        yield gallery


@pytest.fixture
def stored_bytes(request, place):
    """A function that returns all bytes of the store."""
    if isinstance(place, str):
        return request.getfixturevalue("postgres_server").stored_bytes
    names = [place.name + suffix for suffix in ("", "-wal", "-shm")]
    files = [place.with_name(name) for name in names]
    return lambda: b"".join(file.read_bytes() for file in files if file.exists())


def directions(count, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def filled(gallery, num_identities=30, dim=8):
    """1 to 3 templates an identity, enrolled in turn so that those of one do not adjoin."""
    templates = {}
    for turn in range(3):
        for number in range(num_identities):
            if turn <= number % 3:
                row = (1 + turn) * directions(1, dim, 100 * number + turn)
                gallery.enroll(f"p{number}", row)
                templates.setdefault(f"p{number}", []).append(row[0].astype(np.float64))
    return templates


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def by_hand(templates, probe, fusion):
    score = {
        "best": lambda rows: max(cosine(probe, row) for row in rows),
        "mean": lambda rows: cosine(probe, np.mean(rows, axis=0)),
    }[fusion]
    scores = {name: score(rows) for name, rows in templates.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("fusion", ["best", "mean"])
@pytest.mark.parametrize("at_once", [1, 200, index_module.SCORES_AT_ONCE])
def test_a_search_finds_what_a_loop_finds(gallery, monkeypatch, fusion, at_once):
    monkeypatch.setattr(index_module, "SCORES_AT_ONCE", at_once)
    monkeypatch.setattr(index_module, "_MEANS_AT_ONCE", 7)
    templates = filled(gallery)
    probes = directions(9, 8, seed=1).astype(np.float64)
    found = gallery.search(probes, top=4, fusion=fusion)
    assert len(found) == 9
    for probe, matches in zip(probes, found, strict=True):
        expected = by_hand(templates, probe, fusion)[:4]
        assert [match.name for match in matches] == [name for name, _ in expected]
        scores = [match.score for match in matches]
        np.testing.assert_allclose(scores, [score for _, score in expected], atol=1e-6)


def test_of_equal_scores_the_first_enrolled_comes_first(gallery):
    for name in ("zoe", "ada", "bob", "eve"):
        gallery.enroll(name, [[1.0, 2.0]])
    for top in (2, 4, 9):
        (matches,) = gallery.search([[1.0, 2.0]], top)
        assert [match.name for match in matches] == ["zoe", "ada", "bob", "eve"][:top]


def test_opposite_templates_have_no_mean(gallery):
    gallery.enroll("ada", [[1.0, 0.0], [-1.0, 0.0]])
    assert gallery.search([[1.0, 0.0]], fusion="mean") == [[IdentityMatch("ada", 0.0)]]


def test_an_empty_gallery_and_no_probe_find_nothing(gallery):
    assert gallery.search(np.ones((2, 3))) == [[], []]
    gallery.enroll("ada", np.ones((1, 3)))
    assert gallery.search(np.empty((0, 3))) == []
    gallery.remove("ada")
    assert gallery.search(np.ones((1, 3))) == [[]]


def test_identities_are_listed_with_their_counts_and_mean_quality(gallery):
    gallery.enroll("bob", np.eye(2))
    gallery.enroll("ada", np.eye(3, 2) + 1, quality=[1.0, 2.0, 6.0])
    assert gallery.identities() == [
        EnrolledIdentity("ada", 3, 3.0),
        EnrolledIdentity("bob", 2, None),
    ]
    assert len(gallery) == 2
    assert "ada" in gallery
    assert "eve" not in gallery


def test_a_name_is_one_in_any_unicode_form(gallery):
    gallery.enroll("Zoe\u0308", [[1.0, 0.0]])
    assert gallery.enroll("Zo\u00eb", [[0.0, 1.0]]) == 1
    assert [identity.num_templates for identity in gallery.identities()] == [2]
    gallery.remove("Zoe\u0308")
    assert len(gallery) == 0


def test_a_repeated_enrollment_adds_nothing(gallery):
    assert gallery.enroll("ada", np.eye(2), sources=["a", "b"]) == 2
    assert gallery.enroll("ada", np.eye(3, 2) + 1, sources=["a", "b", "c"]) == 1
    assert gallery.enroll("bob", np.eye(2)) == 2
    assert gallery.enroll("bob", np.eye(2)) == 0
    assert gallery.enroll("eve", np.eye(2)) == 2, "of another identity it is no repetition"


def test_images_are_kept_only_if_they_are_given(gallery, stored_bytes):
    contents = b"\xff\xd8 first image", b"\xff\xd8 second image"
    gallery.enroll("ada", np.eye(2), images=contents)
    assert all(content in stored_bytes() for content in contents)
    gallery.remove("ada")
    assert not any(content in stored_bytes() for content in contents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name=""), "`name` must be a text of printable characters"),
        (dict(name="a\tb"), r"Received: name='a\\tb'"),
        (dict(name=" ada"), "without spaces around it"),
        (dict(templates=[1.0, 2.0]), r"`templates` must be numbers \(N, D\), N >= 1. Received: fl"),
        (dict(templates=np.empty((0, 2))), r"N >= 1. Received: float64 \(0, 2\)"),
        (dict(templates=[["a", "b"]]), "must be numbers"),
        (dict(templates=[[0.0, 0.0]]), "must be other than zero. Received: 1 bad rows"),
        (dict(templates=[[1.0, np.nan]]), "must be finite"),
        (dict(templates=[[1e-300, 0.0]]), "must be other than zero"),
        (dict(templates=[[1.0, 2.0, 3.0]]), r"embeddings of 2 numbers.* mirror image has twice"),
        (
            dict(sources=["a", "b"]),
            "entry for each of 1 templates. Received: 2",
        ),
        (dict(quality=[]), "`quality` must have an entry for each of 1 templates"),
        (dict(images=[b"", b""]), "`images` must have an entry"),
    ],
)
def test_what_cannot_be_enrolled_is_told(gallery, arguments, message):
    gallery.enroll("bob", [[1.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        gallery.enroll(**{"name": "ada", "templates": [[1.0, 2.0]], **arguments})
    assert len(gallery) == 1


def test_what_cannot_be_searched_is_told(gallery):
    gallery.enroll("bob", [[1.0, 0.0]])
    with pytest.raises(ValueError, match="`top` must be an int >= 1"):
        gallery.search([[1.0, 0.0]], top=0)
    with pytest.raises(ValueError, match="`fusion` must be one of best, mean"):
        gallery.search([[1.0, 0.0]], fusion="median")
    with pytest.raises(ValueError, match="`embeddings` must be embeddings of 2 numbers"):
        gallery.search([[1.0, 0.0, 0.0]])


def test_an_unknown_name_is_answered_with_the_nearest_and_none_is_removed(gallery):
    gallery.enroll("ada", [[1.0, 0.0]])
    gallery.enroll("robert", [[1.0, 0.0]])
    with pytest.raises(ValueError, match=r"Received: 'rovert'\. Did you mean `robert`\?"):
        gallery.remove("ada", "rovert")
    assert len(gallery) == 2


def test_a_gallery_of_another_model_is_refused(place):
    Gallery.create(place, MODEL).close()
    Gallery.open(place).close()
    with pytest.raises(ValueError, match=r"another model.*sha256:77; the gallery has sha256:5a"):
        Gallery.open(place, "sha256:77")


def test_what_is_no_gallery_is_refused_and_left_as_it_was(tmp_path):
    import sqlite3

    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE metadata (key, value)").connection.close()
    text = tmp_path / "text.db"
    text.write_text("ada\n" * 1000)
    for path in (other, text):
        before = path.read_bytes()
        with pytest.raises(ValueError, match=f"must be the file of a gallery. Received: {path}"):
            Gallery.open(path)
        assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="`sphereface gallery create`"):
        Gallery.open(tmp_path / "none.db")
    with pytest.raises(FileExistsError, match="A gallery must be a new file"):
        Gallery.create(text, MODEL)
    with pytest.raises(ValueError, match="`fingerprint` must name the model"):
        Gallery.create(tmp_path / "new.db", "")


def test_only_the_user_may_read_the_file(file_place, tmp_path):
    Gallery.create(file_place, MODEL).enroll("ada", [[1.0, 0.0]])
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_failed_transaction_leaves_nothing(gallery):
    gallery.enroll("ada", [[1.0, 0.0]])

    def enroll_and_fail():
        with gallery.transaction():
            gallery.enroll("bob", [[0.0, 1.0]])
            assert gallery.search([[0.0, 1.0]], 1)[0][0].name == "bob"
            raise KeyError

    with pytest.raises(KeyError):
        enroll_and_fail()
    gallery.enroll("eve", [[1.0, 1.0]])
    assert {match.name for match in gallery.search([[0.0, 1.0]])[0]} == {"ada", "eve"}


def test_another_process_sees_what_was_confirmed(gallery, place):
    filled(gallery)
    probes = directions(5, 8, seed=2)
    with Gallery.open(place) as other:
        before = other.search(probes)
        other.remove("p3", "p4")
        other.enroll("p5", directions(2, 8, seed=3))
        other.enroll("new", directions(1, 8, seed=4))
        assert gallery.search(probes, top=99) == other.search(probes, top=99) != before
        assert gallery.identities() == other.identities()


def test_a_change_reads_only_what_has_changed(file_place, monkeypatch):
    gallery = Gallery.create(file_place, MODEL)
    filled(gallery)
    gallery.search(directions(1, 8))
    appended = []
    append = index_module.TemplateIndex.append
    monkeypatch.setattr(
        index_module.TemplateIndex,
        "append",
        lambda self, ids, *rest: (appended.extend(ids), append(self, ids, *rest)),
    )
    with Gallery.open(file_place) as other:
        other.remove("p0")
        other.enroll("new", directions(2, 8, seed=4))
    gallery.search(directions(1, 8))
    gallery.search(directions(1, 8))
    assert len(appended) == 2


@pytest.mark.parametrize(("count", "dim", "page_bytes"), [(600, 4, 4096), (60, 512, 16384)])
def test_nothing_of_a_removed_identity_is_left_in_the_files(
    place, stored_bytes, monkeypatch, count, dim, page_bytes
):
    # Of so many names in such an order SQLite moves some between small pages, and leaves copies.
    monkeypatch.setattr(gallery_file, "PAGE_BYTES", page_bytes)
    with Gallery.create(place, MODEL) as gallery:
        rng = np.random.default_rng(0)
        names = [f"identity-{number:03d}-{'x' * int(rng.integers(40))}" for number in range(count)]
        templates = {}
        with gallery.transaction():
            for name in rng.permutation(names):
                templates[name] = rng.normal(size=(int(rng.integers(1, 3)), dim)).astype(np.float32)
                gallery.enroll(name, templates[name])
        removed = names[::3]
        assert all(templates[name][-1].tobytes() in stored_bytes() for name in removed[:9])
        gallery.remove(*removed)
        content = stored_bytes()
        for name in [*removed, *names[1::30]]:
            is_left = name not in removed
            assert (name[:12].encode() in content) == is_left, name
            for row in templates[name]:
                assert (row[:4].tobytes() in content) == is_left
                assert (row[-4:].tobytes() in content) == is_left


def hurry(monkeypatch):
    """Let a process wait briefly for another one."""
    for module in (gallery_file, gallery_database):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)


def test_a_removal_that_another_process_hinders_is_finished_when_the_gallery_is_opened(
    gallery, place, stored_bytes, monkeypatch
):
    hurry(monkeypatch)
    row = directions(1, 64)
    gallery.enroll("ada lovelace", row)
    gallery.enroll("bob", directions(1, 64, 1))
    with Gallery.open(place) as hindered, gallery._store.snapshot():
        gallery._store.value("SELECT COUNT(*) FROM templates")
        with pytest.raises(BlockingIOError, match=r"can be found no more, but .*still"):
            hindered.remove("ada lovelace")
        assert "ada lovelace" not in hindered
    assert row.tobytes() in stored_bytes()
    Gallery.open(place).close()
    assert row.tobytes() not in stored_bytes()
    assert b"ada lovelace" not in stored_bytes()
    assert len(gallery) == 1


def test_a_removal_cut_short_during_another_one_is_finished_later(place, gallery, monkeypatch):
    def cut_short():
        raise KeyboardInterrupt

    def erase():
        with Gallery.open(place) as other, monkeypatch.context() as patch:
            patch.setattr(other._store, "erase_removed", cut_short)
            with pytest.raises(KeyboardInterrupt):
                other.remove("bob")
        return True

    for name in ("ada", "bob"):
        gallery.enroll(name, directions(1, 4))
    monkeypatch.setattr(gallery._store, "erase_removed", erase)
    gallery.remove("ada")
    assert gallery._store.get_meta("to_erase")
    Gallery.open(place).close()
    assert not gallery._store.get_meta("to_erase")


def test_identities_are_listed_page_by_page_in_the_order_of_python(gallery):
    names = ["Zoe", "ada", "bob", "émile", "Ω", "\U0001f600"]
    for name in names[::-1]:
        gallery.enroll(name, directions(2, 4))
    assert [one.name for one in gallery.identities()] == names == sorted(names)
    pages = [gallery.identities(after, limit=2) for after in ("", "ada", "émile", names[-1])]
    assert [[one.name for one in page] for page in pages] == [names[:2], names[2:4], names[4:], []]
    assert gallery.identities("b\0z", limit=1)[0].num_templates == 2
    with pytest.raises(ValueError, match="limit"):
        gallery.identities(limit=0)


def test_a_gallery_of_another_schema_version_is_refused(file_place):
    Gallery.create(file_place, MODEL).close()
    with contextlib.closing(sqlite3.connect(file_place)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(ValueError, match=r"must have schema version 1.*with version 9"):
        Gallery.open(file_place)


def test_a_removal_is_none_within_a_transaction(gallery):
    gallery.enroll("ada", [[1.0, 0.0]])
    with gallery.transaction(), pytest.raises(RuntimeError, match="outside of `transaction`"):
        gallery.remove("ada")
    assert len(gallery) == 1


def test_a_second_writer_waits_and_then_says_so(gallery, place, monkeypatch):
    hurry(monkeypatch)
    with Gallery.open(place) as other, gallery.transaction():
        with pytest.raises(BlockingIOError, match="Another process has been writing"):
            other.enroll("bob", [[1.0, 0.0]])  # it would get a lower number, and be confirmed first
        gallery.enroll("ada", [[1.0, 0.0]])
        assert len(other) == 0, "a reader does not wait"
        with pytest.raises(BlockingIOError, match=r"process has been writing .* for 0.05 s"):
            other.enroll("bob", [[1.0, 0.0]])


def test_export_as_npz(gallery, tmp_path):
    rows = directions(3, 4)
    gallery.enroll("bob", rows[:2], sources=["x", "y"], quality=[0.5, 0.25])
    gallery.enroll("ada", rows[2:], sources=["z"])
    assert gallery.export(tmp_path / "out.npz") == 3
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["keys"].tolist() == ["ada/1", "bob/1", "bob/2"]
        assert arrays["identities"].tolist() == ["ada", "bob", "bob"]
        assert arrays["sources"].tolist() == ["z", "x", "y"]
        np.testing.assert_array_equal(arrays["embeddings"], rows[[2, 0, 1]])
        np.testing.assert_array_equal(arrays["quality"], [np.nan, 0.5, 0.25])
        assert str(arrays["fingerprint"]) == MODEL


@pytest.mark.parametrize("at_once", [1, 2, 4096])
def test_export_as_parquet(gallery, tmp_path, monkeypatch, at_once):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(gallery_export, "ROWS_AT_ONCE", at_once)
    rows = directions(2, 4)
    gallery.enroll("bob", rows, sources=["x", "y"], quality=[0.5, 0.25])
    gallery.enroll("eve", rows[:1])
    gallery.export(tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.metadata[b"fingerprint"] == MODEL.encode()
    columns = table.to_pydict()
    assert columns["key"] == ["bob/1", "bob/2", "eve/1"]
    assert columns["quality"] == [0.5, 0.25, None]
    np.testing.assert_array_equal(np.float32(columns["embedding"]), rows[[0, 1, 0]])


def test_what_cannot_be_exported_is_told(gallery, tmp_path):
    for name in ("out.npz", "out.parquet"):
        with pytest.raises(ValueError, match="The gallery must have templates"):
            gallery.export(tmp_path / name)
        assert not (tmp_path / name).exists()
    gallery.enroll("ada", [[1.0, 0.0]])
    with pytest.raises(ValueError, match=r"`out` must end in \.npz or \.parquet"):
        gallery.export(tmp_path / "out.csv")


def test_neither_keras_nor_tensorflow_is_imported():
    program = (
        "import sys, keras_sphereface.recognition\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib', 'cv2', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {**os.environ, "KERAS_SPHEREFACE_DATA_ONLY": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


def test_it_ranks_as_the_evaluation_of_identification_does(gallery):
    from keras_sphereface.metrics.identification import search_gallery

    rng = np.random.default_rng(3)
    centers = rng.normal(size=(40, 16))
    names = np.array([f"p{i}" for i in range(40)])
    enrolled, probes = rng.integers(0, 30, 90), rng.integers(0, 40, 60)  # the last ten are unknown
    rows = (centers[enrolled] + rng.normal(size=(90, 16))).astype(np.float32)
    searched = (centers[probes] + rng.normal(size=(60, 16))).astype(np.float32)
    with gallery.transaction():
        for identity, row in zip(enrolled, rows, strict=True):
            gallery.enroll(names[identity], [row])
    expected = search_gallery(rows, names[enrolled], searched, names[probes])
    matches = gallery.search(searched, top=40)
    for i, probe in enumerate(names[probes]):
        found = [match.name for match in matches[i]]
        rank = found.index(probe) + 1 if probe in found else 0
        assert rank == expected.ranks[i]
        best_other = next(match for match in matches[i] if match.name != probe)
        assert best_other.score == pytest.approx(expected.top_nonmate_scores[i], abs=1e-6)
    assert 0 < np.count_nonzero(expected.ranks == 1) < np.count_nonzero(expected.ranks)
