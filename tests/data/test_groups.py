"""Groups of identities or images, from csv files of several forms."""

import pytest

from keras_sphereface.data.groups import check_groups, read_groups

KEYS = ["Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg", "Cid/Cid_0001.jpg"]


def written(folder, text, encoding="utf-8"):
    path = folder / "groups.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("identity,gender,region\nAnn,female,\nBob,male,north\n", "utf-8"),
        ("\ufeffName;gender;region\r\n\r\nAnn; female;\r\nBob;male;north\r\n", "utf-8"),
        ('person\tgender\tregion\n"Ann"\tfemale\t\nBob\tmale\tnorth', "utf-16"),
    ],
    ids=["commas", "semicolons", "tabs"],
)
def test_groups_of_identities(tmp_path, text, encoding):
    table = read_groups(written(tmp_path, text, encoding))
    assert table.names_identities
    assert table.groups_of(KEYS, "gender") == ["female", "male", ""]
    assert table.groups_of(KEYS, "region") == ["", "north", ""]
    check_groups(table, KEYS)


def test_groups_of_images_whatever_their_suffix(tmp_path):
    table = read_groups(written(tmp_path, "path,age\nAnn/Ann_0001.png,young\n"))
    assert not table.names_identities
    assert table.groups_of(KEYS, "age") == ["young", "", ""]
    check_groups(table, KEYS, has_identities=False)


def test_many_numbers_are_cut_into_quarters(tmp_path):
    ages = [20, 70, 31, 44, 52, 23, 24, 65, 38, 80, 47, 29, 30, 58, 61, 33]
    rows = "\n".join(f"p{i},{age}" for i, age in enumerate(ages))
    groups = read_groups(written(tmp_path, f"identity,age\n{rows}\n")).columns["age"]
    names = sorted(set(groups.values()))
    assert names == ["20 to 29", "30 to 38", "44 to 58", "61 to 80"]
    assert [list(groups.values()).count(name) for name in names] == [4, 4, 4, 4]
    for name, age in zip(groups.values(), ages, strict=True):
        low, high = map(int, name.split(" to "))
        assert low <= age <= high


def test_few_numbers_stay_as_they_are(tmp_path):
    table = read_groups(written(tmp_path, "identity,camera\nAnn,1\nBob,2\n"))
    assert table.columns["camera"] == {"Ann": "1", "Bob": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("identity,gender\n", "must have rows"),
        ("gender,identity\nfemale,Ann\n", "line 1: the header must be `identity` or `image`"),
        ("identity\nAnn\n", "line 1: the header"),
        ("identity,a,a\nAnn,1,2\n", "line 1: columns must differ"),
        ("identity,gender\nAnn,female\nBob\n", "line 3: a row must have 2 columns"),
        ("identity,gender\nAnn,female\nAnn,male\n", "line 3: each identity .* as in line 2"),
    ],
)
def test_other_forms_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_groups(written(tmp_path, text))


def test_groups_of_nobody_are_refused(tmp_path):
    table = read_groups(written(tmp_path, "identity,gender\nDora,female\n"))
    with pytest.raises(ValueError, match=r"must name identities of the pairs.*Dora.*Ann"):
        check_groups(table, KEYS)
    with pytest.raises(ValueError, match="Give groups of images"):
        check_groups(table, ["000001"], has_identities=False)
