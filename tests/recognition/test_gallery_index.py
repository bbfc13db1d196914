"""An index of a gallery finds what an exact search finds, follows changes, and forgets."""

import stat
import sys

import numpy as np
import pytest

from keras_sphereface.recognition import Gallery, index_search
from keras_sphereface.recognition.faiss_index import FaissIndex
from keras_sphereface.recognition.gallery_database import DatabaseIndex, GalleryDatabase
from keras_sphereface.recognition.gallery_file import GalleryFile
from keras_sphereface.recognition.index_search import IndexSearch, measure_recall
from keras_sphereface.recognition.nearest_index import NearestIndex

MODEL = "sha256:5a"
IDENTITIES, DIM = 150, 24
RNG = np.random.default_rng(0)
CENTERS = RNG.normal(size=(IDENTITIES, DIM)).astype(np.float32)


def of_identity(number, count, seed=0):
    noise = np.random.default_rng([number, seed]).normal(size=(count, DIM))
    return (CENTERS[number] + 0.6 * noise).astype(np.float32)


@pytest.fixture(params=["file", pytest.param("database", marks=pytest.mark.slow)])
def place(request, tmp_path, monkeypatch):
    for store in (GalleryFile, GalleryDatabase):
        monkeypatch.setattr(store, "index_above", 100)
    if request.param == "file":
        pytest.importorskip("faiss", reason="faiss-cpu is not installed beside this Python")
        yield tmp_path / "people.db"
        return
    with request.getfixturevalue("postgres_server").new_schema() as url:
        yield url


@pytest.fixture
def file_place(tmp_path, monkeypatch):
    monkeypatch.setattr(GalleryFile, "index_above", 100)
    pytest.importorskip("faiss", reason="faiss-cpu is not installed beside this Python")
    return tmp_path / "people.db"


def filled(place):
    """Identities of 1 to 3 templates each."""
    gallery = Gallery.create(place, MODEL)
    with gallery.transaction():
        for number in range(IDENTITIES):
            gallery.enroll(f"p{number}", of_identity(number, 1 + number % 3))
    return gallery


def index_files(place):
    return sorted(place.parent.glob("people.db-*.faiss"))


def assert_searches_agree(gallery, probes, top=5, fusion="best"):
    assert isinstance(gallery._fastest_search(), IndexSearch)
    exact = gallery.search(probes, top, fusion=fusion, exact=True)
    for found, expected in zip(gallery.search(probes, top, fusion=fusion), exact, strict=True):
        assert [match.name for match in found] == [match.name for match in expected]
        scores = [[match.score for match in matches] for matches in (found, expected)]
        np.testing.assert_allclose(*scores, atol=1e-6)


PROBES = np.concatenate([of_identity(number, 1, seed=1) for number in range(0, IDENTITIES, 5)])


def test_an_index_finds_what_an_exact_search_finds(place, monkeypatch):
    with filled(place) as gallery:
        report = gallery.build_index(num_probes=40)
        assert report.num_templates == gallery.num_templates == 300
        assert report.recall > 0.9
        assert report.num_probes == 40
        for fusion in ("best", "mean"):
            assert_searches_agree(gallery, PROBES, fusion=fusion)
        assert len(gallery.search(PROBES[:1], top=IDENTITIES)[0]) == IDENTITIES
        monkeypatch.setattr(index_search, "LEAST_PROPOSED", 1)
        monkeypatch.setattr(index_search, "PROPOSED_PER_MATCH", 1)
        assert len(gallery.search(PROBES[:1], top=40)[0]) == 40
        assert gallery.search(PROBES[:0]) == []


def test_an_index_follows_enrollment_and_removal(place):
    with filled(place) as gallery:
        gallery.build_index()
        gallery.enroll("new", of_identity(7, 2, seed=2))
        gallery.enroll("p7", of_identity(7, 1, seed=3))  # partly in the index, partly behind it
        gallery.remove("p8", "p5")
        probes = np.concatenate([PROBES, of_identity(7, 1, seed=4), of_identity(8, 1)])
        for fusion in ("best", "mean"):
            assert_searches_agree(gallery, probes, fusion=fusion)
        names = {match.name for matches in gallery.search(probes) for match in matches}
        assert "new" in names
        assert not names & {"p8", "p5"}


def test_an_index_that_another_process_builds_is_used(place):
    with filled(place) as gallery, Gallery.open(place) as other:
        other.search(PROBES)
        assert not isinstance(other._fastest_search(), IndexSearch)
        gallery.build_index()
        assert_searches_agree(other, PROBES)
        gallery.enroll("new", of_identity(7, 2, seed=2))
        gallery.build_index()
        assert_searches_agree(other, PROBES)
        if not isinstance(place, str):
            assert len(index_files(place)) == 1, "the earlier one is gone"


def test_a_small_gallery_gets_no_index(place):
    with Gallery.create(place, MODEL) as gallery:
        gallery.enroll("ada", np.eye(100))
        with pytest.raises(ValueError, match=r"more than 100 templates.* with 100$"):
            gallery.build_index()


def test_a_rolled_back_enrollment_is_not_found_by_an_index(place):
    def enroll_and_fail(gallery):
        with gallery.transaction():
            gallery.enroll("new", PROBES[:1])
            assert gallery.search(PROBES[:1])[0][0].name == "new"
            raise KeyError

    with filled(place) as gallery:
        gallery.build_index()
        with pytest.raises(KeyError):
            enroll_and_fail(gallery)
        gallery.enroll("another", -PROBES[:1])
        assert_searches_agree(gallery, np.concatenate([PROBES, -PROBES[:1]]))


