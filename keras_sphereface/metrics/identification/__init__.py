"""Search in galleries, CMC, DIR, and identification among distractors."""

__all__: list[str] = []
