import logging

from keras_sphereface.utils import progress


def test_a_message_is_a_line_on_standard_error(capsys):
    progress.log("first")
    progress.log("second", logging.WARNING)
    assert capsys.readouterr().err == "first\nWARNING: second\n"


def test_a_program_sets_the_level_of_the_logger(capsys):
    progress.log("makes the logger")
    capsys.readouterr()
    logger = logging.getLogger("keras_sphereface")
    logger.setLevel(logging.WARNING)
    try:
        progress.log("quiet")
        progress.log("loud", logging.WARNING)
    finally:
        logger.setLevel(logging.INFO)
    assert capsys.readouterr().err == "WARNING: loud\n"


def test_a_bar_shows_rate_and_time_left(capsys):
    with progress.progress_bar(total=4, unit="image", desc="embedding") as bar:
        bar.update(2)
        bar.refresh()
        progress.log("beside the bar")
    text = capsys.readouterr().err
    assert "embedding" in text
    assert "2/4" in text
    assert "image/s" in text
    assert "<" in text  # elapsed<left
    assert "beside the bar\n" in text
