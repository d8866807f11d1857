"""`data_consistency`: pull images towards their measured k-space (GA-HQS eq. 6, NasN eq. 7)."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from csmri_ext.ops import _data_consistency_kernels as kernels
from csmri_ext.ops import _packed_kspace as packed
from csmri_ext.ops import reference
from csmri_ext.ops._arguments import require_tensors
from csmri_ext.ops._data_consistency_once import once
from csmri_ext.ops._direct import AlikeCalls, is_direct
from csmri_ext.ops._library import autocasting
from csmri_ext.ops.broadcasting import broadcasts, of_pairs


class PreparedKspace(NamedTuple):
    """Measured data in the form that the stages of an unrolled network share; made by `prepare_data_consistency`.

    Belongs to the device, dtype and shape of `kspace`; `to` moves it to another device. A tuple of tensors, so it
    passes through `torch.compile`, and ``torch.load(weights_only=True)`` reads what ``torch.save`` has written.
    """

    kspace: Tensor
    """k-space as measured, complex ``(..., ny, nx)``."""
    mask: Tensor
    """Real weights, broadcastable to `kspace`."""
    axes: str
    """Axes along which the mask varies: "x" (the last), "y" or "xy"."""
    samples: Tensor | None
    """Weighted data, packed, transformed where the mask does not vary. None where plain PyTorch computes."""
    weights: Tensor | None
    """The mask in the order of `samples`."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PreparedKspace:
        """Move all tensors to a device.

        Parameters
        ----------
        device
            Where to.
        non_blocking
            As in `torch.Tensor.to`.

        Raises
        ------
        TypeError
            A dtype, or anything else that is no device: the parts have several dtypes.
        """
        if not isinstance(device, (torch.device, str, int)):
            what = device if isinstance(device, torch.dtype) else f"a {type(device).__name__}"
            raise TypeError(
                f"PreparedKspace.to: {what} is no device; prepare_data_consistency makes it of k-space in another dtype"
            )
        moved = (x.to(device, non_blocking=non_blocking) if isinstance(x, Tensor) else x for x in self)
        return PreparedKspace(*moved)  # type: ignore[arg-type]


torch.serialization.add_safe_globals([PreparedKspace])  # torch.load(weights_only=True) reads what torch.save wrote


def data_consistency(image: Tensor, kspace: Tensor, mask: Tensor, eta: Tensor | float) -> Tensor:
    """Move each image towards its measured k-space by a step `eta`.

        ``image + eta F^H M (kspace - F image)``

    F is the centred unitary 2-D Fourier transform of the last two axes (`csmri_ext.physics.fft2c`), M the mask. For a
    0/1 mask and ``eta = 1 / (1 + mu)`` this is the exact solution of ``min_x |M F x - y|^2 + mu |x - image|^2``
    (GA-HQS, eq. 6), for ``eta = lam / (1 + lam)`` NasN's eq. 7; ``eta = 1`` replaces the acquired samples.

    One pass over the image where the mask varies along one axis only (``(nx,)``, ``(ny, 1)``: the transform along the
    other axis cancels), three for a 2-D mask. A network that applies this several times to the same data saves the
    preparation of the data with `prepare_data_consistency`.

    Parameters
    ----------
    image
        complex64 or complex128, ``(..., ny, nx)``, any sizes (on a GPU sides above 2048 run through torch.fft).
    kspace
        Measured data: shape, dtype and device of `image`, zero frequency in the centre. Values where the mask is zero
        do not matter.
    mask
        bool (True = acquired) or real weights, broadcastable to `kspace`: ``(nx,)``, ``(ny, 1)``, ``(ny, nx)``,
        ``(batch, 1, 1, nx)`` ... In full shape it costs a look at its values, which decide about the fast path; where
        nobody can look (in `prepare_data_consistency` of a compiled function, on a GPU) its shape decides.
    eta
        Step: float, or real tensor with one element; or one for each image, real with the axes of `image`, the last two
        of size 1: ``(batch, 1, 1)``. That costs one more pass over the image.

    Returns
    -------
        dtype and shape of `image`, contiguous. Differentiable with respect to `image`, `kspace` and `eta`, any number
        of times, forward and backward; with respect to the mask under `csmri_ext.reference_ops` only. Equivalent to
        `reference.data_consistency`; float32 arithmetic also under autocast.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or the mask requires a gradient.
    """
    _check_measured(kspace, mask)
    _check_image(image, kspace)
    step = _step(eta, kspace, image)
    if reference.active() or not kernels.cover(kspace):
        weighting = mask.to(packed.REAL_DTYPES[kspace.dtype])
        return reference.data_consistency(image, kspace, weighting, step)
    data = kspace if kspace.ndim == 3 else kspace.reshape(math.prod(kspace.shape[:-2]), *kspace.shape[-2:])
    own, at_once = _split(step)
    result: Tensor = once(image, data, packed.mask_planes(mask, kspace.shape), own, at_once)
    return result if at_once else image + step * result


