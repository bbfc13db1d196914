"""The steps at which a run logs, verifies and saves."""

from keras_sphereface.training.intervals import Intervals

INTERVALS = Intervals(11, 8, 30, log_steps=4, checkpoint_steps=5, verify_steps=3)


def due(condition, intervals=INTERVALS):
    return [step for step in range(1, intervals.total_steps + 1) if condition(step)]


def test_log_and_checkpoints_are_due_at_their_steps_and_at_the_last():
    assert due(INTERVALS.logs_at) == [4, 8, 11]
    assert due(INTERVALS.saves_at) == [5, 10, 11]


def test_verifications_are_due_at_their_steps():
    assert due(INTERVALS.verifies_at) == [3, 6, 9]
    assert due(Intervals(11, 8, 30, 4, 5).verifies_at) == []


def test_epochs_are_passes_over_the_images():
    # 30 images: a pass ends inside of the fourth batch of 8, and of the eighth.
    assert [INTERVALS.epoch_of(step) for step in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
