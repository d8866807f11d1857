"""`E2EVarNet`: fastMRI's end-to-end variational network (Sriram et al., MICCAI 2020), which finds the coils itself.

The parameters carry fastMRI's names, so that its state dicts load as they are; see `baselines.networks.checkpoints`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.base import ChannelNetwork
from baselines.networks.unet_fastmri import UNetFastMRILayers
from csmri_ext.nn import as_channels, as_complex
from csmri_ext.nn.learned_number import learned_number
from csmri_ext.ops import data_consistency_prepared, prepare_data_consistency
from csmri_ext.physics import ifft2c, low_resolution_phase
from csmri_ext.physics.fitting import check_measurement, require_broadcast
from csmri_ext.physics.residual import sampled

MULTIPLE = 16  # of both sides inside a NormUnet, whatever its depth


class E2EVarNet(ChannelNetwork):
    """Soft data consistency and a U-net in every cascade, with sensitivities from a U-net of their own.

    In k-space, as published: ``k <- k - w M (k - y) - F S U(S^H F^H k)``, from y. F is unitary, so that on coil images
    x it is ``x <- x + w F^H M (y - F x) - S U(S^H x)``: one fused data step a cascade and no other transform. S is
    what `sens_net` makes of the fully sampled centre of k-space, around the echo unless `as_published`. 29,936,966
    parameters with two channels.

    The image that fastMRI scores is the magnitude ``rss(model.coil_images(kspace, mask))``. What the model returns is
    complex: the coil images combined by the sensitivities that were given, ``sum conj(S) x / sum |S|^2``. None given: a
    single coil has sensitivity 1, several are combined by the network's own.

    With sensitivities, or one coil, the phase at low resolution is not seen by the networks, as in
    `csmri_ext.nn.Reconstructor`; without, a constant phase and the unit of k-space are not.

    Parameters
    ----------
    in_chans
        Channels of the combined image in the cascades: 2, or 1 for images that are real.
    cascades
        Number of cascades.
    chans, pools
        Features of the first level and down-samplings of the U-nets in the cascades.
    sens_chans, sens_pools
        The same of the U-net for the sensitivities.
    peak
        As in `csmri_ext.nn.Reconstructor`. The U-nets normalize what they get, so that it decides about rounding only.
    as_published
        Leave k-space as it is, its phase and its unit: what fastMRI's published weights were trained on.
    """

    channels_last: ClassVar[bool] = False
    needs_sens_maps: ClassVar[bool] = False

    def __init__(
        self,
        in_chans: int = 2,
        cascades: int = 12,
        chans: int = 18,
        pools: int = 4,
        sens_chans: int = 8,
        sens_pools: int = 4,
        peak: float | None = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.as_published = as_published
        self.sens_net = SensitivityNetwork(sens_chans, sens_pools)
        self.cascades = nn.ModuleList(VarNetBlock(NormUNet(in_chans, chans, pools)) for _ in range(cascades))

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of slices; as `csmri_ext.nn.Reconstructor`, but several coils need no `sens_maps`.

        One side at least must be longer than the lowest level of the U-nets is coarse: 16 with four poolings.
        """
        images, own = self._run(kspace, mask, sens_maps)
        image = combined(images, sens_maps if sens_maps is not None or images.shape[1] == 1 else own)
        return as_complex(as_channels(image, 1)) if self.in_chans == 1 else image

    def coil_images(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        """Return the image of each coil, complex ``(batch, coils, ny, nx)``, before they are combined.

        Parameters and errors as of `forward`.
        """
        return self._run(kspace, mask, sens_maps)[0]

    def _run(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coil images in the unit of k-space, and the sensitivities of the network."""
        self._check_kspace(kspace, sens_maps)
        if kspace.ndim == 4 and sens_maps is None:
            check_measurement(kspace[:, :1], None, None)
            check_measurement(None, mask, None)
            require_broadcast(mask, "kspace", kspace)
        else:
            check_measurement(kspace, mask, sens_maps)
        if kspace.ndim == 3:
            kspace = kspace.unsqueeze(1)
            mask = mask.unsqueeze(1) if mask.ndim == 3 else mask
        measured = sampled(kspace, mask)
        x = ifft2c(measured)
        scale = x.new_ones((), dtype=x.real.dtype)
        if self.peak is not None and not self.as_published:
            highest = x.abs().amax((-3, -2, -1), keepdim=True)
            scale = torch.where(highest > 0, highest / self.peak, 1)
        measured, x = measured / scale, x / scale
        low = low_frequencies(mask, measured, around_echo=not self.as_published)
        own = self.sens_net(ifft2c(measured * low), self._phase(x, sens_maps))
        prepared = prepare_data_consistency(measured, mask)
        for cascade in self.cascades:
            assert isinstance(cascade, VarNetBlock)
            refined = cascade.model(self.channels((own.conj() * x).sum(1)))
            consistent = data_consistency_prepared(x, prepared, cascade.dc_weight)
            x = consistent - own * as_complex(refined).unsqueeze(1)
        return x * scale, own

    def _phase(self, coil_images: Tensor, sens_maps: Tensor | None) -> Tensor:
        """Return what the networks shall not see, complex numbers of magnitude 1 that broadcast to coil images."""
        if self.as_published or self.in_chans == 1:
            return coil_images.new_ones(())
        if sens_maps is not None or coil_images.shape[1] == 1:
            smooth = self.remove_phase
            image = combined(coil_images, sens_maps).unsqueeze(1)
        else:
            smooth, image = False, coil_images
        if smooth:
            return low_resolution_phase(image)
        direction = (image * image.abs()).sum((-3, -2, -1), keepdim=True)  # as of `Encoding.normalized`
        return torch.where(direction == 0, 1, direction.sgn())


class VarNetBlock(nn.Module):
    """The weights of a cascade.

    Parameters
    ----------
    model
        Refines the combined image.
    """

    def __init__(self, model: NormUNet) -> None:
        super().__init__()
        self.model = model
        self.dc_weight = learned_number(1.0)


class SensitivityNetwork(nn.Module):
    """Sensitivities from coil images of low resolution, each by the same U-net.

    Parameters
    ----------
    chans, pools
        Features of the first level, number of down-samplings.
    """

    def __init__(self, chans: int, pools: int) -> None:
        super().__init__()
        self.norm_unet = NormUNet(2, chans, pools)

    def forward(self, coil_images: Tensor, phase: Tensor) -> Tensor:
        """``S = phase U(conj(phase) x_c) / rss``: complex ``(batch, coils, ny, nx)``, ``sum |S|^2 = 1``.

        Parameters
        ----------
        coil_images
            complex ``(batch, coils, ny, nx)``, of the centre of k-space.
        phase
            Broadcasts to them; stays in the sensitivities.
        """
        batch, coils = coil_images.shape[:2]
        turned = (coil_images * phase.conj()).flatten(0, 1)
        maps = as_complex(self.norm_unet(as_channels(turned))).unflatten(0, (batch, coils))
        energy = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
        return phase * maps / torch.where(energy > 0, energy, 1)


class NormUNet(nn.Module):
    """fastMRI's U-net on channels of mean 0 and standard deviation 1, undone behind it.

    Parameters
    ----------
    channels
        Channels in and out.
    chans, pools
        Features of the first level, number of down-samplings.
    """

    def __init__(self, channels: int, chans: int, pools: int) -> None:
        super().__init__()
        self.unet = UNetFastMRILayers(channels, channels, chans, pools, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Real ``(batch, channels, ny, nx)`` to the same shape; zeros around it complete both sides to sixteens."""
        ny, nx = x.shape[-2:]
        deviation, mean = torch.std_mean(x, dim=(-2, -1), keepdim=True)
        divisor = torch.where(deviation > 0, deviation, 1)  # an empty slice stays empty
        above, left = -ny % MULTIPLE // 2, -nx % MULTIPLE // 2
        around = (left, -nx % MULTIPLE - left, above, -ny % MULTIPLE - above)
        y = self.unet(functional.pad(((x - mean) / divisor).contiguous(), around))
        return y[..., above : above + ny, left : left + nx] * deviation + mean


def combined(coil_images: Tensor, sens_maps: Tensor | None) -> Tensor:
    """``sum conj(S) x / sum |S|^2``, the image that explains the coil images best; 0 where no coil sees anything.

    Parameters
    ----------
    coil_images
        x, complex ``(batch, coils, ny, nx)``.
    sens_maps
        S, ``(coils, ny, nx)`` or like x; None: 1, of a single coil.

    Returns
    -------
        ``(batch, ny, nx)``.
    """
    if sens_maps is None:
        return coil_images[:, 0]
    energy = sens_maps.abs().square().sum(-3)
    return (sens_maps.conj() * coil_images).sum(-3) / torch.where(energy > 0, energy, 1)


def low_frequencies(mask: Tensor, kspace: Tensor, *, around_echo: bool = False) -> Tensor:
    """Find the fully sampled centre of k-space from which the sensitivities are estimated.

    For columns it is fastMRI's: ``2 m`` of them around the centre, m the shorter of the two runs of sampled columns
    that end and begin at ``nx // 2``; one if there is none. (Where nothing is left out, fastMRI takes one as well; here
    it is everything.) The same along y for rows, and a square in the plane.

    Parameters
    ----------
    mask
        bool, broadcasts to `kspace`.
    kspace
        ``(batch, coils, ny, nx)``, zero where nothing was acquired.
    around_echo
        Take the same around the strongest sample of each slice, where that has more samples.

    Returns
    -------
        bool, broadcasts to `kspace`.
    """
    ny, nx = kspace.shape[-2:]
    none = torch.zeros((1, 1), dtype=torch.long, device=mask.device)
    middle = _around(mask, ny, nx, none, none)
    if not around_echo:
        return middle
    place = kspace.abs().square().sum(1).flatten(1).argmax(1)[:, None, None, None]
    own = _around(mask, ny, nx, place // nx - ny // 2, place % nx - nx // 2)
    sizes = [found.expand(kspace.shape).sum((-2, -1), keepdim=True).amax(1, keepdim=True) for found in (own, middle)]
    return torch.where(sizes[0] > sizes[1], own, middle)


def _around(mask: Tensor, ny: int, nx: int, down: Tensor, right: Tensor) -> Tensor:
    """Find the window around a sample that lies so many rows and columns off the middle, ``(..., 1, 1)``."""
    plane = mask.expand(*mask.shape[:-2], ny, nx)
    row = torch.arange(ny, device=mask.device)[:, None] - down
    column = torch.arange(nx, device=mask.device) - right
    x, y = _distance(column, nx), _distance(row, ny)
    columns, rows = plane.all(-2, keepdim=True), plane.all(-1, keepdim=True)
    by_columns = _window(column, nx, _first_missing(columns, x))
    by_rows = _window(row, ny, _first_missing(rows, y))
    half = _first_missing(plane, torch.maximum(y, x))
    square = _window(column, nx, half) & _window(row, ny, half)
    # by comparison: an index would fix the size in a compiled function
    whole_column = (columns | (column != nx // 2)).all(-1, keepdim=True)
    whole_row = (rows | (row != ny // 2)).all(-2, keepdim=True)
    return torch.where(whole_column, by_columns, torch.where(whole_row, by_rows, square))


def _distance(index: Tensor, n: int) -> Tensor:
    """How many samples lie between a position and the border ``n // 2 - 1 | n // 2``, on its own side of it."""
    index = index - n // 2
    return torch.where(index < 0, -1 - index, index)


def _first_missing(flags: Tensor, distance: Tensor) -> Tensor:
    """Shortest distance at which something is missing, ``(..., 1, 1)``; beyond all of them if nothing is."""
    beyond = distance.amax() + 1
    return torch.where(flags, beyond, distance).amin((-2, -1), keepdim=True)


def _window(index: Tensor, n: int, half: Tensor) -> Tensor:
    """``2 half`` positions around the centre as fastMRI counts them, at least one, as positions lie in `index`."""
    width = (2 * half).clamp(min=1)
    start = (n - width + 1) // 2
    return (index >= start) & (index < start + width)