def prepare_data_consistency(kspace: Tensor, mask: Tensor) -> PreparedKspace:
    """Bring measured data into the form in which all stages of an unrolled network use it.

    For masks that vary along one axis this is the inverse transform along the other axis, ``F_r^H kspace``, of the
    acquired lines; centring, weights and scale go into the data as well.

    Parameters
    ----------
    kspace, mask
        As in `data_consistency`.

    Returns
    -------
        The data for `data_consistency_prepared`. Differentiable with respect to `kspace`.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together, or the mask requires a gradient.
    """
    _check_measured(kspace, mask)
    weighting = mask.to(packed.REAL_DTYPES[kspace.dtype])
    planes = packed.mask_planes(mask, kspace.shape)
    axes, masks = packed.lines_of(packed.narrowed(planes) if packed.readable(planes) else planes, kspace.shape)
    if reference.active() or not kernels.cover(kspace):
        return PreparedKspace(kspace, weighting, axes, None, None)
    ny, nx = kspace.shape[-2:]
    masks = masks.to(weighting.dtype)
    samples = packed.pack(kspace.reshape(math.prod(kspace.shape[:-2]), ny, nx), masks, axes)
    return PreparedKspace(kspace, weighting, axes, samples, packed.pack_mask(masks, axes, ny, nx))


def divide_prepared(prepared: PreparedKspace, divisor: Tensor) -> PreparedKspace:
    """Return what `prepare_data_consistency` makes of ``kspace / divisor``, without preparing it again.

    Parameters
    ----------
    prepared
        Measured data, k-space ``(..., ny, nx)``.
    divisor
        Real or complex, not 0, with as many axes as k-space, the last two of them 1; the others broadcast.
    """
    samples = prepared.samples
    if samples is not None:  # (images, tiles, n_line, 2, lane): real and imaginary parts apart
        per_image = divisor.expand(*prepared.kspace.shape[:-2], 1, 1).reshape(-1, 1, 1, 1)
        if divisor.is_complex():
            factor = per_image.reciprocal()
            real, imaginary = samples.unbind(-2)
            samples = torch.stack(
                [
                    factor.real * real - factor.imag * imaginary,
                    factor.real * imaginary + factor.imag * real,
                ],
                -2,
            )
        else:
            samples = samples / per_image.unsqueeze(-1)
    return PreparedKspace(prepared.kspace / divisor, prepared.mask, prepared.axes, samples, prepared.weights)


def data_consistency_prepared(image: Tensor, prepared: PreparedKspace, eta: Tensor | float) -> Tensor:
    """Apply `data_consistency` with data from `prepare_data_consistency`.

    Parameters
    ----------
    image
        complex, shape and dtype of ``prepared.kspace``; or real, ``(batch, 2 m, ny, nx)``: the real, then the imaginary
        parts of m replicas that all belong to the same k-space, ``(batch, ny, nx)`` or ``(batch, 1, ny, nx)``. Any
        strides; rows of adjacent elements are read in place.
    prepared
        Measured data.
    eta
        As in `data_consistency`; for replicas a step for each image is ``(batch, 1, 1, 1)``.

    Returns
    -------
        ``image + eta F^H M (kspace - F image)``; dtype and shape of `image`, contiguous.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit together.
    """
    _check_prepared(prepared)
    kspace, mask, axes, samples, weights = prepared
    arguments = image, kspace, samples, weights, eta
    if _CHECKED.include(arguments) and image.shape == kspace.shape and not reference.active():
        number = eta if isinstance(eta, Tensor) else _kept_step(eta, kspace.dtype)
        return kernels.apply_now(image, samples, weights, number, axes, True)  # type: ignore[arg-type]
    _check_image(image, kspace)
    step = _step(eta, kspace, image)
    if reference.active() or not kernels.cover(image):
        return reference.data_consistency(image, kspace, mask, step)
    _check_packed(prepared)
    if samples is not None and step.ndim == 0:
        if (step is eta or type(eta) is float) and image.is_complex() and is_direct(arguments):
            _CHECKED.add(arguments)
        result: Tensor = kernels.apply(image, samples, weights, step, axes, True)
        return result
    prepared = _packed(prepared)
    return _applied(image, prepared.samples, prepared, step, add_image=True)


