"""The picture at the top of the README: ``python -m benchmarks.readme_figure [--out docs/readme.png]``.

A drawn head at 4x: fully sampled, zero-filled, total variation and ``nasn_knee``, each with its PSNR; below, the errors
on one scale. The network was trained on other drawn subjects.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from csmri_ext.bridge.atomic import replacing
from csmri_ext.iterative.tv import tv
from csmri_ext.metrics import psnr
from csmri_ext.models import create
from csmri_ext.outputs import require_writable_file
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import ifft2c, make_mask

SEED, TV_WEIGHT, ERROR_SCALE = 0, 0.01, 0.25


def images() -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Fully sampled slice, and what each method makes of a quarter of its columns."""
    scan = phantom_acquisition(n_slices=1, size=256, seed=SEED, noise=0.003, processed=False)
    kspace, target = torch.from_numpy(np.asarray(scan.kspace[0])), np.asarray(scan.target)[0]
    mask = make_mask("equispaced_fraction", kspace.shape, acceleration=4, seed=scan.name)
    measured = kspace * mask
    with torch.inference_mode():
        network = create("nasn_knee", pretrained=True).eval()(measured, mask)[0].abs().numpy()
    found = {"zero-filled": ifft2c(measured)[0].abs().numpy()}
    found["total variation"] = np.abs(tv(measured.numpy(), mask.numpy(), weight=TV_WEIGHT))
    found["nasn_knee"] = network
    return target, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/readme.png"), help="PNG file (default: %(default)s)")
    options = parser.parse_args()
    require_writable_file(options.out)
    target, found = images()
    mpl.use("agg")
    import matplotlib.pyplot as plt

    white = float(np.quantile(target, 0.998))
    figure, axes = plt.subplots(2, 1 + len(found), figsize=(8.4, 4.5), layout="constrained")
    for column, (name, image) in zip(axes.T, {"fully sampled": target, **found}.items(), strict=True):
        column[0].imshow(image, cmap="gray", vmin=0, vmax=white)
        score = "" if image is target else f"  {psnr(target[None], image[None]):.1f} dB"
        column[0].set_title(f"{name}{score}", fontsize=9)
        error = np.abs(image - target)
        column[1].imshow(error, cmap="inferno", vmin=0, vmax=ERROR_SCALE * white)
        for axis in column:
            axis.set_axis_off()
    axes[1, 0].text(0.5, 0.5, "errors", transform=axes[1, 0].transAxes, ha="center", va="center", color="white")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as temporary, Image.open(drawn) as picture:
        picture.convert("RGB").quantize(128).save(temporary, format="png", optimize=True)


if __name__ == "__main__":
    main()
