"""`first_few`: lists that are too long for a message."""

from __future__ import annotations

from collections.abc import Sequence


def first_few(words: Sequence[str], most: int, rest: str = "and {} more") -> list[str]:
    """Leave out the end of a long list, and say how much of it.

    Parameters
    ----------
    words
        What a message would list.
    most
        Elements of the answer at most, 2 or more: a line of one more element is as short as one that counts it.
    rest
        What stands for the others, with their number in place of ``{}``.

    Returns
    -------
        The words; of more than `most` the first ``most - 1`` and `rest`.
    """
    if len(words) <= most:
        return list(words)
    return [*words[: most - 1], rest.format(len(words) - most + 1)]
