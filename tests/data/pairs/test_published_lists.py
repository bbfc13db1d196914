"""The lists of pairs of public test sets in the form in which they are published."""

import re
import shutil

import pytest

from keras_sphereface.data.pairs import read_pair_list, read_templates
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.data.pairs.templates import read_template_identities
from keras_sphereface.evaluation.face_pairs import PairSources, read_pair_dataset

A = [f"Ada/Ada_{i:04d}.jpg" for i in range(1, 5)]
B = [f"Bo_B/Bo_B_{i:04d}.jpg" for i in range(1, 5)]


def write(folder, **files):
    """Write files, whose names have __ for a slash and _DOT_ for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def lfw(folder):
    lines = "Ada\t1\t2\nAda\t1\tBo_B\t1\n", "Ada\t3\t4\nAda\t2\tBo_B\t2\n"
    return write(folder, pairs_DOT_txt="2\t1\n" + "".join(lines)) / "pairs.txt"


def lfw_view_1(folder):
    text = "2\nAda\t1\t2\nAda\t3\t4\nAda\t1\tBo_B\t1\nAda\t2\tBo_B\t2\n"
    return write(folder, pairsDevTest_DOT_txt=text) / "pairsDevTest.txt"


def kaggle(folder):
    text = "name,imagenum1,imagenum2,\nAda,1,2,\nAda,1,Bo_B,1\nAda,3,4,\nAda,2,Bo_B,2\n"
    return write(folder, pairs_DOT_csv=text) / "pairs.csv"


def kaggle_view_1(folder):
    write(
        folder,
        matchpairsDevTest_DOT_csv="name,imagenum1,imagenum2\nAda,1,2\nAda,3,4\n",
        mismatchpairsDevTest_DOT_csv="name,imagenum1,name,imagenum2\nAda,1,Bo_B,1\nAda,2,Bo_B,2\n",
    )
    return folder / "matchpairsDevTest.csv"


def kaggle_view_1_from_the_mismatched(folder):
    return kaggle_view_1(folder).with_name("mismatchpairsDevTest.csv")


def xqlfw(folder):
    return shutil.copy(lfw(folder), folder / "xqlfw_pairs.txt")


def insightface_annotations(folder):
    """As lfw_ann.txt and agedb_30_ann.txt: the answer first."""
    text = f"1 {A[0]} {A[1]}\n0 {A[0]} {B[0]}\n1 {A[2]} {A[3]}\n0 {A[1]} {B[1]}\n"
    return write(folder, agedb_30_ann_DOT_txt=text) / "agedb_30_ann.txt"


def youtube_faces(folder):
    text = "split number, first name, second name, similarity, is same\n"
    text += f"1, {A[0]}, {A[1]}, 90, 1\n1, {A[0]}, {B[0]}, 9, 0\n2, {A[2]}, {A[3]}, 95, 1\n"
    return write(folder, splits_DOT_txt=text + f"2, {A[1]}, {B[1]}, 8, 0\n") / "splits.txt"


FORMS = [lfw, lfw_view_1, kaggle, kaggle_view_1, kaggle_view_1_from_the_mismatched, xqlfw]
FORMS += [insightface_annotations, youtube_faces]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_pairs_and_folds_in_every_form(form, tmp_path):
    pairs = read_pair_list(form(tmp_path))
    rows = zip(pairs.first, pairs.second, pairs.is_same.tolist(), pairs.folds.tolist(), strict=True)
    assert sorted(rows) == [
        (A[0], A[1], True, 1),
        (A[0], B[0], False, 1),
        (A[1], B[1], False, 2),
        (A[2], A[3], True, 2),
    ]


@pytest.mark.parametrize("name", ["pairs_CALFW.txt", "pairs_CPLFW.txt"])
def test_matched_pairs_of_calfw_and_cplfw_have_the_folds_of_their_numbers(tmp_path, name):
    # Matched pairs first, with unequal folds; mismatched ones all have 0.
    folds = [1, 1, 1, 2, 3, 3]
    matched = [
        f"Ada_{i:04d}.jpg {fold}\nAda_{i + 1:04d}.jpg {fold}\n" for i, fold in enumerate(folds)
    ]
    mismatched = [f"Ada_{i:04d}.jpg 0\nBo_B_{i:04d}.jpg 0\n" for i in range(6)]
    (tmp_path / name).write_text("".join(matched + mismatched))
    pairs = read_pair_list(tmp_path / name)
    assert pairs.is_same.tolist() == [True] * 6 + [False] * 6
    assert pairs.folds.tolist() == folds + [1, 1, 2, 2, 3, 3]
    assert identities_of_pairs(tmp_path / name) == {"Ada", "Bo_B"}


def cfp(folder, name):
    lists = {
        f"Protocol__Pair_list_{kind}_DOT_txt": "".join(
            f"{i} ../Data/Images/{(i + 1) // 2:03d}/{view}/{2 - i % 2:02d}.jpg\n"
            for i in range(1, 5)
        )
        for kind, view in (("F", "frontal"), ("P", "profile"))
    }
    splits = {
        f"Protocol__Split__{name}__01__same_DOT_txt": "1,2\n",
        f"Protocol__Split__{name}__01__diff_DOT_txt": "1,3\n",
        f"Protocol__Split__{name}__02__same_DOT_txt": "3,4\r\n",
        f"Protocol__Split__{name}__02__diff_DOT_txt": "4, 2\n",
    }
    return write(folder, **lists, **splits) / f"Protocol/Split/{name}"


@pytest.mark.parametrize(("name", "view"), [("FF", "frontal"), ("FP", "profile")])
def test_the_index_lists_of_cfp_are_read(tmp_path, name, view):
    pairs = read_pair_list(cfp(tmp_path, name))
    assert pairs.first == [
        f"{n}.jpg" for n in (*["001/frontal/01"] * 2, "002/frontal/01", "002/frontal/02")
    ]
    assert pairs.second == [
        f"{n[:3]}/{view}/{n[3:]}.jpg" for n in ("00102", "00201", "00202", "00102")
    ]
    assert pairs.is_same.tolist() == [True, False] * 2
    assert pairs.folds.tolist() == [1, 1, 2, 2]


def test_a_folder_that_is_no_split_of_cfp_and_a_missing_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be Protocol/Split/FF or .* Received: .*Protocol$"):
        read_pair_list(cfp(tmp_path, "FP").parent.parent)
    (tmp_path / "Protocol/Split/FP/02/diff.txt").write_text("4,5\n")
    with pytest.raises(ValueError, match=r"02/diff.txt, line 1: expected two numbers .* '4,5'"):
        read_pair_list(tmp_path / "Protocol/Split/FP")
    (tmp_path / "Protocol/Pair_list_P.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs Pair_list_P.txt"):
        read_pair_list(tmp_path / "Protocol/Split/FP")


IJB_HEADER = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X\n"


def test_matches_of_ijb_get_their_answer_from_the_identities_of_the_templates(tmp_path):
    write(
        tmp_path,
        protocol__ijbb_1N_gallery_S1_DOT_csv=IJB_HEADER + "1,7,img/1.jpg,3,0\n2,8,img/2.jpg,4,0\n",
        protocol__ijbb_1N_probe_mixed_DOT_csv=IJB_HEADER
        + "3,7,frames/3.png,5,0\n3,7,frames/4.png,5,0\n2,8,img/2.jpg,4,0\n",
        protocol__ijbb_11_S1_S2_matches_DOT_csv="1,3\n2,3\n",
    )
    sources = PairSources(
        pairs=str(tmp_path / "protocol/ijbb_11_S1_S2_matches.csv"),
        templates=str(tmp_path / "protocol"),
    )
    dataset = read_pair_dataset(sources)
    assert dataset.pairs.is_same.tolist() == [True, False]
    assert dataset.templates == {
        "1": [("img/1.jpg", "img/1.jpg")],
        "2": [("img/2.jpg", "img/2.jpg")],
        "3": [("frames/3.png", "frames/3.png"), ("frames/4.png", "frames/4.png")],
    }
    with pytest.raises(ValueError, match=r"line 1: expected .* --templates that names the ident"):
        read_pair_list(sources.pairs)
    (tmp_path / "protocol/ijbb_11_S1_S2_matches.csv").write_text("TID_1,TID_2\n1,3\n2,9\n")
    with pytest.raises(ValueError, match=r"line 3: expected .* Received: '2,9'"):
        read_pair_dataset(sources)


def test_labels_and_media_of_ijbc_as_insightface_writes_them(tmp_path):
    write(
        tmp_path,
        ijbc_face_tid_mid_DOT_txt="1.jpg 1 69544\n2.jpg 1 69544\n3.jpg 2 7\n4.jpg 3 8\n",
        ijbc_template_pair_label_DOT_txt="1 2 1\n1 3 0\n",
    )
    sources = PairSources(
        pairs=str(tmp_path / "ijbc_template_pair_label.txt"),
        templates=str(tmp_path / "ijbc_face_tid_mid.txt"),
    )
    dataset = read_pair_dataset(sources)
    assert (dataset.pairs.first, dataset.pairs.second) == (["1", "1"], ["2", "3"])
    assert dataset.templates["1"] == [("1.jpg", "69544"), ("2.jpg", "69544")]
    # Else the numbers of templates would be taken for identities to exclude.
    (tmp_path / "many.txt").write_text("1 2 1\n" + "".join(f"1 {i} 0\n" for i in range(3, 99)))
    for name in ("ijbc_template_pair_label.txt", "many.txt"):
        with pytest.raises(ValueError, match=r"Received: keys that name none, as 1 and 2"):
            identities_of_pairs(tmp_path / name)


def test_media_of_named_columns_are_taken_and_a_template_of_two_identities_is_refused(tmp_path):
    file = tmp_path / "verify_metadata_1.csv"
    file.write_text("TEMPLATE_ID,SUBJECT_ID,FILE,MEDIA_ID\n1,7,frame/1.png,5\n1,7,frame/2.png,5\n")
    assert read_templates(file) == {"1": [("frame/1.png", "5"), ("frame/2.png", "5")]}
    assert read_template_identities(file) == {"1": "7"}
    file.write_text(file.read_text() + "1,8,frame/3.png,6\n")
    with pytest.raises(ValueError, match=r"of one identity. Received: template 1 of 7 and 8"):
        read_template_identities(file)
    with pytest.raises(ValueError, match=r"must hold .csv files with the columns TEMPLATE_ID"):
        read_templates(tmp_path / "..")


def test_people_lists_of_the_unrestricted_setting_are_refused_by_name(tmp_path):
    for text in ("2\n1\nAda\t4\n1\nBo_B\t4\n", "2\nAda\t4\nBo_B\t4\n"):
        (tmp_path / "people.txt").write_text(text)
        with pytest.raises(ValueError, match=r"line [23]: expected") as caught:
            read_pair_list(tmp_path / "people.txt")
    assert "not the identities of people.txt" in str(caught.value)


SPACED = [
    ("Ada L/1 a.jpg Ada L/2.jpg 1", "Ada L/1 a.jpg Bo/3 b.PNG 0"),
    ("1 Ada L/1 a.jpg Ada L/2.jpg", "0 Ada L/1 a.jpg Bo/3 b.PNG"),
    ("Ada L/1 a.jpg Ada L/2.jpg same 1", "Ada L/1 a.jpg  Bo/3 b.PNG different 1"),
]


@pytest.mark.parametrize("lines", SPACED)
def test_paths_may_hold_spaces_between_spaces(tmp_path, lines):
    (tmp_path / "list.txt").write_text("\n".join(lines))
    pairs = read_pair_list(tmp_path / "list.txt")
    assert pairs.first == ["Ada L/1 a.jpg"] * 2
    assert pairs.second == ["Ada L/2.jpg", "Bo/3 b.PNG"]
    assert pairs.is_same.tolist() == [True, False]


def test_names_without_suffix_that_hold_spaces_are_those_that_exist(tmp_path):
    for name in ("Ada L/1 a.jpg", "Ada L/2.png", "Bo/3 b.jpg"):
        write(tmp_path, **{f"images/{name}": ""})
    (tmp_path / "list.txt").write_text("Ada L/1 a Ada L/2 1\nAda L/1 a Bo/3 b 0\n")
    pairs = read_pair_list(tmp_path / "list.txt", images=tmp_path / "images")
    assert pairs.first == ["Ada L/1 a"] * 2
    assert pairs.second == ["Ada L/2", "Bo/3 b"]
    with pytest.raises(ValueError, match=re.escape("line 1: expected")):
        read_pair_list(tmp_path / "list.txt")
