"""HQS and A-HQS: half-quadratic splitting, unrolled, with any denoiser (GA-HQS, eq. 3 to 6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from csmri_ext.nn import MSST, Reconstructor, UNet
from csmri_ext.nn.complex import at_least_float32
from csmri_ext.physics import Encoding


class ResidualCNN(nn.Module):
    """``x + net(x)``, net of 3x3 convolutions with ReLU between: the small denoiser of `HQS`.

    Parameters
    ----------
    channels
        Channels in and out.
    layers, width
        Number of convolutions, at least 2, and channels between them.
    """

    net: nn.Sequential

    def __init__(self, channels: int, layers: int = 5, width: int = 64) -> None:
        super().__init__()
        widths = [channels, *[width] * (layers - 1), channels]
        modules: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            modules += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*modules[:-1])

    @property
    def last(self) -> nn.Conv2d:
        """The convolution whose output is added to the input."""
        last = self.net[-1]
        assert isinstance(last, nn.Conv2d)
        return last

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape."""
        result: Tensor = x + self.net(x)
        return result


class ResidualUNet(nn.Module):
    """``x + net(x)``, net a `UNet`: the denoiser of baseline-3. The text says only "Unet"; the sum is ours.

    Parameters
    ----------
    channels
        Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = UNet(channels, channels)

    @property
    def last(self) -> nn.Conv2d:
        """The convolution whose output is added to the input."""
        return self.net.last

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, ny, nx)`` to the same shape."""
        result: Tensor = x + self.net(x)
        return result


DENOISERS: dict[str, Callable[..., nn.Module]] = {"cnn": ResidualCNN, "msst": MSST, "unet": ResidualUNet}
STARTS = ("identity", "literal")
THETA = 4.0


