"""The commands that use what a command has made, as a shell takes them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from csmri_ext.bridge.mask_file import is_mask_file
from csmri_ext.commands.image_options import PHANTOM, words_of_images
from csmri_ext.data.images import files_of


def held_out(paths: Sequence[str], names: Iterable[str]) -> list[str]:
    """Find the files of volumes that were held back for the validation.

    Parameters
    ----------
    paths
        Files and folders, as the user gave them.
    names
        Of the volumes, as `csmri_ext.data.open_images` and `open_scans` call them.
    """
    wanted = set(names)
    return [str(file) for file, name in files_of(paths) if any(each.split(" frame ")[0] == name for each in wanted)]


def after_training(
    weights: Path, files: Sequence[str], masks: Sequence[str], accelerations: Sequence[float], args: argparse.Namespace
) -> str:
    """Write a command that reconstructs, and one that compares, with what was learnt.

    Parameters
    ----------
    weights
        The result. What the commands write goes beside it.
    files
        Of the validation, which the network has not learnt from; without any, the phantom is compared on and a name
        stands for the user's scan.
    masks, accelerations
        What fully sampled files are undersampled with; none for scans that are undersampled already.
    args
        With the options of `add_reading_options`, ``--plugin`` and ``--slices``.
    """
    plugins = [word for plugin in args.plugin for word in ("--plugin", plugin)]
    read = words_of_images(args) if files else []
    kinds = list(dict.fromkeys(masks))
    one = [] if not (files and kinds) else ["--mask", kinds[0]]
    if one and not is_mask_file(kinds[0]):
        one += ["--acceleration", f"{accelerations[0]:g}"]
    several = ["--mask", *kinds, "--acceleration", *(f"{r:g}" for r in accelerations)] if kinds else []
    folder = bool(files) and Path(files[0]).is_dir()
    source, result = (files[0], str(weights.parent / ("images" if folder else "image.h5"))) if files else _YOURS
    recon = ["csmri", "recon", source, result, "--weights", str(weights), *plugins, *one, *read]
    methods = ["--methods", f"zero-filled,tv,{weights}", *plugins, "--out", str(weights.parent / "comparison")]
    compare = ["csmri", "compare", *files, *methods, *several, *read]
    return f"reconstruct: {shlex.join(recon)}\ncompare:     {shlex.join(compare)}\n"


def after_search(genotype: Path, args: argparse.Namespace) -> str:
    """Write the command that trains a network of the cell, on the images of the search.

    Parameters
    ----------
    genotype
        The cell.
    args
        With the options of `add_image_options` and `add_reading_options`.
    """
    data = [] if args.data == [PHANTOM] else ["--data", *args.data, *words_of_images(args)]
    return f"train a NasN of it: {shlex.join(['csmri', 'train', '--genotype', str(genotype), *data])}"


_YOURS = "SCAN.h5", "IMAGE.h5"  # no file is known that could stand here
