"""BART's networks beside ours: ``python -m benchmarks.bart_networks [--size 32] [--iterations 1] [--coils 1]``.

Seconds of processor time of one core for one slice of the phantom: inference, and one training step (a slice, forward,
backward, Adam). BART's are differences between calls with more and with fewer slices or epochs, so that its start and
its files do not count; all sides take turns. ``bart reconet`` with its own defaults, and the published network of the
same name here, with as many iterations: MoDL with 32 complex features there and 64 real ones here; BART's varnet
is Hammernik's, `e2e_varnet` here has U-nets. The default is what BART trains in a minute or two; ten iterations, as
both papers have, take it far longer.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.networks import create
from benchmarks.timing import machine
from csmri_ext.bridge import bart, bart_version, read_reconet_weights, reconet, to_bart
from csmri_ext.bridge.bart_files.dims import BATCH_DIM, SLICE_DIM
from csmri_ext.phantom.subjects import coil_maps, phantom_acquisition
from csmri_ext.physics import Encoding, make_mask

OURS = {"modl": ("modl", "stages"), "varnet": ("e2e_varnet", "cascades")}  # and what the iterations are called


def seconds(call: Any) -> float:
    """Processor time of a call, in this process and in the programs it runs."""

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    start = spent()
    call()
    return spent() - start


def example(size: int, coils: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Undersampled k-space, sensitivities ``(1, coils, size, size)``, mask and reference ``(size, size)``."""
    acquired = phantom_acquisition(size=size, n_coils=coils)
    kspace = np.asarray(acquired.kspace[0])
    maps = np.ones_like(kspace) if coils == 1 else coil_maps(size, coils)
    mask = make_mask("equispaced_fraction", (size, size), 4, seed=0).numpy()
    full = Encoding(None, torch.ones(size, dtype=torch.bool), torch.from_numpy(maps))
    return kspace[None] * mask, maps[None], mask, full.adjoint(torch.from_numpy(kspace)).numpy()


def in_bart(network: str, iterations: int, folder: Path, data: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Seconds of BART for one slice and for one step."""
    kspace, maps, mask, reference = data
    weights = folder / network
    pattern = to_bart(np.broadcast_to(mask, reference.shape))
    options = ["--network", network, "-I", iterations, "-n", "-b", "1", "--pattern", pattern]

    def examples(array: np.ndarray) -> np.ndarray:
        """Twice the same slice: `bart reconet -t` does not take one alone."""
        return np.swapaxes(to_bart(np.repeat(array, 2, axis=0)), SLICE_DIM, BATCH_DIM)

    def train(epochs: int) -> None:
        arrays = (examples(kspace), examples(maps), weights, examples(reference[None, None]))
        bart(["reconet", "-t", *options, "-T", f"e={epochs}", *arrays], n_outputs=0)

    def apply(slices: int) -> None:
        stack = [np.repeat(array, slices, axis=0) for array in (kspace, maps)]
        reconet(*stack, read_reconet_weights(weights), pattern=mask)

    train(1)
    return {
        "inference": (seconds(lambda: apply(3)) - seconds(lambda: apply(1))) / 2,
        "training step": (seconds(lambda: train(2)) - seconds(lambda: train(1))) / 2,  # two slices, one at a time
    }


def in_torch(network: str, iterations: int, data: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Seconds of ours for the same."""
    name, count = OURS[network]
    model = create(name, **{count: iterations})
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    kspace, maps, reference = (torch.from_numpy(np.ascontiguousarray(data[i])) for i in (0, 1, 3))
    mask = torch.from_numpy(data[2])
    inputs = (kspace[:, 0], mask) if kspace.shape[1] == 1 else (kspace, mask, maps)

    def apply() -> None:
        with torch.inference_mode():
            model.eval()(*inputs)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (model.train()(*inputs) - reference).abs().square().mean().backward()
        optimizer.step()

    apply()
    step()
    return {"inference": seconds(apply), "training step": seconds(step)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--coils", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=tuple(OURS), default=list(OURS))
    options = parser.parse_args(arguments)
    if options.coils > 1 and "modl" in options.networks:
        parser.error(
            "--coils above 1: BART's MoDL of several coils came to no end when this was written; --networks varnet"
        )
    torch.set_num_threads(1)
    data = example(options.size, options.coils)
    print(
        f"{machine()}, BART {bart_version()}, {options.size} x {options.size}, {options.coils} coil(s), "
        f"{options.iterations} iterations, one core\n"
    )
    print("| BART | ours | what | BART, s | ours, s | BART / ours |\n" + "|---" * 6 + "|")
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            theirs: dict[str, list[float]] = {"inference": [], "training step": []}
            own: dict[str, list[float]] = {"inference": [], "training step": []}
            for _ in range(options.rounds):
                for into, found in (
                    (theirs, in_bart(network, options.iterations, Path(folder), data)),
                    (own, in_torch(network, options.iterations, data)),
                ):
                    for what, value in found.items():
                        into[what].append(value)
        for what in own:
            bart_s, ours_s = statistics.median(theirs[what]), statistics.median(own[what])
            words = f"{bart_s:.3g} | {ours_s:.3g} | {bart_s / ours_s:.2g}"
            print(f"| {network} | {OURS[network][0]} | {what} | {words} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