def test_the_index_of_a_file_is_for_the_user_alone_and_forgets_what_is_removed(file_place):
    with filled(file_place) as gallery:
        gallery.build_index()
        (path,) = index_files(file_place)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        codes = code_of(path, [6, 7])
        assert all(code in path.read_bytes() for code in codes)
        gallery.remove("p6")
        (path,) = index_files(file_place)
        assert [code in path.read_bytes() for code in codes] == [False, True]


def code_of(path, identities):
    """The bytes of the first template of identities in the file of an index."""
    import faiss

    index = faiss.read_index(str(path))
    graph = faiss.downcast_index(index.index)
    rows = np.concatenate([of_identity(number, 1 + number % 3)[:1] for number in identities])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [code.tobytes() for code in faiss.downcast_index(graph.storage).sa_encode(rows)]


def test_what_is_removed_while_an_index_is_built_is_not_in_it(file_place, monkeypatch):
    build = FaissIndex.build

    def build_meanwhile(store):
        index = build(store)
        with Gallery.open(file_place) as other, other._change():
            other._store.delete_identity("p6")  # `remove` would wait for the snapshot to erase it
        return index

    monkeypatch.setattr(FaissIndex, "build", build_meanwhile)
    with filled(file_place) as gallery:
        gallery.build_index()
        (path,) = index_files(file_place)
        codes = code_of(path, [6, 7])
        assert [code in path.read_bytes() for code in codes] == [False, True]
        assert_searches_agree(gallery, PROBES)


def test_without_faiss_every_template_is_compared(file_place, monkeypatch, capsys):
    with filled(file_place) as gallery:
        gallery.build_index()
    monkeypatch.setitem(sys.modules, "faiss", None)
    with Gallery.open(file_place) as gallery:
        found = gallery.search(PROBES)
        assert "pip install 'keras-sphereface[faiss]'" in capsys.readouterr().err
        assert found == gallery.search(PROBES, exact=True)
        with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[faiss\]'"):
            gallery.build_index()
        gallery.remove("p6")
        assert index_files(file_place) == [], "it cannot be freed from what is removed"


def test_without_its_file_every_template_is_compared(file_place):
    with filled(file_place) as gallery:
        gallery.build_index()
        index_files(file_place)[0].unlink()
    with Gallery.open(file_place) as gallery:
        assert gallery.search(PROBES) == gallery.search(PROBES, exact=True)


def test_a_large_gallery_without_an_index_is_told_once(file_place, capsys):
    with filled(file_place) as gallery:
        gallery.search(PROBES, exact=True)
        assert capsys.readouterr().err == ""
        gallery.search(PROBES)
        gallery.search(PROBES)
        assert capsys.readouterr().err.count("sphereface gallery index --gallery") == 1


class Drawn(NearestIndex):
    """One that finds all templates, but nothing for some probes."""

    def __init__(self, store, share):
        self.numbers, self.share = store.template_numbers().tolist(), share
        self.rng = np.random.default_rng(0)

    def nearest(self, probe, count):
        return self.numbers if self.rng.random() < self.share else []


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_recall_is_the_share_of_probes_that_find_their_nearest(file_place, share):
    with filled(file_place) as gallery, gallery._store.snapshot():
        recall, num_probes = measure_recall(gallery._store, Drawn(gallery._store, share), 200)
        assert num_probes == 200
        assert recall == pytest.approx(share, abs=0.1)


def test_a_probe_of_the_recall_does_not_find_itself(file_place):
    class Itself(NearestIndex):
        def nearest(self, probe, count):
            rows = probe @ templates.T
            return [int(numbers[np.argmax(rows / np.linalg.norm(templates, axis=1))])]

    with filled(file_place) as gallery, gallery._store.snapshot():
        ((numbers, _, templates),) = gallery._store.templates_after(0)
        assert measure_recall(gallery._store, Itself(), 100)[0] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "kind"), [(2000, "vector"), (2001, "halfvec"), (4000, "halfvec")])
def test_pgvector_indexes_large_embeddings_in_half_precision(
    postgres_server, monkeypatch, dim, kind
):
    monkeypatch.setattr(GalleryDatabase, "index_above", 10)
    rows = np.random.default_rng(0).normal(size=(20, dim))
    with postgres_server.new_schema() as url, Gallery.create(url, MODEL) as gallery:
        for number, row in enumerate(rows):
            gallery.enroll(f"p{number}", [row])
        assert gallery.build_index().recall == 1.0
        assert DatabaseIndex(gallery._store).type == kind
        assert [m[0].name for m in gallery.search(rows, 1)] == [f"p{i}" for i in range(20)]


@pytest.mark.slow
def test_pgvector_has_no_index_for_larger_ones(postgres_server, monkeypatch):
    monkeypatch.setattr(GalleryDatabase, "index_above", 0)
    with postgres_server.new_schema() as url, Gallery.create(url, MODEL) as gallery:
        gallery.enroll("ada", np.ones((1, 4001)))
        with pytest.raises(ValueError, match="up to 4000 numbers"):
            gallery.build_index()
        assert gallery.search(np.ones((1, 4001)))[0][0].name == "ada"


@pytest.mark.slow
def test_a_search_in_postgres_uses_the_index(postgres_server, monkeypatch):
    monkeypatch.setattr(GalleryDatabase, "index_above", 100)
    with postgres_server.new_schema() as url, filled(url) as gallery:
        gallery.build_index()
        used = (
            "SELECT SUM(idx_scan) FROM pg_stat_user_indexes "
            "WHERE indexrelname = 'templates_embedding'"
        )
        before = int(gallery._store.value(used))
        gallery.search(PROBES[:3])
        gallery._store.run("SELECT pg_stat_force_next_flush()")
        assert int(gallery._store.value(used)) >= before + 3
