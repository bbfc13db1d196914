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


def test_parts_of_steps_are_stacked_to_a_hundred():
    parts = {"network": [3.0, 1.0], "head": [1.0, 1.0]}
    axes = plots.plot_step_parts(Figure().subplots(), ["one", "eight"], parts)
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[75, 50], [25, 50]]
    assert [bar.get_y() for bar in axes.containers[1]] == [75, 50]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "eight"]


def test_the_memory_of_heads_is_drawn_in_gigabytes_below_the_limit():
    memory = {"one block": [2e9, 2e10], "sharded": [1e9, 1e10]}
    axes = plots.plot_head_memory(Figure().subplots(), [10, 100], memory, limit=8e10)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn["one block"] == [2, 20]
    assert drawn["sharded"] == [1, 10]
    assert list(axes.lines[-1].get_ydata()) == [80, 80]
    assert axes.texts[0].get_text() == "a device of 80 GB"
