"""Closed-set and open-set identification, and identification among distractors."""

__all__: list[str] = []
