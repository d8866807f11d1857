"""What the published networks share: images as one or two real channels between the data steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from csmri_ext.nn import ProximalSteps, Reconstructor, as_channels, as_complex
from csmri_ext.physics import Encoding


class ChannelNetwork(Reconstructor):
    """A network ``model(kspace, mask, sens_maps=None) -> image`` that works on real channels throughout.

    With two channels they are real and imaginary part. With one, the image is real: what a data step returns loses its
    imaginary part, as in the published code of several networks. That suits images without phase only.

    Parameters and errors as of `csmri_ext.nn.Reconstructor`.

    Attributes
    ----------
    channels_last
        Whether convolutions run in channels_last memory, the order in which complex images arrive. On a CPU this is as
        fast with two channels and up to a third faster with one; instance normalization loses by it.
    """

    channels_last: ClassVar[bool] = True

    def channels(self, image: Tensor) -> Tensor:
        """Complex ``(batch, ny, nx)`` to real ``(batch, in_chans, ny, nx)``, in `channels_last` memory if so."""
        channels = as_channels(image, self.in_chans)
        return one_channel_last(channels[:, 0]) if self.channels_last and self.in_chans == 1 else channels

    def step(self, encoding: Encoding, x: Tensor, eta: Tensor | float) -> Tensor:
        """``x + eta A^H (y - A x)`` on channels."""
        return self.channels(encoding.step(as_complex(x), eta))

    def consistent(self, encoding: Encoding, x: Tensor, steps: ProximalSteps, k: int) -> Tensor:
        """Take data step k on channels: one coil gets its acquired samples back, several the proximal step."""
        return self.channels(steps(encoding, as_complex(x), k))

    def proximal(self, encoding: Encoding, x: Tensor, mu: Tensor | float) -> Tensor:
        """``argmin_u ||A u - y||^2 + mu ||u - x||^2`` on channels."""
        return self.channels(encoding.proximal(as_complex(x), mu))


class PostProcessing(ChannelNetwork):
    """A network that is applied to the zero-filled image once, and never looks at the data again.

    Parameters
    ----------
    in_chans, peak
        As in `csmri_ext.nn.Reconstructor`.
    layers
        Real ``(batch, in_chans, ny, nx)`` to the same shape.
    """

    def __init__(self, in_chans: int, layers: nn.Module, peak: float | None) -> None:
        super().__init__(in_chans=in_chans, peak=peak)
        self.layers = layers

    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:  # noqa: ARG002
        """Apply the layers."""
        return as_complex(self.layers(self.channels(image)))


def chain_of_convolutions(channels: Sequence[int], after: Callable[[int, bool], Iterable[nn.Module]]) -> nn.Sequential:
    """Build 3x3 convolutions with bias, one behind the other.

    Parameters
    ----------
    channels
        Before the first, and behind each.
    after
        Makes what follows a convolution, from its channels and whether it is the last.
    """
    layers: list[nn.Module] = []
    for i, (before, behind) in enumerate(pairwise(channels), start=2):
        layers += [nn.Conv2d(before, behind, 3, padding=1), *after(behind, i == len(channels))]
    return nn.Sequential(*layers)


def one_channel_last(image: Tensor) -> Tensor:
    """Real ``(batch, ny, nx)`` to ``(batch, 1, ny, nx)`` with the strides by which torch knows channels_last memory.

    With one channel both orders are the same memory, and convolutions go by the stride of the channel, which decides
    about the layout of what they return.

    Parameters
    ----------
    image
        Any strides.
    """
    return image.contiguous().unsqueeze(-1).movedim(-1, 1)
