"""One file of ``csmri recon``: read, reconstructed, written with its record, and told in one line."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from csmri_ext import __version__
from csmri_ext.bridge import Acquisition, reading
from csmri_ext.bridge.acquisition import middle_slices
from csmri_ext.bridge.fourier import center_crop
from csmri_ext.bridge.load import Files
from csmri_ext.commands.image_writers import output_file, writer_for
from csmri_ext.commands.reading import warn
from csmri_ext.errors import InputError, naming
from csmri_ext.progress import stage
from csmri_ext.recon.adapted import adapted
from csmri_ext.recon.ahead import ahead
from csmri_ext.recon.error_map import COUNT, error_map
from csmri_ext.recon.evaluate import Problems
from csmri_ext.recon.methods import Method
from csmri_ext.recon.mirrored import mirrored
from csmri_ext.recon.problem import Problem
from csmri_ext.recon.result_record import Settings, make_record
from csmri_ext.recon.sampling import OWN_MASK, Sampling
from csmri_ext.recon.shared_setup import Setup, zero_words
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.provenance import available_cores, shareable
from csmri_ext.report.rows import ChosenWeight

Images = NDArray[np.complex64]


@dataclass(frozen=True)
class FileReconstruction:
    """Reconstructs any number of files in one way: ``reconstruct(source, output)`` returns the line about the result.

    Attributes
    ----------
    args
        Options of the command.
    method, grid, files, bart
        What they name: the method, the mask setting if one was asked for, how files are read, BART's program.
    command, settings
        For the record of each result.
    console
        Where the progress of a file is shown.
    """

    args: argparse.Namespace
    method: Method
    grid: Sequence[Sampling]
    files: Files
    bart: str | None
    command: str
    settings: Settings
    console: Console

    def __call__(self, source: str, output: Path) -> str:
        """Reconstruct one file, and say in one line what was done."""
        write = writer_for(output, Path(source))
        error_file = output_file(self.args.error_map) if self.args.error_map else None
        write_error = writer_for(error_file, Path(source)) if error_file else None
        pairs = self._opened(source)
        setup = self._setup(pairs)
        for text in setup.notes(pairs, [self.method]):
            sys.stderr.write(f"warning: {text}\n")
        start = time.perf_counter()
        volume, sampling = pairs[0]
        size = volume.acquisition.matrix_size if self.args.full else volume.image_size
        method, told = self._adapted(volume, sampling, setup)
        if self.args.mirrored:
            from csmri_ext.models.mirrored import MIRRORS

            method, told = mirrored(method), f"{told}; mean over {len(MIRRORS)} mirror images"
        image, errors = self._solved(method, pairs, setup, size)
        found = Path(volume.acquisition.attrs.get("path") or source)
        record = make_record(self.command, __version__, method, self.settings, found, volume, sampling, setup)
        frames = _all_frames([one.acquisition for one, _ in pairs])
        with naming(output):
            write(output, image, frames, record)
        if write_error is not None and error_file is not None:
            with naming(error_file):
                write_error(error_file, errors, frames, record)
        seconds = time.perf_counter() - start
        count = "1 slice" if len(image) == 1 else f"{len(image)} slices"
        mask = _coverage(volume) if sampling.mask(volume, self.args.seed).all() else sampling.title
        name = method.name if method.trained else f"{method.name} (untrained: random weights)"
        line = f"{output}: {name}, {count} of {size[0]} x {size[1]}, {mask}, {seconds:.1f} s{told}"
        return line + self._assumptions(method, volume, record)

    def _opened(self, source: str) -> list[tuple[Volume, Sampling]]:
        """Open and check a file: one volume, or one for each frame, and what is sampled of it."""
        acquisitions = self.files.open(source)
        as_read = [replace(one) for one in acquisitions]  # `_sampling` gives masks to those without
        volumes = [
            Volume(one.name, one, middle_slices(one.n_slices, self.args.slices), shareable(source))
            for one in acquisitions
        ]
        pairs = [(volume, _sampling(volume, self.grid)) for volume in volumes]
        for volume, sampling in pairs:
            sampling.mask(volume, self.args.seed)
            volume.check()
        warn([(source, acquisition) for acquisition in as_read])
        return pairs

    def _setup(self, pairs: Sequence[tuple[Volume, Sampling]]) -> Setup:
        return Setup(
            seed=self.args.seed,
            bart=self.bart,
            iterations=self.args.tv_iterations,
            device=self.args.device,
            workers=self.args.jobs or available_cores(),
            weights={
                (sampling, volume.label): dict.fromkeys(("tv", "wavelet"), ChosenWeight(self.args.tv_weight))
                for volume, sampling in pairs
            },
        )

    def _adapted(self, volume: Volume, sampling: Sampling, setup: Setup) -> tuple[Method, str]:
        """Fit the network to the middle of the volume with ``--adapt``; also what the line says of it."""
        args = self.args
        if not args.adapt:
            return self.method, ""
        chunks = list(volume.chunks())
        problem = Problems(setup).get(volume, sampling, chunks[len(chunks) // 2], self.method)
        limits = {"steps": args.adapt_steps, "seconds": args.adapt_seconds, "seed": args.seed or 0}
        with stage("adapting", args.adapt_steps, self.console) as steps:
            method, told_of = adapted(self.method, problem, **limits, progress=lambda: steps.advance(1))
        return method, f"; adapted: {told_of}"

    def _solved(
        self, method: Method, pairs: Sequence[tuple[Volume, Sampling]], setup: Setup, size: tuple[int, int]
    ) -> tuple[Images, Images]:
        """Reconstruct all slices, ``(slices, h, w)``; with ``--error-map`` also their errors, else none."""
        with_errors = bool(self.args.error_map)
        images, errors = [], [np.empty((0, *size), np.complex64)]
        passes = 1 + COUNT if with_errors else 1
        with stage("reconstructing", passes * sum(len(one.slices) for one, _ in pairs), self.console) as progress:

            def solve(problem: Problem) -> Images:
                image = method.reconstruct(problem).image
                progress.advance(len(image))
                return image

            singly = method.in_torch and not setup.bart and not with_errors
            pieces = [
                (one, own, slices)
                for one, own in pairs
                for slices in (one.chunks(1) if singly else one.chunks())  # singly: what runs so waits for less
            ]
            with ahead(lambda piece: Problems(setup).get(*piece, method), pieces) as problems:
                for problem in problems:
                    whole = solve(problem)
                    images.append(center_crop(whole, size))
                    if with_errors:
                        errors.append(center_crop(error_map(solve, problem, whole), size).astype(np.complex64))
        image = np.concatenate(images).astype(np.complex64)
        if not np.isfinite(image).all():
            raise InputError(f"{method.name} on {pairs[0][0].label}: the image has NaN or infinite pixels")
        return image, np.concatenate(errors)

    def _assumptions(self, method: Method, volume: Volume, record: dict[str, Any]) -> str:
        """Say with what the image was made that the file does not decide, and how the file was read."""
        line = ""
        if method.network is not None and method.trained:
            line += f"; weights: {method.network.weights}"
        if method.weight is not None:
            line += f"; {method.weight} weight {self.args.tv_weight:g}"
        if record["sens_maps"] is not None:
            line += f"; sensitivities: {record['sens_maps']}"
            if volume.unseen_share:
                line += f", {zero_words(volume.unseen_share)}"
        return f"{line}; read as {reading(volume.acquisition)}" if "axes" in volume.acquisition.attrs else line


def _all_frames(acquisitions: Sequence[Acquisition]) -> Acquisition:
    """Describe where the images of all frames go: as those of the first one, and as many frames as there are."""
    first = acquisitions[0]
    loops = first.attrs.get("loop_dims")
    if len(acquisitions) == 1 or not loops:
        return first
    frames = [(loops[0][0], len(acquisitions)), *loops[1:]]
    return replace(first, attrs={**first.attrs, "loop_dims": frames})


def _coverage(volume: Volume) -> str:
    """Say how much of k-space a file without a mask has."""
    empty = 1 - float(volume.measured.mean())
    return f"fully sampled but for {100 * empty:.0f} % at the border" if empty else "fully sampled"


def _sampling(volume: Volume, grid: Sequence[Sampling]) -> Sampling:
    """Use the file's own mask, the mask asked for, or every sample."""
    acquisition = volume.acquisition
    if not grid:
        if acquisition.mask is None:
            acquisition.mask = np.ones(acquisition.matrix_size[1], dtype=bool)
        return Sampling(OWN_MASK)
    if acquisition.mask is not None:
        raise InputError(f"{volume.source} is undersampled already: leave out --mask")
    return grid[0]
