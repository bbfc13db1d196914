import contextlib
import logging
import os
import time
import types
import warnings

import pytest

from keras_sphereface.utils import progress
from tests.helpers.terminal import pipe, screen, terminal

NOTES = ("loss 7.123", "accuracy 0.123", "lambda 1000.0", "angle 87.1", "|x| 12.3")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets it."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_message_is_a_line_on_standard_error(capsys):
    progress.log("first")
    progress.warn("second")
    assert capsys.readouterr() == ("", "first\nWARNING: second\n")


def test_a_program_sets_the_level_of_the_logger(capsys):
    progress.log("makes the logger")
    capsys.readouterr()
    logger = logging.getLogger("keras_sphereface")
    logger.setLevel(logging.WARNING)
    try:
        progress.log("quiet")
        progress.warn("loud")
    finally:
        logger.setLevel(logging.INFO)
    assert capsys.readouterr().err == "WARNING: loud\n"


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_a_bar_never_wraps_and_leaves_one_line(columns, monkeypatch):
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.01)
    monkeypatch.setattr(progress._Bar, "interval", 0.01)
    with terminal(columns) as output:
        with progress.progress_bar(total=28_000, desc="compiling", unit="step") as bar:
            for _ in range(20):
                bar.update(1_400)
                bar.describe("training", NOTES)
                time.sleep(0.005)
        progress.log("done")
    (line, done, rest) = screen(output.text, columns)
    assert line.startswith("training: 100%|")
    assert len(line) < columns
    assert (done, rest) == ("done", "")


def test_a_bar_shows_count_rate_and_time_left():
    with (
        terminal(80) as output,
        progress.progress_bar(total=4, desc="reading", unit="image") as bar,
    ):
        bar.update(2)
        time.sleep(0.01)
        bar._display.show()
        drawn = "| 2/4 [00:00<00:00, "
    assert drawn in output.text
    assert "image/s]" in output.text.split(drawn)[1].split("\r")[0]


@pytest.mark.parametrize(("columns", "shown"), [(60, 0), (80, 1), (200, 5)])
def test_a_bar_has_the_notes_that_fit(columns, shown):
    bar = progress.progress_bar(total=4, desc="training", unit="step", disable=True)
    bar.describe(notes=NOTES)
    with terminal(columns) as output:
        progress._Bar(bar).close(finished=True)
    line = screen(output.text, columns)[0]
    assert [note in line for note in NOTES] == [True] * shown + [False] * (5 - shown)


def test_messages_leave_a_bar_whole():
    with terminal(80) as output:
        for index in progress.progress_bar(range(2), desc="reading", unit="image"):
            progress.log(f"message {index}")
    lines = screen(output.text, 80)
    assert lines[:2] == ["message 0", "message 1"]
    assert lines[2].startswith("reading: 100%|")


def test_brief_work_and_bars_within_a_bar_leave_nothing(monkeypatch):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.01)
    with terminal(80) as output:
        with progress.progress_bar(total=1, desc="training", unit="step") as bar:
            for _ in progress.progress_bar(range(2), desc="verifying", unit="image"):
                time.sleep(0.05)
            bar.update()
        with progress.stage("exporting"):
            time.sleep(0.05)
    assert "verifying:" in output.text
    assert "exporting [00:00]" in output.text
    lines = screen(output.text, 80)
    assert lines[0].startswith("training: 100%|")
    assert not any(lines[1:])


def test_without_a_terminal_there_are_lines(clock):
    with pipe() as output, progress.progress_bar(total=300, desc="training", unit="step") as bar:
        for second in range(31):
            clock.now = float(second)
            bar.n = 10 * max(0, second - 6)  # the first step takes six seconds more than others
            bar.describe(notes=("loss 7.1",))
            bar._display.show()
        bar.n = 300
        clock.now = 40.0
    assert output.text.splitlines() == [
        "training: step 0 of 300 (0 %), 1 s so far, loss 7.1",
        "training: step 30 of 300 (10 %), 3.33 steps/s, 1 min 21 s left, loss 7.1",
        "training: step 110 of 300 (36 %), 10 steps/s, 19 s left, loss 7.1",
        "training: step 190 of 300 (63 %), 10 steps/s, 11 s left, loss 7.1",
        "training: step 300 of 300 (100 %), 7.5 steps/s, took 40 s, loss 7.1",
    ]


@pytest.mark.parametrize(("unit", "each"), [("run", "a run"), ("image", "an image")])
def test_slow_items_have_a_time_each(clock, unit, each):
    with pipe() as output, progress.progress_bar(range(4), desc="comparing", unit=unit) as bar:
        clock.now, bar.n = 150.0, 2
        bar._display.show()
        clock.now, bar.n = 400.0, 4
    assert output.text.splitlines() == [
        f"comparing: {unit} 2 of 4 (50 %), 1 min 15 s {each}, 2 min 30 s left",
        f"comparing: {unit} 4 of 4 (100 %), 1 min 40 s {each}, took 6 min 40 s",
    ]


def test_work_without_a_known_end_is_counted(clock):
    with pipe() as output:
        bar = progress.progress_bar(iter("abc"), desc="listing", unit="image")
        assert list(bar) == ["a", "b", "c"]
        assert bar.n == 3
    assert output.text == "listing: 3 images, took 0 s\n"


def test_lines_come_by_themselves_while_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(progress._Lines, "interval", 0.01)
    with pipe() as output, progress.stage("opening the network"):
        time.sleep(0.2)
    lines = output.text.splitlines()
    assert len(lines) > 2
    assert all(line.startswith("opening the network, 0") for line in lines)


def test_work_that_failed_has_no_last_line():
    bar = progress.progress_bar(total=2, desc="training", unit="step")
    with pipe() as output, pytest.raises(KeyError), bar:
        raise KeyError
    assert output.text == ""


def test_disabled_and_brief_work_is_silent():
    with pipe() as output:
        for _ in progress.progress_bar(range(3), desc="a", unit="b", disable=True):
            pass
        for _ in progress.progress_bar(range(3), desc="a", unit="b", brief=True):
            pass
        with progress.stage("c"):
            pass
    assert output.text == ""


def test_the_outermost_stream_shows_what_blocks_within_it_suppress():
    with pipe() as outer, open(os.devnull, "w") as suppressed:
        with progress.shown_on(suppressed):
            progress.log("inside")
        progress.log("after")
    assert outer.text == "inside\nafter\n"


def test_models_share_a_warning(capsys):
    warned = set()
    for messages in (["ours", "theirs"], ["ours"]):
        progress.warn_once(messages, warned)
    assert capsys.readouterr().err == "WARNING: ours\nWARNING: theirs\n"


def test_warnings_of_python_are_messages_only_within_the_block(capsys):
    with progress.python_warnings_logged():
        warnings.simplefilter("always")  # in tests they are errors
        warnings.warn("from Python", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "WARNING: from Python\n"
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", UserWarning, stacklevel=1)


def test_a_reader_that_left_does_not_stop_the_thread_with_a_traceback(monkeypatch, capfd):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.01)
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    with progress.shown_on(stream), progress.stage("exporting"):
        time.sleep(0.05)
    with contextlib.suppress(BrokenPipeError):
        stream.close()
    assert capfd.readouterr().err == ""
