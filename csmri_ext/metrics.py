"""Image quality as fastMRI's ``evaluate.py`` defines it, and what a network costs as the NasN paper counts it.

All functions compare magnitude images of one **volume**, ``(slices, h, w)``. PSNR and SSIM take the maximum of the
target volume as data range. The numbers differ from those of other packages: from means of per-slice PSNR, from a data
range per slice, and above all from the SSIM with a Gaussian window (Wang et al. 2004), by up to 0.07. Quote
`METRIC_VARIANT` beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from csmri_ext.complexity import count_flops, count_parameters

__all__ = [
    "METRIC_VARIANT",
    "Summary",
    "count_flops",
    "count_parameters",
    "mse",
    "nmse",
    "over_volumes",
    "psnr",
    "slice_psnr",
    "slice_ssim",
    "ssim",
]

METRIC_VARIANT = (
    "fastMRI evaluate.py, per volume: MSE and NMSE over all slices; PSNR from the volume's MSE, data range = maximum "
    "of the target volume; SSIM with a uniform 7 x 7 window, k1 = 0.01, k2 = 0.03, the same data range, mean over "
    "slices"
)

_SSIM_WINDOW = 7


def __getattr__(name: str) -> Any:
    # these two need torch, which the image metrics do without
    if name in ("count_flops", "count_parameters"):
        from csmri_ext import complexity

        return getattr(complexity, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def mse(target_volume: ArrayLike, recon_volume: ArrayLike) -> float:
    """Mean squared error, ``mean((target - recon)^2)``.

    Parameters
    ----------
    target_volume, recon_volume
        Real, ``(slices, h, w)`` or one slice ``(h, w)``; arrays or CPU tensors. Summed in float64.

    Raises
    ------
    ValueError
        Different shapes, other than two or three axes, or complex images.
    """
    target, recon = _volumes(target_volume, recon_volume)
    return float(_squared_errors(target, recon)[0].sum() / target.size)


def nmse(target_volume: ArrayLike, recon_volume: ArrayLike) -> float:
    """Normalised mean squared error, ``||target - recon||^2 / ||target||^2``.

    Parameters
    ----------
    target_volume, recon_volume
        As in `mse`.

    Raises
    ------
    ValueError
        As in `mse`, or a target of zeros.
    """
    target, recon = _volumes(target_volume, recon_volume)
    error, energy = (float(sums.sum()) for sums in _squared_errors(target, recon, energy=True))
    if not energy > 0:
        _data_range(target, None)
    return error / energy


def psnr(target_volume: ArrayLike, recon_volume: ArrayLike, maxval: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(maxval^2 / mse)``; inf for equal volumes.

    Parameters
    ----------
    target_volume, recon_volume
        As in `mse`.
    maxval
        Data range, > 0; default the maximum of the target volume.

    Raises
    ------
    ValueError
        As in `mse`, or a data range that is not positive.
    """
    target, recon = _volumes(target_volume, recon_volume)
    return _decibel(_data_range(target, maxval), float(_squared_errors(target, recon)[0].sum() / target.size))


def ssim(target_volume: ArrayLike, recon_volume: ArrayLike, maxval: float | None = None) -> float:
    """Structural similarity, the mean of `slice_ssim` over the slices.

    Parameters
    ----------
    target_volume, recon_volume
        As in `mse`; slices of at least 7 x 7.
    maxval
        Data range, > 0; default the maximum of the target volume.

    Raises
    ------
    ValueError
        As in `mse`, a data range that is not positive, or slices smaller than the window.
    """
    return float(np.mean(slice_ssim(target_volume, recon_volume, maxval)))


def slice_psnr(target_volume: ArrayLike, recon_volume: ArrayLike, maxval: float | None = None) -> NDArray[np.float64]:
    """PSNR of each slice, float64 ``(slices,)``, with one data range for the volume.

    For box plots. Its mean is *not* the `psnr` of the volume.

    Parameters
    ----------
    target_volume, recon_volume, maxval
        As in `psnr`.

    Raises
    ------
    ValueError
        As in `psnr`.
    """
    target, recon = _volumes(target_volume, recon_volume)
    maxval = _data_range(target, maxval)
    errors = _squared_errors(target, recon)[0] / target[0].size
    return np.array([_decibel(maxval, float(error)) for error in errors])


def slice_ssim(target_volume: ArrayLike, recon_volume: ArrayLike, maxval: float | None = None) -> NDArray[np.float64]:
    """SSIM of each slice, float64 ``(slices,)``, with one data range for the volume.

    scikit-image's ``structural_similarity`` with its defaults: uniform 7 x 7 window, k1 = 0.01, k2 = 0.03, sample
    covariance, mean over the interior. Its mean over the slices is `ssim`.

    Parameters
    ----------
    target_volume, recon_volume, maxval
        As in `ssim`.

    Raises
    ------
    ValueError
        As in `ssim`.
    """
    target, recon = _volumes(target_volume, recon_volume)
    if min(target.shape[1:]) < _SSIM_WINDOW:
        raise ValueError(f"SSIM needs slices of at least {_SSIM_WINDOW} x {_SSIM_WINDOW}, got {target.shape[1:]}")
    maxval = _data_range(target, maxval)
    pairs = zip(target, recon, strict=True)
    return np.array([_ssim_of_slice(t, r, maxval) for t, r in pairs])


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one metric over volumes.

    Attributes
    ----------
    mean
        Arithmetic mean.
    std
        Sample standard deviation (n - 1 in the denominator), nan for a single volume. The papers print mean +- std.
    n
        Number of volumes.
    """

    mean: float
    std: float
    n: int

    @property
    def two_std(self) -> float:
        """``2 std``, which fastMRI's ``evaluate.py`` prints after its "+/-"."""
        return 2 * self.std

    def __format__(self, spec: str) -> str:
        """Format as "mean ± std", both with `spec` (default ``.4g``); the mean alone for a single volume."""
        spec = spec or ".4g"
        return f"{self.mean:{spec}}" if self.n == 1 else f"{self.mean:{spec}} ± {self.std:{spec}}"

    def __str__(self) -> str:
        return format(self)


