"""Work spread over processes: in order, lean, and without endless items in memory."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from keras_sphereface.utils.parallel import DATA_ONLY, ordered_map

SEVERAL = pytest.mark.slow


def square_slowly(number):
    time.sleep(0.005 * (number % 3))
    return number**2


def fail_at_seven(number):
    if number == 7:
        raise ValueError("seven")
    return number


def end_at_seven(number):
    if number == 7:
        os._exit(1)
    return number


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=SEVERAL)])
def test_results_come_in_order_and_few_items_are_taken_ahead(workers, monkeypatch):
    monkeypatch.delenv(DATA_ONLY, raising=False)
    taken = []
    items = (taken.append(i) or i for i in itertools.count())
    results = ordered_map(square_slowly, items, workers)
    assert list(itertools.islice(results, 20)) == [i**2 for i in range(20)]
    assert len(taken) <= 20 + 2 * workers
    results.close()
    assert DATA_ONLY not in os.environ


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=SEVERAL)])
def test_an_error_in_a_process_is_raised_in_the_caller(workers):
    with pytest.raises(ValueError, match="seven"):
        list(ordered_map(fail_at_seven, range(20), workers))


@pytest.mark.slow
def test_a_process_that_ends_early_is_reported():
    with pytest.raises(ChildProcessError, match=r"--workers. Received: workers=2"):
        list(ordered_map(end_at_seven, range(20), 2))


@pytest.mark.slow
def test_processes_run_neither_the_main_script_nor_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    # Without a guard: run again in each process, it would start processes without end.
    script.write_text(
        "import os\n"
        f"os.environ['{DATA_ONLY}'] = '1'\n"
        "from keras_sphereface.utils.parallel import ordered_map\n"
        f"del os.environ['{DATA_ONLY}']\n"
        "print('started')\n"
        "imported = \"[name in __import__('sys').modules for name in ('cv2', 'tensorflow')]\"\n"
        "print(list(ordered_map(eval, [imported] * 3, 2)))\n"
        "import __main__; print(__main__.__file__)\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout == f"started\n{[[True, False]] * 3}\n{script}\n", result.stderr
