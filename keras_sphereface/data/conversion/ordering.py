"""The order of records, and of labels: they depend on names and a seed, on nothing else."""

import hashlib

RANKS = 1 << 64


def rank_of(key: str, seed: int) -> int:
    """A hash of an image's key, from 0 to `RANKS` - 1; sorted by it, images are shuffled."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big")


def number_of(name: str) -> int | None:
    """The value of a name that is a number of up to 18 digits."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 19 else None


def label_order(identity: str) -> tuple[bool, int, str]:
    """What people are sorted by to be numbered: label 10 comes after label 9."""
    number = number_of(identity)
    return number is None, number or 0, identity
