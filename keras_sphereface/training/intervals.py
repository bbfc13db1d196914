"""The steps at which a run logs, verifies and saves."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The steps of a run, counted from 1, at which something is due.

    Attributes:
        total_steps: Last step.
        batch_size: Images of a step, over all devices.
        num_images: Images of an epoch.
        log_steps: Steps between two rows of the log.
        checkpoint_steps: Steps between two checkpoints.
        verify_steps: Steps between two verifications; 0: none.

    Example:
        >>> intervals = Intervals(10, 4, 20, log_steps=3, checkpoint_steps=5)
        >>> [step for step in range(1, 11) if intervals.logs_at(step)]
        [3, 6, 9, 10]
    """

    total_steps: int
    batch_size: int
    num_images: int
    log_steps: int
    checkpoint_steps: int
    verify_steps: int = 0

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that the images after `step` steps belong to."""
        return step * self.batch_size // self.num_images

    def logs_at(self, step: int) -> bool:
        """Return whether the log has a row at this step."""
        return step == self.total_steps or step % self.log_steps == 0

    def saves_at(self, step: int) -> bool:
        """Return whether there is a checkpoint at this step."""
        return step == self.total_steps or step % self.checkpoint_steps == 0

    def verifies_at(self, step: int) -> bool:
        """Return whether pairs are verified at this step."""
        return self.verify_steps > 0 and step % self.verify_steps == 0
