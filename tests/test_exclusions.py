from keras_sphereface import exclusions
from keras_sphereface.pictures import Picture


def test_names_and_patterns_leave_out_people_and_pictures(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("# in LFW\n0166921\n\n 1056413 \nA*\nBob/1.jpg\n[x]?\n")
    found = exclusions.read_exclusions(file)
    assert found.identities == {"0166921", "1056413"}
    names = ("0166921", "166921", "Ada", "ada", "Bob", "xy", "xyz")
    assert [name for name in names if found.excludes_person(name)] == ["0166921", "Ada", "xy"]
    assert found.excludes(Picture("Bob/1.jpg", "Bob", b""))
    assert not found.excludes(Picture("Bob/2.jpg", "Bob", b""))
    assert not exclusions.Exclusions().excludes(Picture("", "", b""))


def test_people_who_need_not_be_there_are_not_missed():
    asked = exclusions.Exclusions(["Ada", "Bob"], if_there=["Cem"])
    assert asked.excludes_person("Cem")
    assert asked.facts({"Ada", "Cem"}, 7) == {
        "excluded_identities": ["Ada", "Cem"],
        "excluded_images": 7,
        "unknown_exclusions": ["Bob"],
    }
