import itertools
import os
import subprocess
import sys
import time

import pytest

from keras_sphereface.utils.parallel import DATA_ONLY, ordered_map


def square_slowly(number):
    time.sleep(0.02 * (number % 3))
    return number**2


def fail_at_seven(number):
    if number == 7:
        raise ValueError("seven")
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_few_items_are_taken_ahead(workers):
    taken = []
    items = (taken.append(i) or i for i in itertools.count())
    results = ordered_map(square_slowly, items, workers)
    assert list(itertools.islice(results, 20)) == [i**2 for i in range(20)]
    assert len(taken) <= 20 + 2 * workers
    results.close()
    assert DATA_ONLY not in os.environ


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_process_is_raised_here(workers):
    with pytest.raises(ValueError, match="seven"):
        list(ordered_map(fail_at_seven, range(20), workers))


@pytest.mark.slow
def test_processes_run_neither_the_main_script_nor_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    # Without a guard: run again in each process, it would start processes without end.
    script.write_text(
        "import tensorflow\n"
        "from keras_sphereface.data.images import looks_like_image\n"
        "from keras_sphereface.utils.parallel import ordered_map\n"
        "print('started')\n"
        "print(list(ordered_map(looks_like_image, [b'BM', b'no'] * 3, 2)))\n"
        "import __main__; print(__main__.__file__)\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout == f"started\n{[True, False] * 3}\n{script}\n", result.stderr
