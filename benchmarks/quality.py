"""Image quality of networks against total variation whose weight is tuned on the very slices that are judged.

    python -m benchmarks.quality FILES... [--networks nasn_knee,FILE.safetensors] [--slices N] [--phase]
                                 [--coils N --noise X [--broad-coils] [--true-maps]] [--networks-only]
                                 [--mirrored] [--out DIR]

That favours TV: a network sees none of the slices. Six mask settings: random, equispaced_fraction and radial_golden at
4x and 8x, centre 0.08 / 0.04 of the columns, one seed. Each slice counts as a volume of its own, so the data range of
PSNR and SSIM is its maximum. With BART installed its own ``pics`` runs at the chosen weight; the weight is found with
our TV, which agrees with it to 1e-5.

With ``--coils`` the slices are measured by simulated coils, with a smooth phase each, and every method gets the
sensitivities that `physics.estimate_sens_maps` finds in the undersampled data, networks those that are not cropped in
air, as `csmri recon` and `compare` give them; the settings are those of such data
(random and equispaced 4x, equispaced and radial 8x), and BART's wavelets, tuned on the slices as well, stand beside TV.
The coils are rings of loops, as trainings draw them; `--broad-coils` are of another kind. `--true-maps` gives every
method the sensitivities of the simulation instead of estimated ones: what is gained by that is what the estimate costs.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from csmri_ext.bridge.fourier import fft2c
from csmri_ext.data import open_images
from csmri_ext.metrics import psnr, ssim
from csmri_ext.outputs import require_writable_file, write_bytes
from csmri_ext.phantom import coil_maps
from csmri_ext.physics import estimate_maps_and_object, make_mask
from csmri_ext.recon import methods
from csmri_ext.recon.methods import Method
from csmri_ext.recon.mirrored import mirrored
from csmri_ext.recon.problem import Problem

matplotlib.use("Agg")
SETTINGS = tuple((kind, r) for kind in ("random", "equispaced_fraction", "radial_golden") for r in (4, 8))
COIL_SETTINGS = (("random", 4), ("equispaced", 4), ("equispaced", 8), ("radial_golden", 8))
BESIDE = ("zero-filled", "tv", "tv-bart", "wavelet-bart")
WEIGHTS = (0.003, 0.005, 0.008, 0.012, 0.02, 0.03, 0.05, 0.1)
WAVELET_WEIGHTS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03)
Maps = Callable[[tuple[int, int], int, int], NDArray[np.complex64]]  # of shape, coils and seed
Scores = dict[str, list[list[float]]]  # method -> PSNR and SSIM of each slice


@dataclass(frozen=True)
class Scanner:
    """What measures the slices, and which sensitivities the methods are given."""

    coils: int = 1
    noise: float = 0.0  # of real and imaginary parts, relative to the peak
    maps_of: Maps = coil_maps
    true_maps: bool = False  # instead of estimated ones


ONE_COIL = Scanner()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Quality of networks against total variation tuned on the same slices."
    )
    parser.add_argument("files", nargs="+", help="fully sampled data or images")
    parser.add_argument(
        "--networks", default="nasn_knee,dccnn3", help="trained networks, and files of weights (default: %(default)s)"
    )
    parser.add_argument("--slices", type=int, help="this many slices, evenly spread (default: all)")
    parser.add_argument("--phase", action="store_true", help="give the images a smooth random phase first")
    parser.add_argument("--coils", type=int, default=1, help="simulated coils (default: %(default)s)")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="of real and imaginary parts, relative to the peak (default: 0)"
    )
    parser.add_argument(
        "--broad-coils", action="store_true", help="broad Gaussian sensitivities, which tell places apart less well"
    )
    parser.add_argument(
        "--true-maps", action="store_true", help="the coils' own sensitivities instead of estimated ones"
    )
    parser.add_argument("--networks-only", action="store_true", help="no total variation, no wavelets: minutes less")
    parser.add_argument("--mirrored", action="store_true", help="networks as with csmri recon --mirrored")
    parser.add_argument("--seed", type=int, default=0, help="of the masks (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for quality.json, quality.md and quality.svg")
    args = parser.parse_args()
    names = ("quality.json", "quality.md", "quality.svg")
    if args.out:
        for name in names:
            require_writable_file(args.out / name, args.files)
    torch.set_num_threads(1)
    networks = chosen_networks(args.networks)
    images = open_images(args.files)
    chosen = np.linspace(0, len(images) - 1, args.slices or len(images)).round().astype(int)
    slices = [images[int(i)] for i in chosen]
    if args.phase or args.coils > 1:
        slices = [smooth_phase(image, number) for number, image in enumerate(slices)]
    scanner = Scanner(args.coils, args.noise, broad_maps if args.broad_coils else coil_maps, args.true_maps)
    results = {}
    for kind, acceleration in COIL_SETTINGS if args.coils > 1 else SETTINGS:
        results[kind, acceleration] = judge(
            kind, acceleration, slices, networks, args.seed, scanner,
            with_tuned=not args.networks_only, mean_of_mirrors=args.mirrored,
        )  # fmt: skip
        print(*rows({(kind, acceleration): results[kind, acceleration]}), sep="\n", flush=True)
    print(table(results))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        listed = {f"{kind} {r}x": {"weight": w, "scores": s} for (kind, r), (w, s) in results.items()}
        contents = (f"{json.dumps(listed, indent=1)}\n".encode(), f"{table(results)}\n".encode(), draw(results))
        for name, content in zip(names, contents, strict=True):
            write_bytes(args.out / name, content)


def chosen_networks(wanted: str) -> list[Method]:
    """Take networks by name and by file; a file that is called as a method beside them gets another name."""
    chosen = methods.choose(",".join((*BESIDE, wanted)), bart=False)
    return [method for method in chosen if method.name not in BESIDE]


def smooth_phase(image: NDArray[np.complex64], seed: int) -> NDArray[np.complex64]:
    """Multiply by a random phase of second order over the image, about one turn from edge to edge."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    c = np.random.default_rng([seed, 11]).uniform(-1.5, 1.5, 6)
    phase = 2 * c[0] + c[1] * x + c[2] * y + 0.5 * (c[3] * x * x + c[4] * x * y + c[5] * y * y)
    return (image * np.exp(1j * phase)).astype(np.complex64)


