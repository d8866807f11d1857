"""How a file was read: the words for axes, where they come from, and one line that says so.

Every reader records in ``Acquisition.attrs``: ``axes``, the axes of the stored array in words and in the file's order;
``axes_from``, why they are believed to be these; and ``warnings``, a list of what the reader had to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csmri_ext.bridge.acquisition import Acquisition

FROM_FORMAT, FROM_ORDER, FROM_USER = "the format", "the file's order", "the user"

AXES = {
    "s": ("slice", "slices", "z"),
    "c": ("coil", "coils", "channel", "channels"),
    "y": ("y", "row", "rows"),
    "x": ("x", "column", "columns"),
    "t": ("frame", "frames", "time", "repetition", "average"),
    "i": ("complex", "real/imag", "ri"),
    "1": ("1", "-", "_"),
}
"""Letter of every kind of axis, and its words, the first of which is printed. ``1`` is an axis of length one."""

LETTERS = {word: letter for letter, words in AXES.items() for word in (letter, *words)}


def parse_axes(text: str) -> str:
    """Read axes in words or in letters, first axis first: ``"coil y x"``, ``"coil,y,x"`` and ``"cyx"`` are the same.

    Parameters
    ----------
    text
        One word per axis: slice, coil, y, x, frame, complex (real and imaginary part), 1 (an axis of length one).
        y is the readout and x the phase encoding, which masks undersample.

    Returns
    -------
        One letter per axis, see `AXES`.

    Raises
    ------
    ValueError
        An unknown word, an axis named twice, or no y or x.
    """
    words = text.lower().replace(",", " ").split()
    if len(words) == 1 and words[0] not in LETTERS:
        words = list(words[0])
    unknown = [word for word in words if word not in LETTERS]
    letters = "".join(LETTERS[word] for word in words if word in LETTERS)
    named = letters.replace("1", "")
    if unknown or len(set(named)) != len(named) or not set("yx") <= set(named):
        known = ", ".join(words[0] for words in AXES.values())
        what = f"unknown axis {unknown[0]!r}" if unknown else "each axis once, y and x among them"
        raise ValueError(f"axes {text!r}: {what}; one word per axis, of {known}, as in 'coil y x'")
    return letters


def axes_in_words(letters: str) -> str:
    """Write letters of axes as words: ``"cyx"`` becomes ``"coil y x"``."""
    return " ".join(AXES[letter][0] for letter in letters)


def reading(acquisition: Acquisition) -> str:
    """Say in one line how a file was read: ``8 coils x 256 x 256, axes coil y x, from the file's order``.

    The extents are those of the acquisition, (slices, coils, ny, nx), without slices or coils where there is one.

    Parameters
    ----------
    acquisition
        From `load.load`. Others, made in memory, have only extents.
    """
    attrs = acquisition.attrs
    n_frames = int(attrs.get("n_frames", 1))
    n_slices = acquisition.n_slices // n_frames
    counts = ((n_frames, "frame"), (n_slices, "slice"), (acquisition.n_coils, "coil"))
    extents = [f"{n} {noun}s" for n, noun in counts if n > 1] + [str(n) for n in acquisition.matrix_size]
    text = " x ".join(extents)
    if "axes" in attrs:
        text += f", axes {attrs['axes']}, from {attrs.get('axes_from', FROM_FORMAT)}"
    details = [
        str(attrs[name]) for name in ("domain_from", "plane_from", "phase_encoding", "prepared") if attrs.get(name)
    ]
    if attrs.get("maps_from"):
        details.append(f"sensitivities from {attrs['maps_from']}")
    return ", ".join([text, *details])


Frames = Sequence[int] | None
"""Which frames to read; None: all."""


def choose_frames(wanted: Frames, n_frames: int, where: str) -> list[int]:
    """List the frames to read: those that were asked for, or all.

    Raises
    ------
    ValueError
        A frame that the file does not have.
    """
    frames = list(range(n_frames)) if wanted is None else list(wanted)
    for frame in frames:
        if not 0 <= frame < n_frames:
            raise ValueError(f"{where}: no frame {frame}; it has {n_frames}, counted from 0")
    return frames


def note(attrs: dict[str, Any], text: str) -> None:
    """Add to what a reader had to decide and the user should hear."""
    attrs["warnings"] = [*attrs.get("warnings", []), text]
