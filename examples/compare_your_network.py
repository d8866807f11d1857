# %% [markdown]
# # Your own network in the comparison
#
# A network joins with one call: a name, a function that builds it, and a line for the report. It is then a method like
# every other: same data, same masks, same metrics, same page. In a package of your own the call goes into a function that
# an entry point of the group `csmri_ext.methods` names, and `csmri compare` finds it by itself.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from csmri_ext.commands.cli import main
from csmri_ext.physics import Encoding
from csmri_ext.recon import register_network


class SoftThresholding(nn.Module):
    """Proximal gradient steps with a soft threshold on image differences: small, and yours."""

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        encoding = Encoding(kspace, mask, sens_maps)
        image = encoding.zero_filled
        level = 0.02 * image.abs().amax()
        for _ in range(20):
            mean = torch.stack([image.roll(shift, axis) for axis in (-2, -1) for shift in (-1, 1)]).mean(0)
            detail = image - mean
            kept = detail * (1 - level / detail.abs().clamp_min(level))
            image = encoding.step(mean + kept, 1.0)
        return image


register_network("soft_threshold", lambda name, pretrained=False: SoftThresholding(), "20 steps, threshold on details")

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
