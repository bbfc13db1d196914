import pandas as pd
from matplotlib.figure import Figure

from keras_sphereface import plots


def test_each_case_is_a_line_over_classes_and_values_below_one_are_drawn_at_one():
    table = pd.DataFrame(
        {"case": ["a", "b", "a"], "num_classes": [10, 10, 100], "ms": [2.0, 0.0, 9.0]}
    )
    axes = plots.plot_scaling(Figure().subplots(), table, "ms", "milliseconds")
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"a": [[10, 2], [100, 9]], "b": [[10, 1]]}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("classes", "milliseconds")