def data_consistency_normal_term(image: Tensor, prepared: PreparedKspace, eta: Tensor | float) -> Tensor:
    """Return ``-eta F^H M F image``, the part of a data step that depends on the image (GA-HQS eq. 7a, third term).

    Parameters and errors as in `data_consistency_prepared`; the measured data are not used.
    """
    _check_prepared(prepared)
    _check_image(image, prepared.kspace)
    step = _step(eta, prepared.kspace, image)
    if reference.active() or not kernels.cover(image):
        return reference.data_consistency_normal_term(image, prepared.kspace, prepared.mask, step)
    _check_packed(prepared)
    prepared = _packed(prepared)
    return _applied(image, None, prepared, step, add_image=False)


def _applied(image: Tensor, samples: Tensor | None, prepared: PreparedKspace, step: Tensor, add_image: bool) -> Tensor:
    own, at_once = _split(step)
    result: Tensor = kernels.apply(image, samples, prepared.weights, own, prepared.axes, add_image and at_once)
    if step.ndim:
        result = image + step * result if add_image else step * result
    return result


def _split(step: Tensor) -> tuple[Tensor, bool]:
    """Return the step that kernels take, one for all images, and whether it is the whole."""
    return (step, True) if step.ndim == 0 else (step.new_ones(()), False)


# Arguments of `data_consistency_prepared` that went through all checks and straight to the kernel: nearly always those
# of the next call are alike, and small images wait for nothing but checks.
_CHECKED = AlikeCalls()


@lru_cache(maxsize=256)
def _kept_step(eta: float, dtype: torch.dtype) -> Tensor:
    return torch.full((), eta, dtype=packed.REAL_DTYPES[dtype], device="cpu")


# --- checks: everything that kernels take for granted --------------------------------------------------------------
_NUMBERS = (float, int, torch.SymFloat, torch.SymInt)


def _check_measured(kspace: Tensor, mask: Tensor) -> None:
    if type(kspace) is not Tensor or type(mask) is not Tensor:
        require_tensors("data_consistency", kspace=kspace, mask=mask)
    if kspace.dtype not in packed.REAL_DTYPES:
        raise TypeError(
            f"data_consistency: kspace is {kspace.dtype}, expected torch.complex64 or torch.complex128"
            f"{packed.view_as_complex(kspace)}"
        )
    packed.check_mask("data_consistency", "kspace", kspace, mask)
    size, full = mask.shape, kspace.shape
    # equal nearly always, and small images wait for nothing else
    if len(full) < 2 or not (size == full[-len(size) :] or broadcasts(size, full)):
        raise ValueError(
            f"data_consistency: mask {tuple(mask.shape)} does not broadcast to kspace {tuple(kspace.shape)}, "
            f"which must be (..., ny, nx){of_pairs(size, full)}"
        )


