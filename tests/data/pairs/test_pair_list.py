import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs import lfw, pair_list

LFW_TEXT = "2\t1\nAnn\t1\t3\nAnn\t2\tBob B\t11\nCy\t1\t2\nCy\t1\tDee\t4\n"


def write(folder, text):
    file = folder / "pairs.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def listed(rows, separator="\t"):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def ten_of_each():
    return [(f"a{i}", f"b{i}", i % 2) for i in range(20)]


@pytest.mark.parametrize("separator", ["\t", ",", " ", " \t ", ", ", "   "])
@pytest.mark.parametrize("header", [True, False])
def test_a_line_for_each_pair_is_read(tmp_path, separator, header):
    rows = [("x/1.jpg", "y/2.jpg", 0, 1), ("x/1.jpg", "x/3.jpg", 1, 1)]
    rows += [("z\\1.jpg", "z\\2.jpg", 1, 2), ("z/1.jpg", "x/2.jpg", 0, 2)]
    names = [("first", "second", "is_same", "fold")] if header else []
    pairs = pair_list.read_pair_list(write(tmp_path, listed(names + rows, separator)))
    assert pairs.first == ["x/1.jpg", "x/1.jpg", "z/1.jpg", "z/1.jpg"]
    assert pairs.second == ["y/2.jpg", "x/3.jpg", "z/2.jpg", "x/2.jpg"]
    assert pairs.is_same.tolist() == [False, True, True, False]
    assert pairs.is_same.dtype == bool
    assert pairs.folds.tolist() == [1, 1, 2, 2]
    assert pairs.lines.tolist() == [2, 3, 4, 5] if header else [1, 2, 3, 4]


@pytest.mark.parametrize("separator", ["\t", ","])
def test_names_may_hold_spaces_and_any_letters(tmp_path, separator):
    rows = [("Ann Lee/1 b.jpg", "Zoë/ü 2.jpg", 1, 1), ("王/1.jpg", "Ann Lee/1 b.jpg", 0, 1)]
    pairs = pair_list.read_pair_list(write(tmp_path, listed(rows, separator)))
    assert pairs.first == ["Ann Lee/1 b.jpg", "王/1.jpg"]
    assert pairs.second == ["Zoë/ü 2.jpg", "Ann Lee/1 b.jpg"]


def test_names_may_hold_commas_between_tabs(tmp_path):
    pairs = pair_list.read_pair_list(write(tmp_path, "Lee, Ann\tB\t1\t1\nLee, Ann\tC\t0\t1\n"))
    assert pairs.first == ["Lee, Ann"] * 2


def test_numbers_of_templates_are_read_as_names(tmp_path):
    rows = [(i, 11065 + i, (i + 1) % 2) for i in range(20)]
    rows[0] = (1, 11065, 1)
    pairs = pair_list.read_pair_list(write(tmp_path, listed(rows, " ")))
    assert (pairs.first[0], pairs.second[0], pairs.is_same[0]) == ("1", "11065", True)
    assert len(pairs.first) == 20


def test_blank_lines_a_mark_and_windows_line_ends_are_ignored(tmp_path):
    text = "\ufefffirst,second,is_same,fold\r\n\r\na,b,1,1\r\n  \r\na,c,0,1\r\n\r\n"
    pairs = pair_list.read_pair_list(write(tmp_path, text))
    assert (pairs.first, pairs.second) == (["a", "a"], ["b", "c"])
    assert pairs.lines.tolist() == [3, 5]


def test_a_header_of_three_columns_has_no_folds(tmp_path):
    text = "first second is_same\n" + listed(ten_of_each(), " ")
    pairs = pair_list.read_pair_list(write(tmp_path, text))
    assert len(pairs.first) == 20
    assert pairs.lines.tolist() == list(range(2, 22))


