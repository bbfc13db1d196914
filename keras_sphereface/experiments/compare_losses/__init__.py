"""The comparison of losses: one network with every loss, under one budget.

`run.compare_losses` is its entry point. Nothing is imported here: the process of a single run
starts this package's module `single`.
"""

__all__: list[str] = []
