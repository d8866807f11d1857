"""`Reconstructor`: what all reconstruction networks share, so that each file holds only its own network."""

from __future__ import annotations

from torch import Tensor, nn

from csmri_ext.nn.data_step import DataStep


class Reconstructor(nn.Module):
    """Base of every reconstruction network: checks its input, scales it, and undoes the scaling.

    A subclass implements `reconstruct`. What it sees is scaled so that each zero-filled slice has the maximum magnitude
    `peak`; so k-space in scanner units works, and the network is homogeneous: ``model(c kspace) = c model(kspace)``
    for ``c > 0``.

    Parameters
    ----------
    in_chans
        Channels of an image inside the network, see `as_channels`: 2 for real and imaginary part, 1 for images that are
        real.
    peak
        Maximum magnitude of a zero-filled slice inside the network; None turns the scaling off, for networks trained on
        images of known range.

    Raises
    ------
    ValueError
        Another number of channels, or a `peak` that is not positive.
    """

    def __init__(self, *, in_chans: int = 2, peak: float | None = 1.0) -> None:
        super().__init__()
        if in_chans not in (1, 2):
            raise ValueError(f"in_chans is {in_chans}, expected 1 (real images) or 2 (complex ones)")
        if peak is not None and not peak > 0:
            raise ValueError(f"peak is {peak}, expected a positive number or None")
        self.in_chans, self.peak = in_chans, peak

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
            complex64 image ``(batch, ny, nx)``, in the units of `kspace`.

        Raises
        ------
        TypeError, ValueError
            Tensors that do not fit together; both shapes are named.
        """
        step = DataStep(kspace, mask, sens_maps, peak=self.peak)
        return self.reconstruct(step, step.zero_filled) * step.scale

    def reconstruct(self, step: DataStep, image: Tensor) -> Tensor:
        """Compute the image from the data.

        Parameters
        ----------
        step
            The data, scaled, behind the encoding operator.
        image
            ``step.zero_filled``, complex ``(batch, ny, nx)``.

        Returns
        -------
            complex ``(batch, ny, nx)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement reconstruct(step, image)")
