"""How GA-HQS begins to learn: ``python -m benchmarks.ga_hqs_start``.

A small GA-HQS (2 stages, 8 replicas) is trained on phantoms by `csmri train` from three starts, each with several
seeds: the identity start, and the literal one with the terms of eq. 7 replica by replica or block by block. Prints the
validation PSNR, mean and range over the seeds, as Markdown. Training and validation see whole images of one size, since
the gates of PGSA pool over the image. Interrupted, it goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import numpy as np

from csmri_ext.phantom import phantom
from csmri_ext.training.curves import read_curves

STARTS = {
    "identity, by replica": ("start=identity", "order=replicas"),
    "literal, by replica": ("start=literal", "order=replicas"),
    "literal, block by block": ("start=literal", "order=terms"),
}
NETWORK = ("stages=2", "replicas=8", "groups=1,2,4,4")
EPOCH = 100  # steps
VALIDATED = 2  # epochs
VALIDATION = 24  # subjects
FIRST_SEED = 5000


def draw(folder: Path, subjects: int, size: int) -> list[str]:
    """Draw one image of each subject; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{subject:03d}.npy" for subject in range(subjects)]
    for subject, file in enumerate(files):
        if not file.exists():
            image = phantom(size, FIRST_SEED + subject, noise=0, anatomy=("brain", "body")[subject % 2])
            np.save(file, np.abs(image)[None])
    return [str(file) for file in files]


def train(out: Path, start: tuple[str, ...], seed: int, args: argparse.Namespace) -> dict[int, float]:
    """Train one network, or read the run that is done; validation PSNR by step."""
    done = out / "summary.json"
    if not done.exists():
        command = [sys.executable, "-m", "csmri_ext", "train", "--quiet", "--model", "ga_hqs", "--out", str(out)]
        command += ["--set", *NETWORK, *start, "--seed", str(seed), "--steps", str(args.steps), "--threads", "1"]
        images = draw(args.out / f"images_{args.size}", args.subjects, args.size)
        command += ["--size", "0", "--mask", "random", "--acceleration", "4", "--ema", "0"]
        command += ["--steps-per-epoch", str(EPOCH), "--validate-every", str(VALIDATED), "--validation-slices", "24"]
        command += ["--data", *images[VALIDATION:], "--validation", *images[:VALIDATION]]
        subprocess.run(command, check=True)
    return {EPOCH * round(step / EPOCH): psnr for step, psnr in read_curves(out)["val_psnr"]}


def row(step: int, runs: list[list[dict[int, float]]]) -> str:
    """Mean and range over the seeds, one cell per start."""
    cells = []
    for seeds in runs:
        found = [run[step] for run in seeds]
        cells.append(f"{fmean(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    return f"| {step} | {' | '.join(cells)} |"


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each start (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="of each run (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels of the images (default: %(default)s)")
    parser.add_argument("--subjects", type=int, default=224, help="phantoms (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/ga_hqs_start"), help="folder of the runs")
    args = parser.parse_args()
    runs: list[list[dict[int, float]]] = [[] for _ in STARTS]
    for seed in range(args.seeds):
        for (name, start), found in zip(STARTS.items(), runs, strict=True):
            out = args.out / f"{name.replace(',', '').replace(' ', '_')}_{seed}"
            found.append(train(out, start, seed, args))
            print(f"{name}, seed {seed}: {found[-1][max(found[-1])]:.2f} dB", file=sys.stderr, flush=True)
    print(f"| step | {' | '.join(STARTS)} |\n|{'---|' * (len(STARTS) + 1)}")
    for step in sorted(runs[0][0]):
        print(row(step, runs))


if __name__ == "__main__":
    main()
