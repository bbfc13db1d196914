from keras_sphereface.utils.names import distinct


def test_repeated_names_get_numbers_that_no_other_name_has():
    assert distinct(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]
    assert distinct(["a", "a"], "{}-{}") == ["a", "a-2"]
