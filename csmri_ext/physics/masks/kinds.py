"""Sampling masks: which k-space samples an accelerated acquisition measures.

A mask is a bool tensor, True where a sample was acquired, zero frequency at ``n // 2``. Masks of whole columns have
shape ``(nx,)``, because nx is the phase-encode axis; masks of the plane have shape ``(ny, nx)``.

The five column rules of fastMRI (``fastmri/data/subsample.py``, commit 91f2df47) are reproduced bit for bit: same
stream of ``numpy.random.RandomState``, same seeding by file name. numpy's global generator is never touched.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from pathlib import PurePath

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from csmri_ext.physics.masks.columns import COLUMN_RULES, COMBS, SPACINGS, center_columns
from csmri_ext.physics.masks.poisson import poisson_disc
from csmri_ext.physics.masks.radial import closest_to, golden_mask, line_mask

_RADIAL = ("radial_golden", "radial_lines")
_KINDS = (*COLUMN_RULES, *_RADIAL, "poisson")


def mask_kinds() -> list[str]:
    """Every name that `make_mask` knows: masks of columns ``(nx,)`` first, then masks of the plane ``(ny, nx)``."""
    return list(_KINDS)


def default_center_fraction(acceleration: float) -> float:
    """Fraction of the columns that is fully sampled around the zero frequency: ``0.32 / acceleration``.

    This is fastMRI's 0.08 at 4x and 0.04 at 8x, continued so that the centre always takes 32 % of the samples.
    """
    return 0.32 / acceleration


def make_mask(
    kind: str,
    shape: Sequence[int],
    acceleration: float | Sequence[float] | None = None,
    center_fraction: float | Sequence[float] | None = None,
    seed: int | str | Sequence[int] | None = None,
    *,
    offset: int | None = None,
    lines: int | None = None,
    padding: tuple[int, int] | None = None,
) -> Tensor:
    """Make a sampling mask.

    ======================= ============ ====================================================================
    kind                    shape        samples
    ======================= ============ ====================================================================
    ``random``              ``(nx,)``    each outer column with the same probability; the count varies
    ``equispaced``          ``(nx,)``    every R-th column, and the centre besides: less than R in effect
    ``equispaced_fraction`` ``(nx,)``    spacing widened so that R is met with the centre
    ``magic``               ``(nx,)``    two combs that conjugate symmetry interleaves, and the centre besides
    ``magic_fraction``      ``(nx,)``    the same, spacing widened so that R is met with the centre
    ``gaussian``            ``(nx,)``    exactly ``round(nx / R)`` columns, Gaussian density, sigma 0.2 nx
    ``radial_golden``       ``(ny, nx)`` spokes at multiples of the golden angle, 111.246 degrees
    ``radial_lines``        ``(ny, nx)`` evenly spaced lines: l1-magic's LineMask (ADMM-Net, ISTA-Net)
    ``poisson``             ``(ny, nx)`` variable-density Poisson disc, and a fully sampled centre
    ======================= ============ ====================================================================

    The first five are fastMRI's.

    Parameters
    ----------
    kind
        One of `mask_kinds`.
    shape
        ``(nx,)`` or ``(..., ny, nx)``, for instance ``kspace.shape``; leading axes are ignored. Masks of the plane
        need ny and nx.
    acceleration
        Nominal undersampling factor R >= 1; 1 samples everything. Radial masks use the number of lines that comes
        closest. A sequence is a choice, as in fastMRI: the seed picks one entry, and the `center_fraction` beside it.
    center_fraction
        Fraction of the columns around the zero frequency that is fully sampled, between 0 and 1; default
        `default_center_fraction`. In the plane it is the fraction of either axis; radial masks then get such a block
        only if the fraction is given, because their lines already fill the centre.
    seed
        int, file name, or ints. A file name seeds as in fastMRI, ``tuple(map(ord, name))`` of the name without folder,
        so that the slices of a volume share a mask. None: fresh entropy, except that ``radial_golden`` starts at
        angle 0, where a seed gives a random first angle. ``radial_lines`` has no random part.
    offset
        First column of the equispaced and magic combs; default drawn from the seed.
    lines
        Number of lines of a radial mask, instead of `acceleration`.
    padding
        ``(left, right)``: columns before `left` and from `right` on are zero padding and not acquired, as in the masks
        that fastMRI's ``VarNetDataTransform`` makes; ``Acquisition.attrs["padding"]`` of its files.

    Returns
    -------
        bool, ``(nx,)`` or ``(ny, nx)``, on the CPU.

    Raises
    ------
    ValueError
        Unknown kind; a shape without the axes needed; an acceleration below 1, above what the grid allows, or out of
        reach because the centre alone has more samples (see `require_room`); an argument that the kind does not have.
    """
    if kind not in _KINDS:
        raise ValueError(_unknown_kind(kind))
    size = _grid(kind, shape)
    if padding is not None:
        left, right = padding
        whole = make_mask(kind, shape, acceleration, center_fraction, seed, offset=offset, lines=lines)
        columns = torch.arange(size[-1])
        return whole & (columns >= left) & (columns < right)
    _check_arguments(kind, acceleration, offset, lines)
    rng = RandomState(_numpy_seed(seed))
    if lines is not None:
        [(_, fraction)] = _choices(1, center_fraction, kind)
        return torch.from_numpy(_line_drawer(kind, size, rng, seed)(lines) | _center(size, fraction))
    choices = _choices(acceleration, center_fraction, kind)
    for choice in choices:
        _check_feasible(size, *choice)
        if kind not in ("random", *SPACINGS):  # of these fastMRI makes the mask: the centre alone, or with its comb
            require_room(size, *choice)
    factor, fraction = choices[rng.randint(len(choices))]  # a single choice leaves the stream where it is
    if factor == 1:
        return torch.ones(size, dtype=torch.bool)
    center = _center(size, fraction)
    if kind == "magic_fraction" and not center.any():  # fastMRI keeps one column at least
        center = center_columns(size[0], 1)
    n_samples = math.prod(size) / factor
    if kind in COLUMN_RULES:
        mask = COLUMN_RULES[kind](rng, size[0], int(center.sum()), factor, offset) | center
    elif kind == "poisson":
        mask = poisson_disc(rng, center, n_samples)
    else:
        draw = _line_drawer(kind, size, rng, seed)
        mask = closest_to(lambda n: draw(n) | center, n_samples, most_lines=4 * max(size))
    return torch.from_numpy(mask)


def _unknown_kind(kind: str) -> str:
    close = difflib.get_close_matches(str(kind), _KINDS, n=2, cutoff=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"unknown mask kind {kind!r}{hint} (known: {', '.join(_KINDS)})"


def _grid(kind: str, shape: Sequence[int]) -> tuple[int, ...]:
    n_axes = 1 if kind in COLUMN_RULES else 2
    wanted = "(nx,) or (..., ny, nx)" if n_axes == 1 else "(..., ny, nx)"
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise ValueError(f"a {kind} mask needs a shape {wanted}, got {shape!r}") from None
    if len(sizes) < n_axes or min(sizes[-n_axes:]) < 1:
        raise ValueError(f"a {kind} mask needs a shape {wanted}, got {sizes}")
    return sizes[-n_axes:]


def _numpy_seed(seed: int | str | Sequence[int] | None) -> int | Sequence[int] | None:
    if not isinstance(seed, str):
        return seed
    name = PurePath(seed).name
    if not name:
        raise ValueError(f"a mask seed must be an int or a file name, got {seed!r}")
    return tuple(map(ord, name))


def _check_arguments(kind: str, acceleration: object, offset: int | None, lines: int | None) -> None:
    if offset is not None and kind not in COMBS:
        raise ValueError(f"offset is for {', '.join(COMBS)}, not for {kind}")
    if offset is not None and offset < 0:
        raise ValueError(f"offset must be 0 or more, got {offset}")
    if lines is not None and kind not in _RADIAL:
        raise ValueError(f"lines is for {', '.join(_RADIAL)}, not for {kind}")
    if (lines is None) == (acceleration is None):
        raise ValueError(f"{kind} needs an acceleration" + (" or lines, and not both" if kind in _RADIAL else ""))
    if lines is not None and lines < 1:
        raise ValueError(f"lines must be 1 or more, got {lines}")


def _choices(
    acceleration: float | Sequence[float] | None, center_fraction: float | Sequence[float] | None, kind: str
) -> list[tuple[float, float]]:
    factors = list(acceleration) if isinstance(acceleration, Sequence) else [acceleration]
    fractions = list(center_fraction) if isinstance(center_fraction, Sequence) else [center_fraction] * len(factors)
    if not factors or len(factors) != len(fractions):
        raise ValueError(f"{len(factors)} accelerations but {len(fractions)} center fractions")
    pairs: list[tuple[float, float]] = []
    for factor, fraction in zip(factors, fractions, strict=True):
        if not isinstance(factor, Real) or not 1 <= factor < math.inf:
            raise ValueError(f"acceleration must be a number of at least 1, got {factor!r}")
        if fraction is None:
            fraction = 0.0 if kind in _RADIAL else default_center_fraction(factor)
        pairs.append((factor, fraction))
    return pairs


def _check_feasible(size: tuple[int, ...], acceleration: float, center_fraction: float) -> None:
    budget = math.prod(size) / acceleration
    if budget < 1:
        raise ValueError(f"acceleration {acceleration:g} leaves none of {math.prod(size)} {_things(size)}")
    _center(size, center_fraction)


def require_room(size: tuple[int, ...], acceleration: float, center_fraction: float) -> None:
    """Refuse a centre that alone has more samples than the acceleration leaves.

    Parameters
    ----------
    size
        ``(nx,)`` or ``(ny, nx)``.
    acceleration, center_fraction
        As in `make_mask`, which does not refuse it for fastMRI's ``random`` (the centre is all that is sampled then)
        and for ``equispaced`` and ``magic``, whose acceleration is the spacing of their comb.

    Raises
    ------
    ValueError
        With both counts.
    """
    budget = math.prod(size) / acceleration
    n_center = int(_center(size, center_fraction).sum())
    if n_center >= budget + 1:
        raise ValueError(
            f"acceleration {acceleration:g} leaves {budget:.1f} of {math.prod(size)} {_things(size)}, "
            f"but the centre alone has {n_center} (center_fraction {center_fraction:g})"
        )


def _things(size: tuple[int, ...]) -> str:
    return "columns" if len(size) == 1 else "samples"


def _center(size: tuple[int, ...], fraction: float) -> NDArray[np.bool_]:
    """Fully sampled centre, bool of shape `size`: the same fraction of either axis."""
    if not isinstance(fraction, Real) or not 0 <= fraction <= 1:
        raise ValueError(f"center_fraction must be between 0 and 1, got {fraction!r}")
    columns = center_columns(size[-1], round(size[-1] * fraction))
    return columns if len(size) == 1 else center_columns(size[0], round(size[0] * fraction))[:, None] & columns


def _line_drawer(
    kind: str, size: tuple[int, ...], rng: RandomState, seed: object
) -> Callable[[int], NDArray[np.bool_]]:
    ny, nx = size
    if kind == "radial_lines":
        return partial(line_mask, (ny, nx))
    first_angle = 0.0 if seed is None else rng.uniform(0, math.pi)
    return partial(golden_mask, (ny, nx), first_angle=first_angle)
