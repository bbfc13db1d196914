"""The order of records and of labels: it depends on names and a seed alone."""

import hashlib

RANKS = 1 << 64


def rank_of(key: str, seed: int) -> int:
    """Return a hash of an image's key, from 0 to `RANKS` - 1; in its order images are shuffled."""
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big")


def label_order(identity: str) -> str:
    """Return the text by which identities are sorted to be numbered: "10" comes after "9".

    Names that are numbers of up to 18 digits come first, in the order of their values.
    """
    is_number = identity.isascii() and identity.isdecimal() and len(identity) < 19
    return f"0{int(identity):018d}{identity}" if is_number else f"1{identity}"
