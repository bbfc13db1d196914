import io
import json
import types

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from keras_sphereface.reporting import projector
from keras_sphereface.reporting.projector import write_projector

NAMES = ["Ann", "Zoë 李", "Bo\tTab\nLine ", "Ann", ""]
IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None] * 50 + np.zeros((6, 4, 3), np.uint8)


def embeddings(dim=7, seed=0):
    return np.random.default_rng(seed).normal(size=(5, dim)).astype(np.float32)


class TensorBoard:
    """Requests of the Projector tab to the server, for a folder given as `--logdir`."""

    def __init__(self, folder):
        provider = MultiplexerDataProvider(EventMultiplexer(), str(folder))
        context = types.SimpleNamespace(data_provider=provider, logdir=str(folder))
        self.apps = ProjectorPlugin(context).get_plugin_apps()

    def get(self, route, **query):
        response = Client(self.apps[route]).get(route, query_string=query)
        assert response.status_code == 200, response.get_data(as_text=True)
        return response.get_data()

    def runs(self):
        return json.loads(self.get("/runs"))

    def info(self):
        return json.loads(self.get("/info", run="."))["embeddings"]

    def tensor(self, name, shape):
        return np.frombuffer(self.get("/tensor", run=".", name=name), np.float32).reshape(shape)

    def lines(self, name):
        return self.get("/metadata", run=".", name=name).decode("utf-8").splitlines()

    def sprite(self, name):
        return np.asarray(Image.open(io.BytesIO(self.get("/sprite_image", run=".", name=name))))


def test_tensorboard_reads_every_set_to_the_last_bit(tmp_path):
    sets = {"m = 4": embeddings(), "softmax": 1e-6 * embeddings(3, seed=1)}
    write_projector(tmp_path / "new" / "folder", sets, {"identity": NAMES})
    board = TensorBoard(tmp_path / "new" / "folder")
    assert board.runs() == ["."]
    assert [entry["tensorName"] for entry in board.info()] == ["m = 4", "softmax"]
    assert [entry["tensorShape"] for entry in board.info()] == [[5, 7], [5, 3]]
    for name, rows in sets.items():
        np.testing.assert_array_equal(board.tensor(name, rows.shape), rows)
        assert len(board.lines(name)) == 5
    assert "sprite" not in board.info()[0]


def test_one_column_has_no_header_and_a_line_for_each_image(tmp_path):
    write_projector(tmp_path, {"a": embeddings()}, {"identity": NAMES})
    assert TensorBoard(tmp_path).lines("a") == ["Ann", "Zoë 李", "Bo Tab Line", "Ann", "-"]


def test_several_columns_have_a_header(tmp_path):
    columns = {
        "identity": NAMES,
        "the\tlabel": np.arange(5),
        "odd": ["\udc80", "\x85", " x ", 1, 2],
    }
    write_projector(tmp_path, {"a": embeddings()}, columns)
    cells = [line.split("\t") for line in TensorBoard(tmp_path).lines("a")]
    assert cells[0] == ["identity", "the label", "odd"]
    assert cells[1:] == [
        ["Ann", "0", "?"],
        ["Zoë 李", "1", "-"],
        ["Bo Tab Line", "2", "x"],
        ["Ann", "3", "1"],
        ["-", "4", "2"],
    ]


def test_tensorboard_finds_the_image_of_each_row(tmp_path):
    write_projector(tmp_path, {"a": embeddings(), "b": embeddings()}, {"p": NAMES}, IMAGES)
    board = TensorBoard(tmp_path)
    for entry in board.info():
        width, height = entry["sprite"]["singleImageDim"]
        assert (width, height) == (4, 6)
        sheet = board.sprite(entry["tensorName"])
        columns = sheet.shape[1] // width
        for row, image in enumerate(IMAGES):
            top, left = row // columns * height, row % columns * width
            np.testing.assert_array_equal(
                sheet[top : top + height, left : left + width], image, str(row)
            )


def test_images_shrink_until_their_sheet_is_small_enough(tmp_path, monkeypatch):
    assert projector.MAX_SPRITE_SIDE == 8192
    monkeypatch.setattr(projector, "MAX_SPRITE_SIDE", 64)
    images = np.repeat(np.repeat(IMAGES, 20, axis=1), 20, axis=2)  # 120 x 80
    write_projector(tmp_path, {"a": embeddings()}, {"p": NAMES}, images)
    board = TensorBoard(tmp_path)
    assert board.info()[0]["sprite"]["singleImageDim"] == [14, 21]
    sheet = board.sprite("a")
    assert sheet.shape == (63, 42, 3)
    # Row by row, three in a row.
    assert (sheet[21 + 10, 14 + 7] == 200).all()


def test_a_second_writing_takes_the_place_of_the_first(tmp_path):
    write_projector(tmp_path, {"a": embeddings(), "b": embeddings()}, {"p": NAMES}, IMAGES)
    write_projector(tmp_path, {"b": embeddings(seed=2)[:3]}, {"p": NAMES[:3]})
    board = TensorBoard(tmp_path)
    assert [entry["tensorName"] for entry in board.info()] == ["b"]
    assert "sprite" not in board.info()[0]
    np.testing.assert_array_equal(board.tensor("b", (3, 7)), embeddings(seed=2)[:3])
    assert not list(tmp_path.glob(".partial*"))


def test_an_interrupted_set_is_not_shown(tmp_path, monkeypatch):
    write_projector(tmp_path, {"a": embeddings()}, {"p": NAMES})

    def full_disk(*_):
        raise OSError("full")

    monkeypatch.setattr(projector, "_metadata_text", full_disk)
    with pytest.raises(OSError, match="full"):
        write_projector(tmp_path, {"a": embeddings(seed=3)}, {"p": NAMES})
    assert TensorBoard(tmp_path).runs() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": {}}, "at least one set and .* Received: 0 and 1"),
        ({"metadata": {}}, "at least one column. Received: 1 and 0"),
        ({"embeddings": {"../a": embeddings()}}, r"Received: '\.\./a'"),
        ({"embeddings": {"a:0": embeddings()}}, "Received: 'a:0'"),
        ({"embeddings": {"": embeddings()}}, "Received: ''"),
        ({"embeddings": {"a": np.ones(5)}}, r"\(N, D\) each.*'a' of shape \(5,\)"),
        ({"embeddings": {"a": np.ones((5, 0))}}, r"shape \(5, 0\)"),
        (
            {"embeddings": {"a": embeddings(), "b": np.ones((4, 2))}},
            r"'b' of shape \(4, 2\).*N = 5",
        ),
        (
            {"embeddings": {"a": np.full((5, 2), np.nan)}},
            "Received: nan or infinity in 'a'",
        ),
        ({"metadata": {"p": NAMES, "q": [1, 2]}}, "must have 5 values.* Received: 'q' with 2"),
        ({"images": IMAGES[:4]}, r"uint8 \(5, H, W, 3\). Received: uint8 \(4, 6, 4, 3\)"),
        ({"images": IMAGES / 255}, "Received: float64"),
        ({"images": IMAGES[..., :1]}, r"Received: uint8 \(5, 6, 4, 1\)"),
    ],
)
def test_unsuitable_arguments_are_refused_before_anything_is_written(tmp_path, change, message):
    arguments = {"embeddings": {"a": embeddings()}, "metadata": {"p": NAMES}} | change
    with pytest.raises(ValueError, match=message):
        write_projector(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
