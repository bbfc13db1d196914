"""Strategies, collectives, and several workers on one machine."""
