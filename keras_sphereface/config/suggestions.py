"""The word that a misspelt one was probably meant to be."""

import os
from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return "Did you mean `x`?" with the nearest of `words`; "" if none is near.

    Example:
        >>> did_you_mean("evalute", ["train", "evaluate"])
        'Did you mean `evaluate`?'
        >>> did_you_mean("zip", ["train", "evaluate"])
        ''
    """
    near = nearest(word, words)
    return f"Did you mean `{near}`?" if near else ""


def path_hint(path: str) -> str:
    """Return "Did you mean `x`?" with the path whose last name is nearest to a missing one's."""
    folder, name = os.path.split(path.rstrip(os.sep))
    try:
        near = nearest(name, os.listdir(folder or "."))
    except OSError:
        return ""
    return f"Did you mean `{os.path.join(folder, near)}`?" if near else ""


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that is most alike, in any case of its letters; "" if none is near."""
    # Only now: most command lines have no mistake.
    import difflib

    words_by_key = {candidate.lower(): candidate for candidate in words}
    near = difflib.get_close_matches(word.lower(), words_by_key, n=1)
    return words_by_key[near[0]] if near else ""


def with_hint(message: str, hint: str) -> str:
    """Return a message, and a further sentence if there is one."""
    return f"{message}. {hint}" if hint else message
