"""`sphereface import-weights`: two words, a network; mistakes before TensorFlow is imported."""

import numpy as np
import pytest

from keras_sphereface.commands.main import main
from keras_sphereface.export import load_backbone
from keras_sphereface.utils import startup
from tests.helpers.weights_files import caffemodel, random_layers


@pytest.mark.slow
def test_a_file_becomes_a_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layers = random_layers((0, 0, 0, 0))
    layers["fc6"] = [np.ones((9, 7), np.float32)]
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(layers))
    assert main("import-weights net.caffemodel out/network.keras".split()) == 0
    output = capsys.readouterr()
    count = sum(array.size for name in layers if name != "fc6" for array in layers[name])
    assert output.out.splitlines() == [
        f"sphereface4: RGB faces of 112 x 96, embeddings of 7, {count:,} weights",
        "written to out/network.keras",
    ]
    assert "left out, since it served the training only: fc6" in output.err
    assert load_backbone("out/network.keras").output_shape == (None, 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("page.caffemodel net.keras", "page.caffemodel, a web page; the download did not give"),
        ("model.7z net.keras", "model.7z, a 7z archive; unpack it first"),
        ("pointer.pth net.keras", "a pointer of Git LFS"),
        ("empty.pth net.keras", "Received: empty.pth, an empty file"),
        ("net.caffemodel net.h5", "`out` must be NAME.keras. Received: out=net.h5"),
        ("none.caffemodel net.keras", "`--weights` must be a file that exists"),
        ("net.caffemodel net.keras more", "takes 2 words without a flag"),
        ("net.caffemodel", "`--out` must be given"),
    ],
)
def test_a_mistake_is_answered_before_tensorflow_is_imported(
    tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    files = {
        "page.caffemodel": b"\n<!DOCTYPE html><html>",
        "model.7z": b"7z\xbc\xaf\x27\x1c",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:5a",
        "empty.pth": b"",
        "net.caffemodel": caffemodel(random_layers((0, 0, 0, 0))),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def import_too_early():
        raise AssertionError("TensorFlow would be imported")

    monkeypatch.setattr(startup, "import_whole_package", import_too_early)
    with pytest.raises(SystemExit) as ended:
        main(["import-weights", *words.split()])
    assert ended.value.code in (1, 2)
    assert message in capsys.readouterr().err
