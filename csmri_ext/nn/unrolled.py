"""`Reconstructor`: what all reconstruction networks share, so that each file holds only its own network."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from csmri_ext.nn.learned_number import load_numbers_without_axis
from csmri_ext.physics import Encoding, low_resolution_phase
from csmri_ext.physics.fitting import require_tensor

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class Reconstructor(nn.Module):
    """Base of every reconstruction network: checks its input, scales it, and undoes the scaling.

    A subclass implements `reconstruct`. What it sees is scaled so that each zero-filled slice has the maximum magnitude
    `peak`, and has no phase at low resolution (`low_resolution_phase` is part of the sensitivities, and what is left is
    turned by a constant, `Encoding.normalized`); the result has all of it again. So k-space in scanner units works, and
    an echo beside the centre of k-space; and the network is homogeneous: ``model(c kspace) = c model(kspace)`` for
    every complex number c. With `in_chans` = 1, for images that are real, the phase stays, and c must be positive.

    Parameters
    ----------
    in_chans
        Channels of an image inside the network, see `as_channels`: 2 for real and imaginary part, 1 for images that are
        real.
    peak
        Maximum magnitude of a zero-filled slice inside the network; None turns the scaling off, for networks trained on
        images of known range.

    Attributes
    ----------
    needs_sens_maps
        Whether several coils need sensitivities, True; a class that finds its own says False, and `csmri recon` and
        `compare` run it where none can be estimated.
    remove_phase
        Whether the smooth phase is removed, True; set it to False to run a network as it was published, on the phase
        that the data have, up to a constant.

    Raises
    ------
    ValueError
        Another number of channels, or a `peak` that is not positive.
    """

    needs_sens_maps: ClassVar[bool] = True

    def __init__(self, *, in_chans: int = 2, peak: float | None = 1.0) -> None:
        super().__init__()
        if in_chans not in (1, 2):
            raise ValueError(f"in_chans is {in_chans}, expected 1 (real images) or 2 (complex ones)")
        if peak is not None and not 0 < peak < math.inf:
            raise ValueError(f"peak is {peak}, expected a positive number or None")
        self.in_chans, self.peak = in_chans, peak
        load_numbers_without_axis(self)
        self.remove_phase = True

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of slices of any size.

        Parameters
        ----------
        kspace
            complex64, ``(batch, ny, nx)`` or ``(batch, coils, ny, nx)``, zero frequency in the centre.
        mask
            bool, True where acquired, broadcastable to `kspace`; slices may have different masks.
        sens_maps
            complex64, ``(coils, ny, nx)`` or ``(batch, coils, ny, nx)``; needed for several coils.

        Returns
        -------
            complex64 image ``(batch, ny, nx)``, in the units and with the phase of `kspace`; 0 where all sensitivities
            are 0.

        Raises
        ------
        TypeError, ValueError
            Tensors that do not fit together; both shapes are named.
        """
        encoding = self.encode(kspace, mask, sens_maps)
        image = self.reconstruct(encoding, encoding.zero_filled) * encoding.scale
        return image if encoding.support is None else torch.where(encoding.support, image, 0)

    def encode(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Encoding:
        """Return the data as `reconstruct` sees them; parameters and errors as of `forward`."""
        self._check_kspace(kspace, sens_maps)
        encoding = Encoding(kspace, mask, sens_maps)
        if self.in_chans == 1:
            return encoding.normalized(self.peak, rotate=False)
        if self.remove_phase:
            encoding = encoding.with_phase(low_resolution_phase(encoding.zero_filled))
        return encoding.normalized(self.peak)

    def _check_kspace(self, kspace: Tensor, sens_maps: Tensor | None) -> None:
        self._check_precision(kspace, sens_maps)
        if kspace.ndim == 2 or (kspace.ndim == 3 and sens_maps is not None):
            given = "no sens_maps" if sens_maps is None else f"sens_maps {tuple(sens_maps.shape)}"
            expected = "(batch, ny, nx)" if sens_maps is None else "(batch, coils, ny, nx)"
            raise ValueError(f"kspace {tuple(kspace.shape)} with {given}: expected {expected}")

    def _check_precision(self, kspace: Tensor, sens_maps: Tensor | None) -> None:
        given = {"kspace": kspace} if sens_maps is None else {"kspace": kspace, "sens_maps": sens_maps}
        for name, x in given.items():
            require_tensor(name, x)
        for weight in self.parameters():  # the first; torch 2.7 does not compile next with a default
            for name, x in given.items():  # what is not complex is refused by `Encoding`
                if x.is_complex() and weight.dtype in COMPLEX and x.dtype != COMPLEX[weight.dtype]:
                    raise TypeError(
                        f"{name} is {x.dtype}, but the weights of the network are {weight.dtype}: pass "
                        f"{name}.to({COMPLEX[weight.dtype]}), or convert the network"
                    )
            return

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Compute the image from the data.

        Parameters
        ----------
        encoding
            The data, scaled, behind the encoding operator.
        image
            ``encoding.zero_filled``, complex ``(batch, ny, nx)``.

        Returns
        -------
            complex ``(batch, ny, nx)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement reconstruct(encoding, image)")

    def extra_loss(self) -> Tensor | None:
        """Return what a training adds to the loss of the last forward pass; None where the network has no such term."""
        return None