def _check_image(image: Tensor, kspace: Tensor) -> None:
    if type(image) is not Tensor:
        require_tensors("data_consistency", image=image)
    if image.device != kspace.device:
        raise ValueError(f"data_consistency: image is on {image.device}, kspace on {kspace.device}")
    if image.dtype is kspace.dtype and image.shape == kspace.shape:
        return
    if image.is_complex():
        if image.dtype != kspace.dtype:
            raise TypeError(f"data_consistency: image is {image.dtype}, kspace {kspace.dtype}")
        raise ValueError(f"data_consistency: image {tuple(image.shape)}, kspace {tuple(kspace.shape)}: they differ")
    autocast = image.is_floating_point() and autocasting(image.device)
    if image.dtype != packed.REAL_DTYPES[kspace.dtype] and not autocast:
        raise TypeError(f"data_consistency: image is {image.dtype}, kspace {kspace.dtype}")
    expected = (kspace.shape[0], *kspace.shape[-2:])
    single = kspace.ndim == 3 or (kspace.ndim == 4 and kspace.shape[1] == 1)
    if image.ndim != 4 or image.shape[1] % 2 or not single or (image.shape[0], *image.shape[-2:]) != expected:
        raise ValueError(
            f"data_consistency: a real image must be (batch, 2 m, ny, nx) for kspace (batch, ny, nx) or "
            f"(batch, 1, ny, nx); got image {tuple(image.shape)}, kspace {tuple(kspace.shape)}"
            f"{packed.view_as_complex(image)}"
        )


def _check_prepared(prepared: PreparedKspace) -> None:
    if type(prepared) is not PreparedKspace:
        raise TypeError(
            f"data_consistency: prepared is a {type(prepared).__name__}, expected what prepare_data_consistency returns"
        )


def _check_packed(prepared: PreparedKspace) -> None:
    """Raise TypeError or ValueError unless the packed tensors are of the dtype and on the device of k-space.

    Kernels check their shapes.
    """
    if prepared.axes not in packed.AXES:
        raise ValueError(f"data_consistency: axes of prepared k-space are {prepared.axes!r}, not one of {packed.AXES}")
    kspace, dtype = prepared.kspace, packed.REAL_DTYPES[prepared.kspace.dtype]
    for name, x in (("samples", prepared.samples), ("weights", prepared.weights)):
        if x is not None and x.dtype is not dtype:
            raise TypeError(f"data_consistency: prepared {name} are {x.dtype}, kspace is {kspace.dtype}")
        if x is not None and x.device != kspace.device:
            raise ValueError(f"data_consistency: prepared {name} are on {x.device}, kspace on {kspace.device}")


def _step(eta: Tensor | float, kspace: Tensor, image: Tensor | None = None) -> Tensor:
    """Return eta as a real tensor of the dtype and on the device of the data; without axes if it is one number.

    A number for each image needs `image`, against which it broadcasts.
    """
    dtype = packed.REAL_DTYPES[kspace.dtype]
    if isinstance(eta, Tensor) and eta.dtype is dtype and eta.ndim == 0 and eta.device == kspace.device:
        return eta
    if not isinstance(eta, Tensor):
        number = eta if isinstance(eta, _NUMBERS) else _number(eta)
        return torch.full((), number, dtype=dtype, device=kspace.device)
    if eta.is_complex():
        raise TypeError(f"data_consistency: eta is {eta.dtype} {tuple(eta.shape)}, expected one real number")
    if eta.numel() != 1:
        if image is None or not _is_per_image(eta, image):
            shapes = (
                ""
                if image is None
                else f" or, for image {tuple(image.shape)}, {(image.shape[0], *(1,) * (image.ndim - 1))}"
            )
            raise TypeError(
                f"data_consistency: eta is {eta.dtype} {tuple(eta.shape)}, expected one real number{shapes}"
            )
        return eta.to(device=kspace.device, dtype=dtype)
    if eta.device != kspace.device and eta.device.type != "cpu":
        raise ValueError(f"data_consistency: eta is on {eta.device}, kspace on {kspace.device}")
    return eta.reshape(()).to(device=kspace.device, dtype=dtype)


def _number(eta: Any) -> float:
    if not isinstance(eta, Real):  # as NumPy's scalars are
        raise TypeError(f"data_consistency: eta is a {type(eta).__name__}, expected one real number or a torch.Tensor")
    return float(eta)


def _is_per_image(eta: Tensor, image: Tensor) -> bool:
    """Whether eta has a number for each image of a batch, and the axes to say so."""
    return eta.ndim == image.ndim and eta.shape[-2:] == (1, 1) and broadcasts(eta.shape[:-2], image.shape[:-2])


def _packed(prepared: PreparedKspace) -> PreparedKspace:
    """Return the data with packed samples, should they have been prepared under `reference_ops`."""
    return prepared if prepared.samples is not None else prepare_data_consistency(prepared.kspace, prepared.mask)
