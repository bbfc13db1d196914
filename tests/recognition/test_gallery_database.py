"""A gallery in PostgreSQL: its URL, its connection, and what goes wrong with either."""

import sys

import numpy as np
import pytest

from keras_sphereface.recognition import Gallery, postgres

MODEL = "sha256:5a"
UNREACHABLE = "postgresql://ada:secret@127.0.0.1:9/faces?connect_timeout=1"


@pytest.fixture
def url(postgres_server):
    with postgres_server.new_schema() as url:
        yield url


@pytest.fixture
def gallery(url):
    with Gallery.create(url, MODEL) as gallery:
        yield gallery


def test_a_server_that_cannot_be_reached_is_told_without_the_password():
    with pytest.raises(ConnectionError, match="postgresql://ada@127") as raised:
        Gallery.open(UNREACHABLE)
    assert "secret" not in str(raised.value)


def test_without_psycopg_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[postgres\]'"):
        Gallery.open(UNREACHABLE)


@pytest.mark.parametrize(
    ("query", "message"),
    [("schema=My+faces", "lower case letters, digits and _"), ("colour=red", "that libpq knows")],
)
def test_a_url_that_is_none_is_told(query, message):
    with pytest.raises(ValueError, match=message):
        Gallery.open(f"postgresql://localhost/faces?{query}")


@pytest.mark.slow
def test_a_schema_holds_one_gallery(gallery, url, postgres_server):
    gallery.enroll("ada", np.eye(2))
    with pytest.raises(FileExistsError, match=r"Name another one, \?schema=NAME"):
        Gallery.create(url, MODEL)
    with postgres_server.new_schema() as other_url:
        with pytest.raises(FileNotFoundError, match="`sphereface gallery create`"):
            Gallery.open(other_url)
        with Gallery.create(other_url, "sha256:77") as other:
            assert len(other) == 0
            assert other.fingerprint == "sha256:77"
    assert len(gallery) == 1


@pytest.mark.slow
def test_a_lost_connection_is_told_and_made_anew(gallery, postgres_server):
    gallery.enroll("ada", [[1.0, 0.0]])
    end_others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )

    def lose_it_within_a_transaction():
        with gallery.transaction():
            gallery.enroll("bob", [[1.0, 0.0]])
            postgres_server.run(end_others)
            gallery.enroll("eve", [[1.0, 0.0]])

    with pytest.raises(ConnectionError, match="what was not confirmed is not in it"):
        lose_it_within_a_transaction()
    assert [match.name for match in gallery.search([[1.0, 0.0]])[0]] == ["ada"]
    assert gallery.enroll("bob", [[1.0, 0.0]]) == 1


@pytest.mark.slow
def test_bytes_that_a_snapshot_keeps_are_told_and_erased_later(gallery, url, postgres_server):
    import psycopg

    row = np.arange(1, 65, dtype=np.float32)
    gallery.enroll("ada lovelace", [row])
    gallery.enroll("bob", [row[::-1]])
    stored = row[:8].tobytes()
    with psycopg.connect(postgres_server.url) as session:
        # It locks none of the tables: they can be written anew, with what it may still look up.
        session.execute("SET default_transaction_isolation = 'repeatable read'")
        session.commit()
        session.execute("SELECT 1")
        with pytest.raises(BlockingIOError, match="the bytes are still in the tables"):
            gallery.remove("ada lovelace")
        assert stored in postgres_server.stored_bytes()
    Gallery.open(url).close()
    assert stored not in postgres_server.stored_bytes()
    assert b"ada lovelace" not in postgres_server.stored_bytes()
    assert len(gallery) == 1


@pytest.mark.slow
def test_no_statistics_of_the_planner_hold_a_name(gallery, postgres_server):
    for name in ("ada lovelace", "bob"):
        gallery.enroll(name, np.eye(2), sources=[f"{name} {i}" for i in range(2)])
    postgres_server.run("ANALYZE")
    gallery.remove("ada lovelace")
    assert b"ada lovelace" not in postgres_server.stored_bytes()


@pytest.mark.slow
def test_a_user_without_rights_is_told(gallery, url, postgres_server):
    postgres_server.run("CREATE ROLE visitor LOGIN")
    visitor = url.replace("postgres:@", "visitor@")
    try:
        with pytest.raises(PermissionError, match="allowed to read and write the schema"):
            Gallery.open(visitor)
        with pytest.raises(PermissionError, match="allowed to make a schema"):
            Gallery.create(visitor.replace("schema=", "schema=new_"), MODEL)
    finally:
        postgres_server.run("DROP ROLE visitor")


@pytest.mark.slow
@pytest.mark.parametrize("dim", [3, 1024, 3000])
def test_embeddings_come_back_as_they_were_given(gallery, tmp_path, dim):
    rows = np.random.default_rng(dim).normal(size=(3, dim)).astype(np.float32)
    rows[0] *= 1e-30
    gallery.enroll("ada", rows)
    gallery.export(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], rows)


def test_an_old_pgvector_is_told():
    class Connection:
        """One whose server has pgvector 0.7."""

        def execute(self, statement):
            return self

        def fetchone(self):
            return ("0.7.4",)

    pytest.importorskip("psycopg")
    from psycopg.types import TypeInfo

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TypeInfo, "fetch", lambda *_: TypeInfo("vector", 1, 2))
        with pytest.raises(ValueError, match="must have pgvector"):
            postgres.adapt_vectors(Connection(), "postgresql://server/faces")
