# %% [markdown]
# # Your own network in the comparison
#
# A network joins with one call: a name, a function that builds it, and a line for the report. It is then a method like
# every other: same data, same masks, same metrics, same page. In a package of your own the call goes into a function
# that an entry point of the group `csmri_ext.methods` names, and `csmri compare` finds it by itself.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from csmri_ext.commands.cli import main
from csmri_ext.physics import Encoding
from csmri_ext.recon import register_network


def smooth_pairs(image: Tensor, axis: int, shift: int, level: Tensor) -> Tensor:
    """Soft threshold on the differences of neighbours, in pairs that begin at `shift` along an axis of even length."""
    pairs = image.roll(shift, axis).movedim(axis, -1).unflatten(-1, (-1, 2))
    mean, half = pairs.mean(-1), (pairs[..., 0] - pairs[..., 1]) / 2
    half = half * (1 - level / half.abs().clamp_min(level))
    smoothed = torch.stack([mean + half, mean - half], -1).flatten(-2)
    return smoothed.movedim(-1, axis).roll(-shift, axis)


class SoftThresholding(nn.Module):
    """Fifty rounds of smoothing, less from round to round, each followed by a step to the data: small, and yours."""

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        encoding = Encoding(kspace, mask, sens_maps)
        image = encoding.zero_filled
        level = 0.05 * image.abs().amax()
        for round_number in range(50):
            for axis in (-2, -1):
                for shift in (0, 1):
                    image = smooth_pairs(image, axis, shift, level * 0.9**round_number)
            image = encoding.step(image, 1.0)
        return image


register_network("soft_threshold", lambda name, pretrained=False: SoftThresholding(), "50 rounds of smoothing and data")

# %%
folder = Path("example_output") / "comparison"
command = (
    "compare --methods zero-filled,tv,soft_threshold --untrained --acceleration 4 --slices 1 --tv-weight 0.01 "
    f"--out {folder}"
)
assert main(command.split()) == 0

# %%
rows = json.loads((folder / "results.json").read_text())["rows"]
for row in rows:
    print(f"{row['volume']:<12} {row['method']:<16} {row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}")
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for number, name in enumerate(dict.fromkeys(row["method"] for row in rows)):
    values = [row["psnr"] for row in rows if row["method"] == name]
    axis.plot([number] * len(values), values, "o")
axis.set_xticks(range(3), list(dict.fromkeys(row["method"] for row in rows)))
axis.set_ylabel("PSNR (dB)")
figure.savefig(folder.parent / "compare_your_network.png", dpi=120)
