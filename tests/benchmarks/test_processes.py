"""Cases that are processes: rounds, failures and what is printed."""

import os

import pytest

from keras_sphereface.benchmarks.processes import ProcessCase, Program, in_new_process

AT_IMPORT = dict(os.environ)


def answer(connection, first):
    """Send `first`, then one more each round, until there are no more rounds."""
    print(f"starting at {first}")
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(first)
        first += 1


@pytest.mark.slow
def test_a_round_ends_with_its_slowest_process(tmp_path):
    programs = [Program(answer, (first,)) for first in (1.0, 5.0)]
    with ProcessCase("Two of them", tmp_path, programs) as case:
        assert [case.run_round(), case.run_round()] == [5.0, 6.0]
    assert (tmp_path / "two-of-them-1.txt").read_text().strip() == "starting at 5.0"


def answer_variable(connection, name):
    """Send the variable as it was when the process began."""
    connection.recv()
    connection.send(float(AT_IMPORT.get(name, "nan")))


@pytest.mark.slow
def test_the_environment_of_a_program_is_there_when_its_process_begins(tmp_path):
    program = Program(answer_variable, ("SEEN_AT_IMPORT",), {"SEEN_AT_IMPORT": "7"})
    with ProcessCase("variable", tmp_path, [program]) as case:
        assert case.run_round() == 7.0
    assert "SEEN_AT_IMPORT" not in os.environ


@pytest.mark.slow
def test_a_process_that_ends_is_reported_with_its_output(tmp_path):
    with ProcessCase("short", tmp_path, [Program(print)]) as case:
        case.processes[0].join()
        with pytest.raises(RuntimeError, match=r"'short' ended .* output is in .*short-0.txt"):
            case.run_round()


@pytest.mark.slow
def test_a_new_process_returns_the_result():
    assert in_new_process(max, 1, 2) == 2
