# %% [markdown]
# # Train a small network on drawn anatomy
#
# `csmri train` needs no data set: without `--data` it draws heads, trunks and abstract objects. This run is far too
# short for a useful network; it shows what a run consists of and how its result is used. Killed, the same command
# would go on.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from csmri_ext.commands.cli import main
from csmri_ext.metrics import psnr
from csmri_ext.models import load
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import ifft2c, make_mask

folder = Path("example_output")
command = (
    "train --model hqs --set stages=3 width=16 --steps 80 --steps-per-epoch 20 --validate-every 1 --batch-size 2 "
    "--ema 0 --size 48 --volumes 8 --validation-slices 4 --loss l1 --mask random --acceleration 4 --device cpu "
    f"--cache {folder}/phantoms --out {folder}/run"
)
assert main(command.split()) == 0

# %% [markdown]
# The file of weights describes itself: `load` rebuilds the network from it alone.

# %%
network = load(folder / "run" / "hqs.safetensors").eval()
scan = phantom_acquisition(n_slices=1, size=160, seed=99)
kspace = torch.from_numpy(np.asarray(scan.kspace[0]))
mask = make_mask("random", kspace.shape, acceleration=4, seed=0)
with torch.inference_mode():
    recon = network(kspace * mask, mask)[0].abs().numpy()
target, zero_filled = np.asarray(scan.target)[0], ifft2c(kspace * mask)[0].abs().numpy()
for name, image in {"zero-filled": zero_filled, "after 80 steps": recon}.items():
    print(f"{name:<15} {psnr(target[None], image[None]):.2f} dB")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, (name, image) in zip(axes, {"target": target, "zero-filled": zero_filled, "hqs": recon}.items(), strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=np.quantile(target, 0.995))
    axis.set_title(name)
    axis.set_axis_off()
figure.savefig(folder / "train_on_phantoms.png", dpi=120)