def test_few_pairs_without_folds_are_cut_into_as_many_folds_as_each_kind_fills(tmp_path):
    lines = [f"a b{i} 1" for i in range(5)] + [f"a c{i} 0" for i in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    pairs = pair_list.read_pair_list(tmp_path / "list.txt")
    np.testing.assert_array_equal(pairs.folds, [1, 1, 2, 2, 3, 1, 2, 3])


@pytest.mark.parametrize(("num_same", "num_different"), [(10, 10), (37, 12), (100, 1003)])
def test_without_folds_either_kind_is_cut_into_ten_folds_in_its_order(
    tmp_path, num_same, num_different
):
    is_same = np.random.default_rng(0).permutation(num_same + num_different) < num_same
    rows = [(f"a{i}", f"b{i}", int(same)) for i, same in enumerate(is_same)]
    pairs = pair_list.read_pair_list(write(tmp_path, listed(rows)))
    np.testing.assert_array_equal(pairs.is_same, is_same)
    for side, count in ((is_same, num_same), (~is_same, num_different)):
        folds = pairs.folds[side]
        assert (np.diff(folds) >= 0).all()
        sizes = np.bincount(folds)[1:]
        assert len(sizes) == 10
        assert sizes.sum() == count
        assert sizes.max() - sizes.min() <= 1


def test_folds_may_stand_in_any_order(tmp_path):
    rows = [("a", "b", 1, 3), ("a", "c", 0, 1), ("a", "d", 0, 3), ("a", "e", 0, 2)]
    rows += [("a", "f", 1, 2), ("a", "g", 1, 1)]
    assert pair_list.read_pair_list(write(tmp_path, listed(rows))).folds.tolist() == [
        3,
        1,
        3,
        2,
        2,
        1,
    ]


@pytest.mark.parametrize("text", [LFW_TEXT, "\ufeff" + LFW_TEXT, LFW_TEXT.replace("\n", "\r\n")])
def test_the_form_of_lfw_is_recognized(tmp_path, text):
    file = write(tmp_path, text)
    pairs = pair_list.read_pair_list(file)
    assert pairs.first == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", *["Cy/Cy_0001.jpg"] * 2]
    assert pairs.folds.tolist() == [1, 1, 2, 2]
    assert pairs.lines.tolist() == [2, 3, 4, 5]
    for one, other in zip(pairs, lfw.read_pairs(file), strict=True):
        np.testing.assert_array_equal(one, other)


FORM = "expected `first second 0` or `first second 1`"
HEADER = "expected a header `folds<TAB>pairs per class and fold`"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "Received: an empty file"),
        ("\n\n", 1, "Received: an empty file"),
        ("a\n", 1, HEADER),
        ("10 x\n", 1, HEADER),
        ("0\t300\n", 1, HEADER),
        ("²\t3\n", 1, HEADER),
        ("9" * 5000 + "\t3\n", 1, HEADER),
        # LFW without its header.
        (LFW_TEXT[4:], 1, HEADER),
        (LFW_TEXT[4:].replace("\t", " ").replace("Bob B", "Bob"), 1, HEADER),
        ("\n" + LFW_TEXT, 1, HEADER),
        (
            LFW_TEXT[: LFW_TEXT.rindex("Cy")],
            5,
            "expected 4 lines of pairs. Received: the end of the file",
        ),
        (LFW_TEXT.replace("2\t1", "1\t1"), 4, "expected the end of the file after 2 pairs"),
        (LFW_TEXT.replace("Ann\t1\t3", "Ann\t0\t3"), 2, "expected names and image numbers"),
        (LFW_TEXT.replace("Ann\t1\t3", "Ann\t1\t²"), 2, "expected names and image numbers"),
        (LFW_TEXT.replace("Ann\t1\t3", f"Ann\t1\t{'1' * 5000}"), 2, "expected names and image"),
        (LFW_TEXT.replace("Dee\t4", "\t4"), 5, "expected names and image numbers"),
        (LFW_TEXT.replace("Ann\t1\t3", "Ann 1 3 4"), 2, "expected `name i j`"),
        ("a b 2\n", 1, FORM),
        ("a b 1\nc d x\n", 2, FORM),
        ("a b 1\n\nc  1\n", 3, FORM),
        ("a,b,1\n,b,1\n", 2, FORM),
        ("a,b,1\nb,,0\n", 2, FORM),
        ("a b 1 1 1\n", 1, FORM),
        ("a b c d e\n", 1, FORM),
        ("a b 1 0\n", 1, FORM),
        ("a b 1 01\n", 1, FORM),
        ("a b 1 1.0\n", 1, FORM),
        ("a b 1 -1\n", 1, FORM),
        ("a b 1 ²\n", 1, FORM),
        ("a b 1 9999999999\n", 1, FORM),
        ("a b perhaps\n", 1, FORM),
        ("a b same same\n", 1, FORM),
        ("second first is_same\n", 1, "expected pairs. Received: none"),
        ("a b 1\nfirst second is_same\n", 2, FORM),
        ("a b 1 1\nc d 0\n", 2, "expected 4 fields, as in the first line"),
        ("a b 1\nc d 0 1\n", 2, "expected 3 fields, as in the first line"),
        ("first second is_same fold\na b 1\n", 2, "expected 4 fields, as in the first line"),
        ("first second is_same\n", 1, "expected pairs. Received: none"),
        ("a b 1 1\na c 1 1\na d 1 2\n", 1, r"in fold 1. Received: 2 matched pairs only"),
        ("a.jpg 1\nb.jpg 0\n", 2, "of the same pair. Received: another number for b.jpg"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 0\n", 3, "expected two lines for each pair. Received: one"),
        ("a b 1 1\na c 0 1\n\na d 1 3\na e 0 3\n", 4, r"in fold 2. Received: none"),
        ("a b 1 2\na e 0 2\n", 1, r"in fold 1. Received: none"),
        ("".join(f"a b{i} 1\n" for i in range(30)), 1, "fold 1. Received: 30 matched pairs only"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, line, expected):
    file = write(tmp_path, text)
    start = re.escape(f"{file}, line {line}: expected ")
    with pytest.raises(ValueError, match=f"^{start}.* Received: ") as caught:
        pair_list.read_pair_list(file)
    assert expected in str(caught.value)


def test_a_binary_file_is_refused_by_name(tmp_path):
    file = write(tmp_path, b"a b 1\n\xff\xfe 0\n")
    with pytest.raises(ValueError, match=r"pairs.txt is not UTF-8 text. Received: "):
        pair_list.read_pair_list(file)


WORDS = st.sampled_from(["a", "b c", "1", "2", "0", "²", "\t", ",", " ", "\n", "\r\n", "\ufeff"])
ROWS = st.tuples(
    st.sampled_from(["a", "Ann", "7"]),
    st.sampled_from(["b", "3"]),
    st.sampled_from("0012"),
    st.sampled_from("1123"),
)


@given(
    st.lists(WORDS, max_size=40).map("".join).map(str.encode)
    | st.lists(ROWS, max_size=8).map(lambda rows: listed(rows).encode())
    | st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace"))
    | st.binary()
)
def test_any_bytes_give_pairs_or_a_value_error_with_file_and_line(tmp_path_factory, content):
    file = write(tmp_path_factory.mktemp("fuzz"), content)
    try:
        pairs, message = pair_list.read_pair_list(file), None
    except ValueError as error:
        pairs, message = None, str(error)
    if message is not None:
        place = r"(, line [1-9][0-9]*: expected .*| is not UTF-8 text\. )Received: "
        assert re.match(re.escape(str(file)) + place, message), message
        return
    assert len({len(side) for side in pairs}) == 1
    for fold in range(1, pairs.folds.max() + 1):
        assert set(pairs.is_same[pairs.folds == fold]) == {False, True}


def test_the_real_file_is_read_in_the_form_of_lfw(real_faces):
    file = real_faces / "lfw_dev" / "pairs.txt"
    assert pair_list.read_pair_list(file).first == lfw.read_pairs(file).first
