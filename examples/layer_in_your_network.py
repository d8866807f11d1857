# %% [markdown]
# # Our data consistency inside somebody else's network
#
# A network that alternates a small convolutional denoiser with data consistency, written twice: with torch's FFT as
# people write it, and with `csmri_ext.ops`. The outputs agree to rounding; the second needs no shift and no k-space.

# %%
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from csmri_ext.ops import data_consistency_prepared, prepare_data_consistency
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import fft2c, ifft2c, make_mask


class Denoiser(nn.Module):
    """Three convolutions on real and imaginary part."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 2, 3, padding=1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        change = self.layers(torch.view_as_real(image).movedim(-1, 1))
        return image + 0.1 * torch.view_as_complex(change.movedim(1, -1).contiguous())


class Usual(nn.Module):
    """``x <- z + F^H M (y - F z)``, term by term."""

    def __init__(self, denoisers: nn.ModuleList) -> None:
        super().__init__()
        self.denoisers = denoisers

    def forward(self, kspace: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        image = ifft2c(kspace)
        for denoiser in self.denoisers:
            z = denoiser(image)
            image = z + ifft2c(mask * (kspace - fft2c(z)))
        return image


class Fused(Usual):
    """The same formula as one operator; the measured data are prepared once."""

    def forward(self, kspace: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        prepared = prepare_data_consistency(kspace, mask)
        image = ifft2c(kspace)
        for denoiser in self.denoisers:
            image = data_consistency_prepared(denoiser(image), prepared, 1.0)
        return image


# %%
scan = phantom_acquisition(n_slices=2, size=256, seed=1)
kspace = torch.stack([torch.from_numpy(np.asarray(slice_))[0] for slice_ in scan.kspace])
mask = make_mask("random", kspace.shape, acceleration=4, seed=0)
torch.manual_seed(0)
denoisers = nn.ModuleList(Denoiser() for _ in range(5))
usual, fused = Usual(denoisers), Fused(denoisers)


def median_ms(network: nn.Module) -> float:
    """Median of nine calls."""
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        network(kspace * mask, mask)
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times))


with torch.inference_mode():
    expected, found = usual(kspace * mask, mask), fused(kspace * mask, mask)
    print(f"relative difference {torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected):.1e}")
    print(f"usual {median_ms(usual):.1f} ms, fused {median_ms(fused):.1f} ms, denoisers included")

# %% [markdown]
# Gradients flow through both alike.

# %%
gradients = []
for network in (usual, fused):
    denoisers.zero_grad()
    network(kspace * mask, mask).abs().square().mean().backward()
    gradients.append(torch.cat([p.grad.flatten() for p in denoisers.parameters()]))
print(f"gradients differ by {torch.linalg.vector_norm(gradients[0] - gradients[1]) / gradients[0].norm():.1e}")

# %%
folder = Path("example_output")
folder.mkdir(exist_ok=True)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
shown = {"usual": expected[0].abs(), "fused": found[0].abs(), "difference x 1e6": 1e6 * (found - expected)[0].abs()}
for axis, (name, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture, cmap="gray", vmin=0, vmax=float(expected.abs().quantile(0.995)))
    axis.set_title(name)
    axis.set_axis_off()
figure.savefig(folder / "layer_in_your_network.png", dpi=120)