def broad_maps(shape: tuple[int, int], n_coils: int, seed: int) -> NDArray[np.complex64]:
    """Gaussian sensitivities around the image, 1.5 half fields of view wide, each with a ramp of phase."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    rng = np.random.default_rng([seed, 77])
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils + rng.uniform(0, 0.3)
        squared = (y - 1.2 * np.sin(angle)) ** 2 + (x - 1.2 * np.cos(angle)) ** 2
        phase = rng.uniform(-3, 3) + 0.8 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y)
        maps.append(np.exp(-squared / (2 * 1.5**2) + 1j * phase))
    return (np.array(maps) / np.linalg.norm(maps, axis=0)).astype(np.complex64)


def judge(
    kind: str,
    acceleration: int,
    slices: Sequence[NDArray[np.complex64]],
    networks: Sequence[Method],
    seed: int,
    scanner: Scanner = ONE_COIL,
    *,
    with_tuned: bool = True,
    mean_of_mirrors: bool = False,
) -> tuple[float | None, Scores]:
    """Scores of every method at one mask setting, and the weight of TV with the best mean PSNR."""
    pairs = [undersample(image, kind, acceleration, seed, scanner, number) for number, image in enumerate(slices)]
    problems, of_networks = ([pair[i] for pair in pairs] for i in (0, 1))
    found: Scores = {"zero-filled": scores(methods.get("zero-filled"), slices, problems)}
    weight = None
    if with_tuned:
        weight, found["tv"] = tuned("tv", WEIGHTS, slices, problems)
    if with_tuned and bart_is_there():
        found["tv-bart"] = scores(methods.get("tv-bart"), slices, problems, weight)
        if scanner.coils > 1:
            found["wavelet-bart"] = tuned("wavelet-bart", WAVELET_WEIGHTS, slices, problems)[1]
    for method in networks:
        judged = mirrored(method) if mean_of_mirrors else method
        found[method.name] = scores(judged, slices, of_networks)
    return weight, found


def tuned(
    name: str, weights: Sequence[float], slices: Sequence[NDArray[np.complex64]], problems: Sequence[Problem]
) -> tuple[float, list[list[float]]]:
    """Return the weight with the best mean PSNR on these slices, and the scores with it."""
    tried = [scores(methods.get(name), slices, problems, weight) for weight in weights]
    best = int(np.argmax([np.mean(score[0]) for score in tried]))
    return weights[best], tried[best]


def bart_is_there() -> bool:
    from csmri_ext.bridge import BartError, find_bart

    try:
        return bool(find_bart())
    except BartError:
        return False


def undersample(
    image: NDArray[np.complex64],
    kind: str,
    acceleration: int,
    seed: int,
    scanner: Scanner = ONE_COIL,
    number: int = 0,
) -> tuple[Problem, Problem]:
    """Measure an image; `number` is the seed of its coils and of the noise.

    Returns
    -------
        The problem, and the same for networks, whose sensitivities are not 0 in air.
    """
    mask = make_mask(kind, image.shape, acceleration, seed=seed)
    true_maps = scanner.maps_of(image.shape, scanner.coils, number)
    kspace = fft2c(true_maps * image)
    random = np.random.default_rng([number, 12]).standard_normal((*kspace.shape, 2)).view(np.complex128)[..., 0]
    measured = torch.from_numpy(kspace + scanner.noise * np.abs(image).max() * random).to(torch.complex64) * mask
    problem = Problem(measured[None].numpy(), mask.numpy(), None, image.shape, {}, 200, "cpu", 1)
    if scanner.coils == 1:
        return problem, problem
    if scanner.true_maps:
        given = replace(problem, sens_maps=true_maps[None])
        return given, given
    maps, is_object = (found[None].numpy() for found in estimate_maps_and_object(measured, mask))
    cropped = np.where(is_object[:, None], maps, np.complex64(0))
    return replace(problem, sens_maps=cropped), replace(problem, sens_maps=maps)


def scores(
    method: Method,
    slices: Sequence[NDArray[np.complex64]],
    problems: Sequence[Problem],
    weight: float | None = None,
) -> list[list[float]]:
    """PSNR and SSIM of each slice."""
    found: list[list[float]] = [[], []]
    for image, problem in zip(slices, problems, strict=True):
        given = problem if weight is None else replace(problem, weights={method.name.removesuffix("-bart"): weight})
        method.load(given)
        recon, target = np.abs(method.reconstruct(given).image[0]), np.abs(image)
        found[0].append(psnr(target, recon))
        found[1].append(ssim(target, recon))
    return found


def rows(results: dict[tuple[str, int], tuple[float | None, Scores]]) -> list[str]:
    lines = []
    for (kind, r), (weight, found) in results.items():
        cells = [f"{np.mean(p):.2f} / {np.mean(s):.4f}" for p, s in found.values()]
        lines.append(f"| {kind} {r}x | {'' if weight is None else f'{weight:g}'} | {' | '.join(cells)} |")
    return lines


def table(results: dict[tuple[str, int], tuple[float | None, Scores]]) -> str:
    """Mean PSNR in dB / SSIM as Markdown, with the mean over the settings."""
    names = list(next(iter(results.values()))[1])
    head = f"| mask | TV weight | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}"
    means = [
        " / ".join(
            f"{np.mean([np.mean(found[name][i]) for _, found in results.values()]):.{digits}f}"
            for i, digits in ((0, 2), (1, 4))
        )
        for name in names
    ]
    return "\n".join([head, *rows(results), f"| mean | | {' | '.join(means)} |"])


def draw(results: dict[tuple[str, int], tuple[float | None, Scores]]) -> bytes:
    """Every slice as a point, the mean as a bar, PSNR above SSIM, as SVG."""
    from matplotlib.figure import Figure

    names = list(next(iter(results.values()))[1])
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for axes, (i, title) in zip(figure.subplots(2, 1, sharex=True), ((0, "PSNR (dB)"), (1, "SSIM")), strict=True):
        for n, name in enumerate(names):
            for place, (_, found) in enumerate(results.values()):
                x = place + (n - (len(names) - 1) / 2) * 0.15
                values = found[name][i]
                axes.plot([x] * len(values), values, ".", ms=3, color=f"C{n}", alpha=0.5)
                axes.plot(
                    [x - 0.05, x + 0.05], [np.mean(values)] * 2, color=f"C{n}", lw=2, label=name if not place else None
                )
        axes.set_ylabel(title)
        axes.grid(axis="y", alpha=0.3)
    axes.set_xticks(range(len(results)), [f"{kind}\n{r}x" for kind, r in results])
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names), frameon=False
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    return drawn.getvalue()


if __name__ == "__main__":
    main()
