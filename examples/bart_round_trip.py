# %% [markdown]
# # BART's files, and BART's reconstruction beside ours
#
# `csmri_ext.bridge` writes and reads `.cfl` files byte for byte as BART does. A C-ordered `(coils, ny, nx)` array is
# the BART file `nx ny 1 coils`. Where the program `bart` is installed it runs on the same data.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from csmri_ext.bridge import BartNotFoundError, from_bart, pics, read_cfl, to_bart, write_cfl
from csmri_ext.iterative.tv import tv
from csmri_ext.metrics import psnr
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import make_mask

scan = phantom_acquisition(n_slices=1, size=192, seed=3)
kspace = np.asarray(scan.kspace[0])  # (coils, ny, nx), one coil
mask = make_mask("equispaced_fraction", kspace.shape, acceleration=4, seed=0).numpy()
measured = kspace * mask

# %% [markdown]
# Out to disk and back: the samples are the same bits, the header names BART's dimensions.

# %%
folder = Path("example_output")
folder.mkdir(exist_ok=True)
write_cfl(folder / "measured", to_bart(measured), history="examples/bart_round_trip.py")
again = from_bart(read_cfl(folder / "measured"), ndim=3)
assert np.array_equal(again, measured)
print((folder / "measured.hdr").read_text().splitlines()[1])

# %% [markdown]
# Total variation with the same scale, algorithm and iteration budget as `bart pics -S -i 200 -R T:3:0:0.01`.

# %%
ours = tv(measured, mask, weight=0.01)
images = {"zero-filled": np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(measured[0]), norm="ortho")), "tv": ours}
try:
    images["tv by bart pics"] = pics(measured, regularization="T:3:0:0.01", iterations=200, pattern=mask).image
except BartNotFoundError:
    print("bart is not installed (Debian: apt-get install bart): only ours is shown")
target = np.asarray(scan.target)
for name, image in images.items():
    print(f"{name:<16} {psnr(target, np.abs(image)[None]):.2f} dB")

# %%
figure, axes = plt.subplots(1, 1 + len(images), figsize=(3 * (1 + len(images)), 3.2), layout="constrained")
for axis, (name, image) in zip(axes, {"fully sampled": target[0], **images}.items(), strict=True):
    axis.imshow(np.abs(image), cmap="gray", vmin=0, vmax=np.quantile(target, 0.995))
    axis.set_title(name)
    axis.set_axis_off()
figure.savefig(folder / "bart_round_trip.png", dpi=120)