def over_volumes(values: Iterable[float]) -> Summary:
    """Average one metric over volumes: mean and sample standard deviation (``ddof=1``).

    Parameters
    ----------
    values
        One number per volume.

    Raises
    ------
    ValueError
        No values.
    """
    array = np.fromiter(values, dtype=np.float64)
    if not array.size:
        raise ValueError("nothing to average: no values")
    std = float(np.std(array, ddof=1)) if array.size > 1 else float("nan")
    return Summary(mean=float(np.mean(array)), std=std, n=array.size)


# --- a part of a slice at a time, so that what is computed of it stays in the cache -----------------------------------
_PART = 1 << 16  # pixels
_RUN = 1 << 11  # pixels whose squares are added in float32, where the images are
_SAFE = 1e-24, 1e30  # mean squares of a part with nothing lost in float32
_STRIP = 32  # rows


def _squared_errors(
    target: NDArray[Any], recon: NDArray[Any], *, energy: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``||target - recon||^2`` and, if `energy`, ``||target||^2`` of each slice."""
    errors, energies = np.zeros(len(target)), np.zeros(len(target))
    single = target.dtype == recon.dtype == np.float32
    difference = np.empty(min(_PART, target[0].size), np.float32 if single else np.float64)
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is noticed in `_energy`
        for i in range(len(target)):
            pixels, others = target[i].reshape(-1), recon[i].reshape(-1)
            for start in range(0, pixels.size, _PART):
                part, other = pixels[start : start + _PART], others[start : start + _PART]
                into = difference[: part.size]
                np.subtract(part, other, out=into, dtype=into.dtype)
                errors[i] += _energy(into)
                if energy:
                    energies[i] += _energy(part)
    return errors, energies


def _energy(values: NDArray[Any]) -> float:
    """Sum of squares; of float32 in runs whose rounding is below that of the values, added up in float64."""
    if values.dtype == np.float32:
        whole = values.size - values.size % _RUN
        runs = values[:whole].reshape(-1, 1, _RUN)
        total = float(np.matmul(runs, runs.transpose(0, 2, 1)).sum(dtype=np.float64))
        if _SAFE[0] * whole < total < _SAFE[1]:
            return total if whole == values.size else total + _energy(values[whole:].astype(np.float64))
    wide = values.astype(np.float64, copy=False)
    return float(wide @ wide)


def _window_sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up windows of 7 x 7 within the last two axes: pairs, fours, and 4 + 2 + 1 of each."""
    _, rows, columns = x.shape
    pairs = x[:, :-1] + x[:, 1:]
    sums = pairs[:, :-2] + pairs[:, 2:]
    sums = sums[:, : rows - 6]
    sums += pairs[:, 4 : rows - 2]
    sums += x[:, 6:]
    pairs = sums[..., :-1] + sums[..., 1:]
    result = pairs[..., : columns - 6] + pairs[..., 2 : columns - 4]
    result += pairs[..., 4 : columns - 2]
    result += sums[..., 6:]
    return result


def _ssim_of_slice(target: NDArray[Any], recon: NDArray[Any], data_range: float) -> float:
    """Mean over all windows that lie within the slice, which are those of the pixels that scikit-image keeps."""
    windows = _SSIM_WINDOW**2
    sample = windows / (windows - 1)  # covariance with n - 1 in the denominator
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    rows = target.shape[0] - _SSIM_WINDOW + 1
    total = 0.0
    for start in range(0, rows, _STRIP):
        stop = min(start + _STRIP, rows) + _SSIM_WINDOW - 1
        maps = np.empty((5, stop - start, target.shape[1]))
        t, r = maps[0], maps[1]
        t[:], r[:] = target[start:stop], recon[start:stop]
        np.multiply(t, t, out=maps[2])
        np.multiply(r, r, out=maps[3])
        np.multiply(t, r, out=maps[4])
        mean_t, mean_r, mean_tt, mean_rr, mean_tr = _window_sums(maps) / windows
        product, squares = mean_t * mean_r, mean_t * mean_t + mean_r * mean_r
        variances, covariance = sample * (mean_tt + mean_rr - squares), sample * (mean_tr - product)
        similarity = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
        total += float(similarity.sum())
    return total / (rows * (target.shape[1] - _SSIM_WINDOW + 1))


def _volumes(target: ArrayLike, recon: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    arrays = np.asarray(target), np.asarray(recon)
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"target has shape {arrays[0].shape}, but recon has shape {arrays[1].shape}")
    if arrays[0].ndim not in (2, 3) or not arrays[0].size:
        raise ValueError(f"metrics need volumes (slices, h, w) or one slice (h, w), got shape {arrays[0].shape}")
    for name, array in zip(("target", "recon"), arrays, strict=True):
        if np.iscomplexobj(array):
            raise ValueError(f"metrics compare magnitude images, but {name} is {array.dtype}: take its absolute value")
    height, width = arrays[0].shape[-2:]
    first, second = (array.reshape(-1, height, width) for array in arrays)
    return first, second


def _data_range(target: NDArray[Any], maxval: float | None) -> float:
    maxval = float(target.max()) if maxval is None else maxval
    if not maxval > 0:
        raise ValueError(f"the data range must be positive, got {maxval:g} (is the target empty?)")
    return maxval


def _decibel(maxval: float, error: float) -> float:
    return float("inf") if error == 0 else float(10 * np.log10(maxval**2 / error))
