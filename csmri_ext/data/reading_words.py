"""How files were read, as commands write it into their records, compared whatever the version that wrote it."""

from __future__ import annotations

import shlex


def same_reading(then: str, now: str) -> bool:
    """Whether two lines of options mean the same: in any order, and a share of the slices as ``50%`` or as ``0.5``.

    Parameters
    ----------
    then, now
        Such as ``--slices 50% --axes 'slice y x'``.
    """
    try:
        return then == now or _by_option(then) == _by_option(now)
    except (AttributeError, TypeError, ValueError):  # damaged
        return False


def _by_option(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in shlex.split(text):
        if word.startswith("--"):
            values = found[word] = []
        else:
            values.append(word)
    share = found.get("--slices", [""])[0]
    if "." in share and not share.endswith("%"):  # an earlier version wrote the number itself
        found["--slices"] = [f"{100 * float(share):g}%"]
    return found
