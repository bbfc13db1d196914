"""Lists of images as public tools write them, all of the same images."""

import base64
import json

import pytest

from keras_sphereface.data.conversion.prepare import content_of
from keras_sphereface.data.readers import open_source, read_list_file
from keras_sphereface.data.readers.base64_table import NOT_BASE64
from keras_sphereface.data.readers.list_layout import choose_list_layout
from keras_sphereface.data.types import ImageRecord, SkippedImage

KEYS = [f"images/{name}/{name} {i}.jpg" for name in ("Ada", "Bob") for i in range(1, 4)]


def lines(form) -> str:
    return "".join(form(i, key, int("Bob" in key)) + "\n" for i, key in enumerate(KEYS))


DIALECTS = {
    "path label, tabs": lines(lambda i, k, n: f"{k}\t{n}"),
    "path label, spaces": lines(lambda i, k, n: f"{k} {n}"),
    "label path, tabs": lines(lambda i, k, n: f"{n}\t{k}"),
    "label path, spaces": lines(lambda i, k, n: f"{n} {k}"),
    "index label path (im2rec)": lines(lambda i, k, n: f"{i}\t{n:.6f}\t{k}"),
    "index labels path (im2rec)": lines(lambda i, k, n: f"{i}\t{n}\t0.5\t0.7\t{k}"),
    "1 path label (InsightFace)": lines(lambda i, k, n: f"1\t{k}\t{n}"),
    "0 path label box points (InsightFace)": lines(
        lambda i, k, n: f"0\t{k}\t{n}\t" + "\t".join(["30.5"] * 14)
    ),
    "csv with header": "path,label\n" + lines(lambda i, k, n: f"{k},{n}"),
    "csv without header": lines(lambda i, k, n: f"{k},{n}"),
    "csv with other columns": "Identity ID,split,File Name\n"
    + lines(lambda i, k, n: f'{n},train,"{k}"'),
    "semicolons": "image;class\n" + lines(lambda i, k, n: f"{k};{n}"),
    "tsv with header": "id\timage_path\n" + lines(lambda i, k, n: f"{n}\t{k}"),
    "JSON lines": lines(lambda i, k, n: json.dumps({"file_name": k, "label": n})),
    "./ and backslashes": lines(lambda i, k, n: ".\\" + k.replace("/", "\\") + f"\t{n}"),
    "UTF-16": "\ufeff" + lines(lambda i, k, n: f"{k}\t{n}"),
}


@pytest.fixture
def folder(tmp_path):
    for key in KEYS:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    return tmp_path


def write(folder, name):
    file = folder / "list.txt"
    file.write_bytes(DIALECTS[name].encode("utf-16-le" if name == "UTF-16" else "utf-8"))
    return file


@pytest.mark.parametrize("exist", [True, False])
@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_names_the_same_images_and_identities(name, exist, folder):
    entries = list(read_list_file(write(folder, name), folder if exist else folder / "elsewhere"))
    if exist:
        assert [(e.key, e.identity) for e in entries] == [
            (key, "1" if "Bob" in key else "0") for key in KEYS
        ]
        assert content_of(entries[4]) == KEYS[4].encode()
    else:
        assert entries == [SkippedImage(key, "the file does not exist") for key in KEYS]


def test_paths_alone_have_the_identity_of_their_folder(folder):
    file = folder / "train_list.txt"
    file.write_text("\n".join(KEYS))
    assert [entry.identity for entry in read_list_file(file)] == ["Ada"] * 3 + ["Bob"] * 3


def test_names_of_columns_overrule(folder):
    file = folder / "list.txt"
    file.write_text(lines(lambda i, k, n: f"{k},{n},x{n}"))
    assert {entry.identity for entry in read_list_file(file)} == {"0", "1"}
    chosen = read_list_file(file, columns="path,-,label")
    assert {entry.identity for entry in chosen} == {"x0", "x1"}
    with pytest.raises(ValueError, match="must hold `path` once"):
        list(read_list_file(file, columns="file,label"))


def test_lines_without_a_file_are_shown_with_the_path_that_was_looked_for(folder, capsys):
    (folder / "lists").mkdir()
    file = folder / "lists" / "list.txt"
    file.write_text(f"{KEYS[0]}\t0\n")
    source = open_source(file)
    assert [type(entry) for entry in source.images()] == [SkippedImage]
    message = capsys.readouterr().err
    assert f"line 1, {folder / 'lists' / KEYS[0]}" in message
    assert "--root" in message
    assert [type(entry) for entry in open_source(file, folder).images()] == [ImageRecord]
    with pytest.raises(ValueError, match="leave --root and --list-columns out"):
        open_source(folder / "images", root=folder)


def test_a_line_with_other_columns_is_named_with_their_number(folder):
    file = write(folder, "1 path label (InsightFace)")
    file.write_text(file.read_text() + "1\timages/Ada/Ada 1.jpg\n")
    with pytest.raises(ValueError, match=r"line 7: expected `-<TAB>path<TAB>identity`.* 2 columns"):
        list(read_list_file(file))
    file.write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match=r'expected JSON lines \{"path"'):
        list(read_list_file(file))


@pytest.mark.parametrize("columns", [["1", "FaceId-0"], ["7", "http://x/y", "FaceId-0", "box"]])
def test_images_in_base64_are_read_as_ms_celeb_has_them(tmp_path, columns):
    file = tmp_path / "faces.tsv"
    content = b"\xff\xd8\xff" + bytes(range(200))
    row = "\t".join(["m.0107_f", *columns, base64.b64encode(content).decode()])
    file.write_text(f"{row}\nm.01\t2\t\n{row[:-2]}%%\n")
    source = open_source(file)
    first, *others = source.images()
    key = f"m.0107_f/{columns[0]}-FaceId-0.jpg"
    assert (source.kind, first) == ("base64 table", ImageRecord(key, "m.0107_f", content))
    assert others[1] == SkippedImage(key, NOT_BASE64)


def test_path_and_identity_may_both_hold_spaces():
    lines = ["Ada L/1 a.jpg Ada Lovelace", "Bo/2.PNG  Bo B"]
    layout = choose_list_layout(lines, lambda path: False)
    assert list(map(layout.parse, lines)) == [
        ("Ada L/1 a.jpg", "Ada Lovelace"),
        ("Bo/2.PNG", "Bo B"),
    ]
