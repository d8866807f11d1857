"""What a comparison produces: rows of numbers, and the images behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ChosenWeight:
    """A regularization weight, and in words why it is this one."""

    value: float
    reason: str = ""


@dataclass
class Row:
    """One method on one volume at one mask setting.

    The four metrics are fastMRI's, per volume, or None where no fully sampled reference exists. ``slice_psnr`` and
    ``slice_ssim`` (one number per slice, volume maximum as data range) feed the box plots. ``kspace_residual`` is
    ``||M F S x - y|| / ||y||``. ``details`` holds what the method chose: the TV weight, BART's command line.
    """

    method: str
    mask: str
    acceleration: float | None
    volume: str
    slices: int
    mse: float | None
    nmse: float | None
    psnr: float | None
    ssim: float | None
    seconds: float  # reconstruction wall time of the whole volume
    parameters: int
    flops: int | None  # per slice; None where no count is defined (iterative methods)
    kspace_residual: float | None = None
    slice_psnr: list[float] = field(default_factory=list)
    slice_ssim: list[float] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, float | None, str]:
        """What tells a row from the others: method, mask, acceleration, volume."""
        return self.method, self.mask, self.acceleration, self.volume

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionary, ready for json."""
        return asdict(self)


@dataclass
class Panel:
    """One slice at one mask setting, as every method reconstructed it.

    Attributes
    ----------
    volume, slice, mask, acceleration
        Which slice, which sampling (names as in `Row`).
    sampling
        bool ``(ny, nx)``, the mask itself, zero frequency in the centre.
    mask_hash
        First 16 hex digits of the sha256 of the mask's bytes.
    target
        float32 ``(h, w)`` or None (prospectively undersampled data).
    recons
        method name -> float32 ``(h, w)`` magnitude, all on the target's scale, in the order of the table.
    scores
        method name -> {"psnr": ..., "ssim": ..., "nmse": ...} of this slice; empty without a target.
    expected
        method name -> float32 ``(h, w)``, an estimate of the error of each pixel; empty where none was asked for.
    """

    volume: str
    slice: int
    mask: str
    acceleration: float | None
    sampling: NDArray[np.bool_]
    mask_hash: str
    target: NDArray[np.float32] | None
    recons: dict[str, NDArray[np.float32]]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    expected: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass
class Comparison:
    """All rows and panels of one run, and where they came from.

    ``provenance`` has at least: command, csmri_ext, python, torch, numpy, simd, bart (version or None), bart_argv
    (method -> list), masks (list of {kind, acceleration, shape, hash, sampled}), metric (variant in words), seed,
    date, inputs. ``place`` says where the panels' images lie: ``inside`` the report's page, thinned where they are too
    many for it; in files ``beside`` it; ``auto``: inside while they fit.
    """

    rows: list[Row]
    panels: list[Panel]
    provenance: dict[str, Any]
    place: str = "inside"
