"""Lists of pairs as public tools write them, all of the same pairs."""

import pytest

from keras_sphereface.data.pairs import read_pair_list

PAIRS = [(f"Ada/Ada_{i:04d}.jpg", f"Ada/Ada_{i + 1:04d}.jpg", True) for i in range(1, 6)]
PAIRS += [(f"Ada/Ada_{i:04d}.jpg", f"Bob_B/Bob_B_{i:04d}.jpg", False) for i in range(1, 6)]


def lines(form) -> str:
    return "".join(form(first, second, same) + "\n" for first, second, same in PAIRS)


def words(yes, no):
    return lines(lambda a, b, same: f"{a}\t{b}\t{yes if same else no}")


def lfw_line(a, b, same):
    (name, i), (other, j) = ((key.split("/")[0], int(key[-8:-4])) for key in (a, b))
    return f"{name}\t{i}\t{j}" if same else f"{name}\t{i}\t{other}\t{j}"


LFW = lines(lfw_line)
DIALECTS = {
    "LFW, tabs": "1\t5\n" + LFW,
    "LFW, spaces": "1 5\n" + LFW.replace("\t", " "),
    "LFW, columns of spaces": "1  5\n" + LFW.replace("\t", "    "),
    "LFW, View 1": "5\n" + LFW,
    "LFW, UTF-16": "\ufeff1\t5\n" + LFW,
    "1 and 0": words(1, 0),
    "1 and -1": words(1, -1),
    "1.0 and 0.0": words("1.0", "0.0"),
    "True and False": words("True", "False"),
    "same and different": words("same", "different"),
    "genuine and impostor": words("genuine", "impostor"),
    "match and non-match": words("match", "non-match"),
    "answer first": lines(lambda a, b, same: f"{int(same)} {a} {b}"),
    "answer first, csv with fold": lines(lambda a, b, same: f"{same},{a},{b},1"),
    "csv": "image1,image2,label\n" + lines(lambda a, b, same: f"{a},{b},{int(same)}"),
    "csv from 0": "img0,img1,same\n" + lines(lambda a, b, same: f"{a},{b},{same}"),
    "csv with an index": ",label,path_a,path_b,score\n"
    + lines(lambda a, b, same: f"7,{int(same)},{a},{b},0.5"),
    "quoted": '"File 1";"File 2";"Is Same"\n' + lines(lambda a, b, same: f'"{a}";"{b}";"{same}"'),
    "splits.txt of YouTube Faces": "split number, first name, second name, similarity, is same\n"
    + lines(lambda a, b, same: f"1, {a}, {b}, 100.0, {int(same)}"),
    "two lines a pair (CALFW, CPLFW)": lines(
        lambda a, b, same: f"{a} {3 if same else 0}\n{b} {3 if same else 0}"
    ),
    "paths of Windows": words(1, 0).replace("/", "\\"),
    "UTF-16": "\ufeff" + words(1, 0),
}
ONE_FOLD = {name for name in DIALECTS if name.startswith("LFW") and "View" not in name}
ONE_FOLD |= {"answer first, csv with fold", "splits.txt of YouTube Faces"}


def write(folder, content, encoding="utf-8"):
    file = folder / "pairs.txt"
    file.write_bytes(content.encode(encoding))
    return file


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_pairs(name, tmp_path):
    encoding = "utf-16-le" if "UTF-16" in name else "utf-8"
    pairs = read_pair_list(write(tmp_path, DIALECTS[name], encoding))
    assert list(zip(pairs.first, pairs.second, pairs.is_same.tolist(), strict=True)) == PAIRS
    assert pairs.folds.tolist() == ([1] * 10 if name in ONE_FOLD else [1, 2, 3, 4, 5] * 2)


def test_what_was_recognized_is_named_once_and_overruled(tmp_path, capsys):
    file = write(tmp_path, DIALECTS["answer first"])
    read_pair_list(file)
    read_pair_list(file)
    assert capsys.readouterr().err.count("is_same first second; --pair-columns") == 1
    file = write(tmp_path, lines(lambda a, b, same: f"{a},{b},{int(not same)},{int(same)}, x"))
    with pytest.raises(ValueError, match=r"5 columns\. If all lines are so, name them: --pair-"):
        read_pair_list(file)
    pairs = read_pair_list(file, columns="first,second,-,is_same,-")
    assert pairs.is_same.tolist() == [True] * 5 + [False] * 5
    with pytest.raises(ValueError, match="must hold `first`, `second` and `is_same` once"):
        read_pair_list(file, columns="first,second,label,-,-")


def test_folds_of_one_kind_are_cut_anew_with_a_warning(tmp_path, capsys):
    file = write(tmp_path, lines(lambda a, b, same: f"{a} {b} {int(same)} {1 if same else 2}"))
    pairs = read_pair_list(file, num_folds=5)
    assert pairs.folds.tolist() == [1, 2, 3, 4, 5] * 2
    assert (
        "fold 1 has 5 matched pairs only. All pairs are cut into 5 folds" in capsys.readouterr().err
    )