class HQS(Reconstructor):
    """Unrolled minimization of ``1/2 ||y - F_u x||^2 + lambda R(x)``, splitting R off into z.

    For k = 0 ... K-1, from ``z_0 = zhat_0 = x_0 = F_u^H y`` (GA-HQS, eq. 3 to 6)::

        x_{k+1}    = argmin_x 1/2 ||y - F_u x||^2 + mu_k/2 ||x - zhat_k||^2
        z_{k+1}    = D_k(x_{k+1})
        zhat_{k+1} = z_{k+1} + beta_k (z_{k+1} - z_k)        accelerated (A-HQS); else zhat = z

    and, for the image, a last data step from the mean of the replicas of ``zhat_K``. Multi-coil data steps are
    conjugate gradients, see `Encoding.proximal`.

    Parameters
    ----------
    denoiser
        D_k, made for each stage: ``"cnn"``, ``"msst"``, ``"unet"``, or a function of the number of channels.
    width
        Channels inside the denoiser, of ``"cnn"`` and ``"msst"``; default the denoiser's own.
    stages
        K.
    replicas
        m: the denoisers see m copies of the image that develop differently, ``in_chans * m`` channels: all real parts
        first. 1 in HQS and A-HQS.
    accelerated
        Extrapolate (A-HQS).
    final_step
        End with a data step. Without it the image is the mean of the replicas of ``z_K``, and stage K does not
        extrapolate.
    checkpointing
        Keep only the borders of stages for the backward pass and compute the rest again: less memory, more time.
    start
        ``"identity"``: the last convolution of each denoiser is zero at first, so that a fresh network is the algorithm
        with an identity denoiser, no worse than the zero-filled image. ``"literal"``: random, as torch draws layers; a
        fresh network then spoils the image. A denoiser made by a function starts as it is made.
    in_chans, peak
        As in `Reconstructor`.

    Attributes
    ----------
    theta
        ``mu_k = exp(-theta_k)``, so ``eta_k = 1 / (1 + mu_k) = sigmoid(theta_k)``. Starts at `THETA`, eta = 0.98, since
        samples are nearly right and a step of Adam moves theta little; at 0, eta = 1/2, with the literal start.
    beta
        ``beta_k``, unbounded; starts at 0.1.
    """

    def __init__(
        self,
        denoiser: str | Callable[[int], nn.Module] = "cnn",
        *,
        stages: int = 8,
        replicas: int = 1,
        accelerated: bool = False,
        final_step: bool = True,
        checkpointing: bool = False,
        width: int | None = None,
        start: str = "identity",
        in_chans: int = 2,
        peak: float | None = 1.0,
    ) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        if isinstance(denoiser, str) and denoiser not in DENOISERS:
            raise ValueError(f"denoiser is {denoiser!r}, expected one of {', '.join(DENOISERS)} or a function")
        if stages < 1 or replicas < 1:
            raise ValueError(f"{stages} stages with {replicas} replicas: at least one of each is needed")
        if start not in STARTS:
            raise ValueError(f"start is {start!r}, expected {' or '.join(STARTS)}")
        if width is not None and (denoiser not in ("cnn", "msst") or width < 1):
            raise ValueError(f"width is {width} for the denoiser {denoiser!r}; cnn and msst have one, at least 1")
        make: Callable[..., nn.Module] = DENOISERS[denoiser] if isinstance(denoiser, str) else denoiser
        if width is not None:
            make = partial(make, width=width)
        self.stages, self.replicas, self.channels = stages, replicas, in_chans * replicas
        self.accelerated, self.final_step, self.checkpointing = accelerated, final_step, checkpointing
        self.extrapolations = (stages if final_step else stages - 1) if accelerated else 0
        self.denoisers = nn.ModuleList(make(self.channels) for _ in range(stages))
        if start == "identity":
            for made in self.denoisers:
                start_as_identity(made)
        self.theta = nn.Parameter(torch.full((stages + final_step,), THETA if start == "identity" else 0.0))
        self.beta = nn.Parameter(torch.full((self.extrapolations,), 0.1)) if self.extrapolations else None

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run all stages, then the last data step."""
        zero_filled = self.spread(image)
        z = zhat = self.first(encoding, image, zero_filled)
        for k in range(self.stages):
            z, zhat = self._maybe_checkpointed(k, z, zhat, zero_filled, encoding)
        image = self.collect(zhat)
        return self._last_step(image, encoding) if self.final_step else image

    def first(self, encoding: Encoding, image: Tensor, zero_filled: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``z_0``, the replicas of the zero-filled image."""
        return zero_filled

    def stage(self, k: int, z: Tensor, zhat: Tensor, zero_filled: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return ``z_{k+1}`` and ``zhat_{k+1}``, real ``(batch, channels, ny, nx)`` like the inputs."""
        x = self.on_replicas(lambda images: encoding.proximal(images, torch.exp(-self.theta[k])), zhat)
        following = self.denoisers[k](x)
        if self.beta is None or k >= self.extrapolations:
            return following, following
        return following, following + self.beta[k] * (following - z)

    def spread(self, image: Tensor) -> Tensor:
        """Complex ``(batch, ny, nx)`` to its replicas, real ``(batch, channels, ny, nx)``, contiguous."""
        parts = torch.view_as_real(image.resolve_conj()).movedim(-1, 1)[:, : self.in_chans]
        return parts.unsqueeze(2).expand(-1, -1, self.replicas, -1, -1).flatten(1, 2).contiguous()

    def collect(self, channels: Tensor) -> Tensor:
        """Mean of the replicas, complex ``(batch, ny, nx)``."""
        real, *imaginary = at_least_float32(channels).unflatten(1, (self.in_chans, self.replicas)).mean(2).unbind(1)
        return torch.complex(real, imaginary[0] if imaginary else torch.zeros_like(real))

    def on_replicas(self, function: Callable[[Tensor], Tensor], channels: Tensor) -> Tensor:
        """Apply a step of `Encoding` to all replicas; with real images the real part of the result is kept."""
        if self.in_chans == 2:
            return function(channels)
        return function(torch.cat([channels, torch.zeros_like(channels)], 1))[:, : self.channels]

    def _last_step(self, image: Tensor, encoding: Encoding) -> Tensor:
        return encoding.proximal(image, torch.exp(-self.theta[-1]))

    def _maybe_checkpointed(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        if self.checkpointing and torch.is_grad_enabled():
            result: tuple[Tensor, Tensor] = checkpoint(self.stage, *arguments, use_reentrant=False)
            return result
        return self.stage(*arguments)


def start_as_identity(denoiser: nn.Module) -> None:
    """Zero the last convolution of a denoiser that adds its input; leave any other module as it is."""
    if isinstance(denoiser, (ResidualCNN, ResidualUNet, MSST)):
        nn.init.zeros_(denoiser.last.weight)
        if denoiser.last.bias is not None:
            nn.init.zeros_(denoiser.last.bias)
