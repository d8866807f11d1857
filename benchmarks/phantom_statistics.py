"""The phantom beside measured slices: ``python -m benchmarks.phantom_statistics [--real FILES...] [--out FIGURE.svg]``.

Statistics of `csmri_ext.phantom.statistics`, averaged over the heads of each plane, trunks and abstract objects, and
over the real slices of each folder: curves of intensity, gradient and spectrum, noise of every image, a table.
``--montage FILE.png`` draws phantoms instead, one kind per row.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csmri_ext.bridge.atomic import replacing
from csmri_ext.data import open_images
from csmri_ext.outputs import require_writable_file
from csmri_ext.phantom import phantom
from csmri_ext.phantom.statistics import (
    FREQUENCIES,
    INTENSITIES,
    THRESHOLDS,
    ImageStatistics,
    image_statistics,
    mean_statistics,
    relative_magnitude,
)

KINDS: dict[str, dict[str, str]] = {
    "head, axial": {"plane": "axial"},
    "head, sagittal": {"plane": "sagittal"},
    "head, coronal": {"plane": "coronal"},
    "body": {"anatomy": "body"},
    "abstract": {"anatomy": "abstract"},
}
COLOURS = ("tab:blue", "tab:cyan", "tab:green", "tab:orange", "tab:red")
DASHES = ("-", "--", ":", "-.")

Groups = dict[str, list[ImageStatistics]]


def phantom_groups(count: int, size: int) -> Groups:
    """Statistics of `count` subjects of each kind, seeds 0, 1, 2 ..."""
    return {
        f"phantom: {kind}": [image_statistics(phantom(size, seed, **options)) for seed in range(count)]
        for kind, options in KINDS.items()
    }


def real_groups(paths: list[Path], count: int) -> Groups:
    """Statistics of at most `count` slices of each folder, evenly spaced; the folder names the group."""
    folders: dict[str, list[Path]] = {}
    for path in paths:
        folders.setdefault((path if path.is_dir() else path.resolve().parent).name, []).append(path)
    groups = {}
    for name, files in folders.items():
        images = open_images(files)
        chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
        groups[f"real: {name}"] = [image_statistics(images[int(i)]) for i in chosen]
    return groups


def table(groups: Groups) -> str:
    """Markdown of the means of the numbers."""
    means = {name: mean_statistics(images).numbers for name, images in groups.items()}
    columns = list(next(iter(means.values())))
    lines = [f"| slices | n | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, numbers in means.items():
        values = " | ".join(f"{numbers[c]:.2f}" if "slope" in c else f"{numbers[c]:.4f}" for c in columns)
        lines.append(f"| {name} | {len(groups[name])} | {values} |")
    return "\n".join(lines)


def styles(groups: Groups) -> Iterator[tuple[str, dict[str, Any]]]:
    """Real slices in black, with a dash for each group; phantoms in colour."""
    real = [name for name in groups if name.startswith("real")]
    for i, name in enumerate(real):
        yield name, {"color": "black", "ls": DASHES[i % len(DASHES)], "lw": 1.8, "zorder": 3}
    for name, colour in zip([name for name in groups if name not in real], COLOURS, strict=True):
        yield name, {"color": colour, "lw": 1.2}


def draw(groups: Groups, path: Path) -> None:
    """Draw the figure."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.6), layout="constrained")
    (intensity, gradient), (spectrum, noise) = figure.subplots(2, 2)
    middles = {"intensity": (INTENSITIES[1:] + INTENSITIES[:-1]) / 2, "ring": (FREQUENCIES[1:] + FREQUENCIES[:-1]) / 2}
    rows = list(styles(groups))
    for row, (name, style) in enumerate(rows):
        mean = mean_statistics(groups[name])
        intensity.plot(middles["intensity"], mean.histogram, label=name, **style)
        gradient.plot(THRESHOLDS, mean.sparsity, **style)
        label = f"$f^{{{mean.numbers['slope']:.1f}}}$"
        spectrum.plot(middles["ring"], mean.spectrum, label=label, **style)
        for key, marker, shift in (("air", "o", -0.15), ("grain", "|", 0.15)):
            values = np.array([image.numbers[key] for image in groups[name]])
            values = values[values > 0]  # blanked air has no noise
            style_of_points = {"color": style["color"], "marker": marker, "ls": "", "ms": 3 if marker == "o" else 7}
            noise.plot(values, np.full(values.size, row + shift), alpha=0.6, **style_of_points)
    intensity.set(yscale="log", xlabel="intensity, 1 = 99.9th percentile", ylabel="density")
    gradient.set(xscale="log", yscale="log", ylim=(1e-4, 1.3), ylabel="pixels with a gradient above t")
    gradient.set_xlabel("gradient magnitude over its maximum, t")
    spectrum.set(xscale="log", yscale="log", xlabel="spatial frequency over Nyquist", ylabel="power over its mean")
    noise.set(xscale="log", xlabel="noise over intensity 1: o in air, | in tissue", ylim=(len(rows) - 0.4, -0.6))
    noise.set_yticks(range(len(rows)), [name for name, _ in rows])
    spectrum.legend(title="fitted 0.05 to 0.5", fontsize=8, frameon=False, ncols=2)
    for axes in (intensity, gradient, spectrum, noise):
        axes.grid(alpha=0.25, lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *intensity.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9, frameon=False
    )
    with (
        replacing(path) as temporary,
        matplotlib.rc_context({"svg.hashsalt": "phantom", "path.simplify_threshold": 0.5}),
    ):
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "svg", metadata={"Date": None})


def montage(size: int, columns: int) -> NDArray[np.uint8]:
    """Phantoms as they come, one kind per row, one seed per column; white is the 99.9th percentile of each."""
    rows = [
        np.hstack([np.clip(relative_magnitude(phantom(size, seed, **options)), 0, 1) for seed in range(columns)])
        for options in KINDS.values()
    ]
    return np.round(255 * np.vstack(rows)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", nargs="+", type=Path, default=[], metavar="FILE", help="fully sampled slices")
    parser.add_argument("--out", type=Path, help="figure, .svg or .pdf")
    parser.add_argument("--count", type=int, default=32, help="phantoms of each kind, most real slices of each folder")
    parser.add_argument("--size", type=int, default=256, help="pixels of a phantom along each side")
    parser.add_argument("--montage", type=Path, metavar="FILE.png", help="draw phantoms and nothing else")
    parser.add_argument("--columns", type=int, default=6, help="phantoms of each kind in the montage")
    options = parser.parse_args()
    for path in filter(None, (options.out, options.montage)):
        require_writable_file(path, options.real)
    if options.montage:
        from PIL import Image

        options.montage.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.montage) as temporary:
            Image.fromarray(montage(options.size, options.columns)).save(temporary, format="png", optimize=True)
        return
    groups = real_groups(options.real, options.count) | phantom_groups(options.count, options.size)
    print(table(groups))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        draw(groups, options.out)


if __name__ == "__main__":
    main()
