"""What `make test-addons` leaves out: slow tests that say nothing new on the other stack.

Their modules run neither TensorFlow nor Keras, or only run once more what other tests run on both
stacks. The quick tests of these modules are not left out: they meet NumPy 1.26 and OpenCV 4.11
there. A module that is not named here runs as a whole on both stacks.
"""

STACK_FREE = {
    # Files and pictures in, records out, often in many processes.
    **dict.fromkeys(
        ("beam", "datasets", "parallel", "resume", "sources"), "conversion has no TensorFlow"
    ),
    # Arrays in; numbers, figures and pages out, the latter in a browser.
    **dict.fromkeys(
        (
            "bootstrap",
            "gallery_evaluation",
            "html_page",
            "plots_scores",
            "protocols",
            "sphere_page",
        ),
        "evaluation and its pages take arrays",
    ),
    # Processes that are started, heard and ended; a package of the same files.
    **dict.fromkeys(("launch", "packaging"), "it is the same on both stacks"),
    # The README's commands, the notebook, the benchmarks: their parts are tested one by one.
    **dict.fromkeys(("benchmark", "notebook", "readme"), "it repeats what other tests run"),
}


def is_stack_free(module: str, is_slow: bool) -> bool:
    """Whether a test of `tests.test_<name>` is left out on the stack of TensorFlow Addons."""
    return is_slow and module.rpartition("test_")[2] in STACK_FREE
