# %% [markdown]
# # Masks, coil sensitivities and iterative SENSE
#
# The encoding operator is `A = M F S`: coil sensitivities, the centred unitary Fourier transform, the sampling mask.
# `csmri_ext.physics.Encoding` is that operator for networks, for iterative solvers and for you.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from csmri_ext.metrics import psnr
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import Encoding, cg_sense, estimate_sens_maps, kspace_residual, make_mask

scan = phantom_acquisition(n_slices=1, size=192, seed=5, n_coils=8)
kspace = torch.from_numpy(np.asarray(scan.kspace[0]))  # (coils, ny, nx)
target = np.asarray(scan.target)

# %% [markdown]
# One mask of each kind. Columns are fastMRI's, bit for bit; the others sample the plane.

# %%
folder = Path("example_output")
folder.mkdir(exist_ok=True)
kinds = ("equispaced_fraction", "random", "radial_golden", "poisson")
masks = {kind: make_mask(kind, kspace.shape, acceleration=4, seed=0) for kind in kinds}
for kind, mask in masks.items():
    print(f"{kind:<20} {tuple(mask.shape)}, {mask.float().mean():.3f} of the samples")

# %% [markdown]
# Sensitivities come from the fully sampled centre of the undersampled data. The adjoint is the zero-filled image;
# conjugate gradients on the normal equations are iterative SENSE.

# %%
images = {}
for kind, mask in masks.items():
    measured = kspace * mask
    sens_maps = estimate_sens_maps(measured, mask)
    encoding = Encoding(measured[None], mask, sens_maps)
    sense = cg_sense(measured, mask, sens_maps, iterations=20, regularization=1e-3)
    images[kind] = encoding.zero_filled[0].abs().numpy(), sense.abs().numpy()
    scores = [f"{psnr(target, image[None]):.2f} dB" for image in images[kind]]
    residual = kspace_residual(measured, sense, mask, sens_maps)
    print(f"{kind:<20} zero-filled {scores[0]}, SENSE {scores[1]}, residual {residual:.3f}")

# %%
figure, axes = plt.subplots(3, len(kinds), figsize=(3 * len(kinds), 9.2), layout="constrained")
for column, kind in enumerate(kinds):
    rows = {
        "mask": masks[kind].expand(192, 192).float().numpy(),
        "zero-filled": images[kind][0],
        "SENSE": images[kind][1],
    }
    for axis, (name, picture) in zip(axes[:, column], rows.items(), strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1 if name == "mask" else np.quantile(target, 0.995))
        axis.set_title(f"{kind}\n{name}" if name == "mask" else name)
        axis.set_axis_off()
figure.savefig(folder / "masks_and_sense.png", dpi=120)
