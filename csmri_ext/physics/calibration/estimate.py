"""Coil sensitivities from the fully sampled centre of k-space (the ACS region): one entry for all ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from csmri_ext.physics.calibration.center import Center, outside_words, sampled_centers
from csmri_ext.physics.calibration.espirit import MapsAndObject, maps_and_object
from csmri_ext.physics.calibration.smooth import adaptive_maps, low_resolution_maps
from csmri_ext.physics.coils import align_phase, rss
from csmri_ext.physics.fitting import require_no_pairs

DEFAULT_METHOD = "espirit"
_EVERYWHERE = {"low_resolution": low_resolution_maps, "adaptive": adaptive_maps}  # these know no air
METHODS = (DEFAULT_METHOD, *_EVERYWHERE)


def estimate_sens_maps(
    kspace: Tensor,
    mask: Tensor | None = None,
    method: str = DEFAULT_METHOD,
    *,
    cropped: bool = True,
    told: Callable[[str], object] | None = None,
) -> Tensor:
    """Estimate coil sensitivities from the fully sampled centre of the data, around the echo.

    ``espirit``: at each pixel the eigenvector, of eigenvalue 1, of the operator that makes the centre consistent with
    itself, and 0 where there is no object (`calibration.espirit`; Uecker et al., 2014). ``low_resolution``:
    ``S_c = m_c / rss(m)`` with the coil images ``m_c`` of the tapered centre. ``adaptive``: principal eigenvector of
    the local coil covariance ``sum m m^H`` (Walsh et al., 2000). The last two give maps of norm 1 at every pixel, also
    in air, where the reconstruction then has to explain noise and aliasing.

    The centre is the `calibration_block` of the mask around the strongest sample, which need not lie in the middle of
    k-space; windows on it lie around this echo, too, and each slice of a batch has its own. Where the fully sampled
    block does not hold the echo, a warning says so. Few lines make the maps of all methods smoother; ``espirit``
    narrows its kernel then, and becomes ``low_resolution`` in the end.

    Maps that are 0 in air help a method that knows little of images, such as total variation, to unfold. They also cut
    away what is there: measured air has a floor of noise, which a network reconstructs. Networks are given maps that
    are not cropped.

    The phase is such that a virtual coil, the principal combination of all coils, has a real positive sensitivity
    (`coils.align_phase`).

    Parameters
    ----------
    kspace
        complex64 or complex128, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``, any sizes; samples outside the
        mask are ignored.
    mask
        bool, broadcasts to `kspace`. None: True where any coil has a nonzero sample. A batch uses the samples that all
        its members share.
    method
        ``espirit``, ``low_resolution`` or ``adaptive``.
    cropped
        Whether maps of ``espirit`` are 0 in air. The others never are.
    told
        Called with the sentence of the warning instead; None: `warnings.warn`.

    Returns
    -------
        Maps of the shape and dtype of `kspace`, norm 1 over the coils, or 0 in air (``espirit``, `cropped`). One coil
        gives ones.

    Raises
    ------
    TypeError
        A mask that is not bool.
    ValueError
        Unknown method; wrong axes; a fully sampled centre of fewer than 4 samples along an axis; no signal in it, or
        values that are not finite.
    """
    maps, is_object = estimate_maps_and_object(kspace, mask, method, told=told or _warn)
    return maps.where(is_object.unsqueeze(-3), 0) if cropped else maps


def estimate_maps_and_object(
    kspace: Tensor,
    mask: Tensor | None = None,
    method: str = DEFAULT_METHOD,
    *,
    told: Callable[[str], object] | None = None,
) -> MapsAndObject:
    """Estimate coil sensitivities at every pixel and where the object is: both maps of `estimate_sens_maps` at once.

    Those that are cropped are ``sens_maps`` where ``is_object``, and 0 elsewhere; the others are ``sens_maps``.

    Parameters
    ----------
    kspace, mask, method, told
        As in `estimate_sens_maps`.

    Returns
    -------
        Maps of the shape and dtype of `kspace`, norm 1 over the coils; and bool of this shape without coils, False in
        air, which only ``espirit`` finds.

    Raises
    ------
    TypeError, ValueError
        As `estimate_sens_maps`.
    """
    told = told or _warn
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r} (known: {', '.join(METHODS)})")
    require_no_pairs("kspace", kspace)
    if kspace.ndim not in (3, 4) or not kspace.is_complex():
        raise ValueError(
            "kspace must be complex (coils, ny, nx) or (batch, coils, ny, nx), "
            f"got {kspace.dtype} {tuple(kspace.shape)}"
        )
    shape = (*kspace.shape[:-3], *kspace.shape[-2:])
    if kspace.shape[-3] == 1 or kspace.numel() == 0:
        return MapsAndObject(torch.ones_like(kspace), torch.ones(shape, dtype=torch.bool, device=kspace.device))
    found = []
    for center in sampled_centers(kspace.reshape(-1, *kspace.shape[-3:]), mask):
        if center.outside is not None:
            told(outside_words(center.outside))
        found.append(_of_slice(center, method, *kspace.shape[-2:]))
    maps, is_object = (torch.cat(parts) for parts in zip(*found, strict=True))
    return MapsAndObject(maps.reshape(kspace.shape), is_object.reshape(shape))


def _of_slice(center: Center, method: str, ny: int, nx: int) -> MapsAndObject:
    if method in _EVERYWHERE:
        maps = _EVERYWHERE[method](center.samples, ny, nx, center.echo)
        is_object = torch.ones_like(maps[:, 0], dtype=torch.bool)
    else:
        maps, is_object = maps_and_object(center.samples, ny, nx, echo=center.echo)
    norm = rss(maps)[:, None]
    maps = maps / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return MapsAndObject(align_phase(maps, center.samples), is_object)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def describe_estimate(method: str = DEFAULT_METHOD, *, cropped: bool = True) -> str:
    """Say in words where maps of `estimate_sens_maps` come from, for tables and provenance."""
    return f"{method} estimate from the calibration region{'' if cropped else ', not cropped in air'}"
