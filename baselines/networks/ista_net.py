"""ISTA-Net and ISTA-Net+: iterative shrinkage with learned transforms.

Zhang, Ghanem, "ISTA-Net: Interpretable optimization-inspired deep network for image compressive sensing" (2018). The
GA-HQS paper's parameter count fits ISTA-Net+ with 8 stages of 64 features on real images; the published networks have 9
stages of 32.

The backward transform of a stage shall invert its forward transform. Training therefore adds to the mean squared error
0.01 times `ISTANetBase.symmetry_loss`, which is the `extra_loss` of these networks::

    image = model.train()(kspace, mask)
    loss = (image - target).abs().square().mean() + model.extra_loss()
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.base import ChannelNetwork
from csmri_ext.nn import as_complex
from csmri_ext.nn.learned_number import learned_number
from csmri_ext.physics import Encoding

SYMMETRY_WEIGHT = 0.01


class ISTANetBase(ChannelNetwork):
    """``r = x + step A^H (y - A x)``, ``x <- stage(r)``, in turn, from the zero-filled image.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    stages
        Modules with a parameter `step` that return the next x and the symmetry residual.
    """

    def __init__(self, in_chans: int, stages: list[nn.Module], peak: float | None) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.stages = nn.ModuleList(stages)
        self._symmetry: Tensor | None = None

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        """Run the stages; in training keep what `symmetry_loss` returns."""
        x, symmetry = self.channels(image), []
        for stage in cast("list[Stage | StagePlus]", list(self.stages)):
            x, residual = stage(self.step(encoding, x, stage.step))
            if residual is not None:
                symmetry.append(residual.square().mean())
        self._symmetry = torch.stack(symmetry).sum() if symmetry else None
        return as_complex(x)

    def symmetry_loss(self) -> Tensor:
        """Sum over the stages of the mean of ``(backward(forward(d)) - d)^2``, from the last forward pass in training.

        Raises
        ------
        RuntimeError
            If the last forward pass was not in training mode, or the loss was taken already.
        """
        if self._symmetry is None:
            raise RuntimeError("symmetry_loss: run model.train()(kspace, mask) first, once for each call")
        loss, self._symmetry = self._symmetry, None
        return loss

    def extra_loss(self) -> Tensor | None:
        """0.01 `symmetry_loss`, the weight of the authors' code; None where the last forward pass was no training."""
        return None if self._symmetry is None else SYMMETRY_WEIGHT * self.symmetry_loss()

    def __getstate__(self) -> dict[str, Any]:
        # a tensor with a history cannot be copied, and belongs to one forward pass of this object
        return {**self.__dict__, "_symmetry": None}


class ISTANet(ISTANetBase):
    """ISTA-Net; 171,090 parameters with one channel.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    stages
        Number of stages.
    chans
        Features.
    """

    def __init__(self, in_chans: int = 2, stages: int = 9, chans: int = 32, peak: float | None = 1.0) -> None:
        super().__init__(in_chans, [Stage(in_chans, chans) for _ in range(stages)], peak)


class ISTANetPlus(ISTANetBase):
    """ISTA-Net+; 1,188,880 parameters with one channel, 1,198,096 with two.

    Parameters
    ----------
    in_chans, stages, chans, peak
        As in `ISTANet`.
    """

    def __init__(self, in_chans: int = 2, stages: int = 8, chans: int = 64, peak: float | None = 1.0) -> None:
        super().__init__(in_chans, [StagePlus(in_chans, chans) for _ in range(stages)], peak)


class Stage(nn.Module):
    """``x = B(soft(F(r)))`` with transforms F and B of two 3x3 convolutions and a ReLU.

    Parameters
    ----------
    in_chans
        Channels of the image.
    chans
        Features.
    """

    def __init__(self, in_chans: int, chans: int) -> None:
        super().__init__()
        self.step = learned_number(0.5)
        self.threshold = learned_number(0.01)
        self.transform = nn.Sequential(conv(in_chans, chans), nn.ReLU(inplace=True), conv(chans, chans))
        self.inverse = nn.Sequential(conv(chans, chans), nn.ReLU(inplace=True), conv(chans, in_chans))

    def forward(self, r: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the next image, and in training ``B(F(r)) - r``."""
        transformed = self.transform(r)
        x = self.inverse(soft_threshold(transformed, self.threshold))
        return x, self.inverse(transformed) - r if self.training else None


class StagePlus(nn.Module):
    """``x = r + G B(soft(F(D r)))``: D and G, one 3x3 convolution each, lead to the features and back.

    Parameters
    ----------
    in_chans, chans
        As in `Stage`.
    """

    def __init__(self, in_chans: int, chans: int) -> None:
        super().__init__()
        self.step = learned_number(0.5)
        self.threshold = learned_number(0.01)
        self.embed = conv(in_chans, chans)
        self.transform = nn.Sequential(conv(chans, chans), nn.ReLU(inplace=True), conv(chans, chans))
        self.inverse = nn.Sequential(conv(chans, chans), nn.ReLU(inplace=True), conv(chans, chans))
        self.project = conv(chans, in_chans)

    def forward(self, r: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the next image, and in training ``B(F(D r)) - D r``."""
        features = self.embed(r)
        transformed = self.transform(features)
        x = r + self.project(self.inverse(soft_threshold(transformed, self.threshold)))
        return x, self.inverse(transformed) - features if self.training else None


def soft_threshold(x: Tensor, threshold: Tensor) -> Tensor:
    """``sign(x) max(|x| - threshold, 0)``; the threshold is learned and may turn negative.

    Parameters
    ----------
    x
        Real, any shape.
    threshold
        One number.
    """
    return torch.sign(x) * functional.relu(x.abs() - threshold)


def conv(in_chans: int, out_chans: int) -> nn.Conv2d:
    """Build a 3x3 convolution without bias, its weights from Xavier's normal distribution.

    Parameters
    ----------
    in_chans, out_chans
        Channels in and out.
    """
    layer = nn.Conv2d(in_chans, out_chans, 3, padding=1, bias=False)
    nn.init.xavier_normal_(layer.weight)
    return layer
