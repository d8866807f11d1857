"""Training images beside the drawn phantoms: templates of heads in three planes and other contrasts, and photographs.

    python -m benchmarks.training_images FOLDER --out DIR [--phantoms N --cache CACHE]

FOLDER is searched for what a few packages hold, unpacked there (`dpkg-deb -x`, `unzip`). Of Debian: mricron-data
(Colin 27, the mean of 27 scans of one head; INIA19, a mean macaque); lomiri-wallpapers-16.04, lomiri-wallpapers-20.04
and plasma-workspace-wallpapers (photographs). Of PyPI: nilearn (ICBM 152, mean T1 and tissue fractions). Each slice
gets a smooth shading and, as every magnitude image has it, the floor of its noise in air; photographs also an
outline. DIR then holds float32 volumes for

    csmri train --data DIR --axes 'slice y x'
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from csmri_ext.bridge.atomic import replacing
from csmri_ext.data.shards import PhantomSettings, phantom_shards
from csmri_ext.outputs import require_writable

Array = NDArray[np.floating[Any]]
SIDE = 256  # of slices of heads, at least
PHOTOGRAPH = 288
CROPS = 14  # of one photograph
PLANES = ("sag", "cor", "ax")
HEADS = {  # file: name, slices of each plane, part of the volume
    "ch2.nii.gz": ("colin", 60, (0.12, 0.9)),
    "inia19-t1-brain.nii.gz": ("inia", 24, (0.2, 0.8)),
    "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz": ("mni", 24, (0.12, 0.9)),
}
CONTRASTS = ((0.75, 0.55, 1.0), (0.55, 0.75, 0.2), (0.8, 0.6, 0.05), (0.9, 0.7, 0.8))  # of grey, white matter, fluid


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="where the packages are unpacked")
    parser.add_argument("--out", type=Path, required=True, help="folder of the volumes")
    parser.add_argument("--seed", type=int, default=5, help="of sections, shading and noise (default: %(default)s)")
    parser.add_argument("--phantoms", type=int, default=0, help="phantom subjects beside them (default: none)")
    parser.add_argument("--cache", type=Path, default=Path("phantom_images"), help="where drawn phantoms are kept")
    args = parser.parse_args()
    require_writable(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)

    def save(name: str, slices: list[Array]) -> None:
        if slices:
            with replacing(args.out / f"{name}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, np.stack(slices).astype(np.float32))
            print(f"{name}: {len(slices)} slices of {' x '.join(map(str, slices[0].shape))}")

    heads(args.folder, rng, save)
    contrasts(args.folder, rng, save)
    photographs(args.folder, rng, save)
    if args.phantoms:
        for part in phantom_shards(args.cache, args.phantoms, PhantomSettings(seed=1000)).parts:
            drawn = [part.read(i) for i in range(part.n_slices)]
            save(f"phantom_{part.name}", [np.hypot(image.real, image.imag) for image in drawn])


def heads(folder: Path, rng: np.random.Generator, save: Callable[[str, list[Array]], None]) -> None:
    """Cut slices of each template and shade them, with a random gamma."""
    for file, (name, count, part) in HEADS.items():
        volume = np.clip(read(folder, file), 0, None)
        for axis, plane in enumerate(PLANES):
            slices = []
            for image in planes(volume, axis, count, part):
                if image.max() > 0:
                    shaded = amid_air(image)
                    shaded = shaded * shading(shaded.shape, rng)
                    gamma = np.exp(rng.uniform(-0.35, 0.35))
                    slices.append(with_floor((shaded / shaded.max()) ** gamma, rng))
            save(f"{name}_{plane}", slices)


def contrasts(folder: Path, rng: np.random.Generator, save: Callable[[str, list[Array]], None]) -> None:
    """Sum the tissue fractions of ICBM 152, with a texture, as other sequences show a brain."""
    head, grey, white = (read(folder, f"mni_icbm152_{k}_tal_nlin_sym_09a_converted.nii.gz") for k in ("t1", "gm", "wm"))
    fluid = np.where(head > 0, 255 - grey - white, 0).clip(0)
    for number, (of_grey, of_white, of_fluid) in enumerate(CONTRASTS):
        volume = of_grey * grey + of_white * white + of_fluid * fluid
        for axis, plane in enumerate(PLANES):
            slices = []
            for image in planes(volume, axis, 12, (0.15, 0.88)):
                shaded = amid_air(image)
                shaded = shaded * shading(shaded.shape, rng)
                if shaded.max() > 0:
                    shaded = shaded / shaded.max()
                    textured = shaded + 0.06 * gaussian_filter(rng.standard_normal(shaded.shape), 1) * shaded
                    slices.append(with_floor(np.abs(textured), rng))
            save(f"tissue{number}_{plane}", slices)


def photographs(folder: Path, rng: np.random.Generator, save: Callable[[str, list[Array]], None]) -> None:
    """Cut sections of photographs; some are inverted, most are an object amid air, half of those with a rim."""
    number = 0
    for file in pictures(folder):
        picture = Image.open(file).convert("L")
        if min(picture.size) < 700:
            continue
        slices = []
        for _ in range(CROPS):
            grey = grey_section(picture, rng)
            if grey is None:
                continue
            if rng.random() < 0.4:
                grey = 255 - grey
            grey = (grey - np.percentile(grey, 0.5)).clip(0)
            grey = grey / np.percentile(grey, 99.8)
            if rng.random() < 0.6:
                grey = cut_out(grey, rng)
            shaded = grey.clip(0, 1.3) * shading(grey.shape, rng)
            slices.append(with_floor(shaded, rng))
        if len(slices) > 2:
            save(f"photo_{number:03d}", slices)
            number += 1


def read(folder: Path, name: str) -> Array:
    """Read the NIfTI file of this name, wherever it lies in the folder."""
    found = sorted(folder.rglob(name))
    if not found:
        raise SystemExit(f"{folder} has no {name}: unpack mricron-data (Debian) and nilearn (PyPI) there")
    return np.asarray(nibabel.load(found[0]).get_fdata())  # type: ignore[attr-defined]


def planes(volume: Array, axis: int, count: int, part: tuple[float, float]) -> Iterator[Array]:
    """Cut slices across one axis, evenly spread over a part of it."""
    size = volume.shape[axis]
    for position in np.linspace(part[0] * size, part[1] * size - 1, count).astype(int):
        yield np.rot90(np.take(volume, position, axis=axis))


def pictures(folder: Path) -> list[Path]:
    """List the photographs; of a wallpaper in several sizes the largest file."""
    flat = [file for place in sorted(folder.rglob("backgrounds")) for file in sorted(place.glob("*.jpg"))]
    several = [sorted(place.glob("*.[jp][pn]g")) for place in sorted(folder.rglob("contents/images"))]
    return flat + [max(files, key=lambda file: file.stat().st_size) for files in several if files]


def grey_section(picture: Image.Image, rng: np.random.Generator) -> Array | None:
    """Cut a random square and shrink it; None where nothing but even areas was found in eight tries."""
    shorter = min(picture.size)
    side = int(rng.integers(320, shorter // 2 if shorter > 1400 else shorter))
    for _ in range(8):
        x, y = int(rng.integers(picture.size[0] - side + 1)), int(rng.integers(picture.size[1] - side + 1))
        cut = picture.crop((x, y, x + side, y + side)).resize((PHOTOGRAPH, PHOTOGRAPH), Image.Resampling.LANCZOS)
        grey = np.asarray(cut, float)
        if grey.std() > 18:
            return grey
    return None


def cut_out(image: Array, rng: np.random.Generator) -> Array:
    """Keep what lies in a bent ellipse; half of them get a bright rim, as skin and skull are."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    angle = rng.uniform(0, 6.3)
    u = x * np.cos(angle) + y * np.sin(angle) + rng.normal(0, 0.1)
    v = -x * np.sin(angle) + y * np.cos(angle) + rng.normal(0, 0.1)
    radius = (u / rng.uniform(0.65, 1.1)) ** 2 + (v / rng.uniform(0.65, 1.1)) ** 2
    radius = radius + 0.06 * gaussian_filter(rng.standard_normal(image.shape), 25) * 60
    inside = radius < 1
    image = image * gaussian_filter(inside.astype(float), 0.6)
    if rng.random() < 0.5:
        rim = gaussian_filter((inside & (radius > 0.9)).astype(float), 0.7)
        image = image + rim * rng.uniform(0.2, 1)
    return image


def amid_air(image: Array) -> Array:
    """Pad to SIDE x SIDE pixels at least."""
    shape = tuple(max(n, SIDE) for n in image.shape)
    padded = np.zeros(shape)
    y, x = ((m - n) // 2 for m, n in zip(shape, image.shape, strict=True))
    padded[y : y + image.shape[0], x : x + image.shape[1]] = image
    return padded


def shading(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a smooth positive factor, as coils give it: the exponential of a random polynomial of second order."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    terms = [rng.normal(0, 0.25) * term for term in (x, y, x * y, x * x - 0.3, y * y - 0.3)]
    return np.asarray(np.exp(sum(terms)))


def with_floor(image: Array, rng: np.random.Generator) -> Array:
    """Return the magnitude under noise of 0.2 to 2 % of the 99.9th percentile, which becomes 1."""
    noise = np.exp(rng.uniform(np.log(0.002), np.log(0.02)))
    image = image / np.percentile(image, 99.9)
    return np.hypot(image + noise * rng.standard_normal(image.shape), noise * rng.standard_normal(image.shape))


if __name__ == "__main__":
    main()
