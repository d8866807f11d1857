"""`Mirrored`: a network that reconstructs the mirror images of its data too, and takes the mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes that are mirrored; each costs as much time as the network alone."""


class Mirrored(nn.Module):
    """The mean of what a network makes of k-space and of its mirror images, ``1/4 sum_m M_m f(M_m y; M_m M, M_m S)``.

    The object and its mirror images are equally likely, but a network knows that only as well as it was trained; what
    its four errors do not share gets smaller in the mean. A mirror image x(-r) has the spectrum y(-k), and both are
    exact permutations of pixels and samples. The result is invariant: mirrored data give the mirrored image.

    Parameters
    ----------
    network
        ``network(kspace, mask, sens_maps)``, as `csmri_ext.recon.network_method.Network` runs it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        kspace
            complex64 (batch, ny, nx), or (batch, coils, ny, nx); centred.
        mask
            bool (nx,) or (..., ny, nx).
        sens_maps
            complex64, of the shape of k-space; None for one coil.

        Returns
        -------
            complex64 (batch, ny, nx).
        """
        images = []
        for axes in MIRRORS:
            maps = None if sens_maps is None else mirror(sens_maps, axes)
            image = self.network(mirror(kspace, axes), mirror(mask, axes), maps)
            images.append(mirror(image, axes))
        return torch.stack(images).mean(0)


def mirror(array: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Mirror an image or a spectrum about its centre, element ``n // 2``, along those of the last axes that it has."""
    own = [axis for axis in axes if array.ndim >= -axis]
    if not own:
        return array
    return array.flip(own).roll([1 - array.shape[axis] % 2 for axis in own], own)
