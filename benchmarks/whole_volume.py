"""One volume through ``csmri recon``, from file to file: ``python -m benchmarks.whole_volume [--slices 30]``.

A phantom of several coils is written once, and the command runs on it in a process of its own, as users run it, with
its functions for checking, reading, calibration, reconstruction and writing timed where they are called. Printed is how
long each stage worked, its share of the whole, and how long it waited between its first and its last slice; how much
of reading and calibration went on while the network worked; and the most memory the process had.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

Span = tuple[float, float]
STAGES = ("loading", "checking", "reading", "calibration", "network", "writing")


def union(spans: list[Span]) -> list[Span]:
    """Join spans that overlap, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def length(spans: list[Span]) -> float:
    """Seconds in which at least one of the spans goes on."""
    return sum(end - start for start, end in union(spans))


def both(a: list[Span], b: list[Span]) -> float:
    """Seconds in which spans of both go on."""
    return length(a) + length(b) - length(a + b)


def worker(arguments: list[str]) -> None:
    """Run the command with its stages timed; print them as JSON."""
    begun = time.perf_counter()
    from csmri_ext.commands import recon, reconstruct_file
    from csmri_ext.recon.evaluate import Problems
    from csmri_ext.recon.network_method import Network
    from csmri_ext.recon.volumes import Volume

    spans: dict[str, list[Span]] = {stage: [] for stage in STAGES}
    spans["loading"].append((begun, time.perf_counter()))

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                spans[stage].append((start, time.perf_counter()))

        return call

    def checked(volume: Volume) -> None:  # reads each slice: no reading for a reconstruction
        reads, Volume.kspace = Volume.kspace, read  # type: ignore[method-assign]
        try:
            check(volume)
        finally:
            Volume.kspace = reads  # type: ignore[method-assign]

    read, check, writer_for = Volume.kspace, Volume.check, reconstruct_file.writer_for
    Volume.kspace = timed("reading", read)  # type: ignore[method-assign]
    Volume.check = timed("checking", checked)  # type: ignore[method-assign]
    Problems._calibrate = timed("calibration", Problems._calibrate)  # type: ignore[method-assign]
    Network._slice = timed("network", Network._slice)  # type: ignore[method-assign]
    reconstruct_file.writer_for = lambda *args: timed("writing", writer_for(*args))
    code = recon.main(arguments)
    if code:
        raise SystemExit(code)
    whole = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"whole": whole, "peak": peak, "spans": spans}))


def table(found: dict[str, Any], slices: int) -> list[str]:
    """Lines of the table and of what follows from it."""
    whole: float = found["whole"]
    spans = {stage: [(start, end) for start, end in of] for stage, of in found["spans"].items()}
    lines = ["| stage | s | share | waited, s |", "|---|---|---|---|"]
    for stage in STAGES:
        if spans[stage]:
            busy = length(spans[stage])
            waited = max(end for _, end in spans[stage]) - min(start for start, _ in spans[stage]) - busy
            lines.append(f"| {stage} | {busy:.2f} | {100 * busy / whole:.0f} % | {waited:.2f} |")
    ahead, network = spans["reading"] + spans["calibration"], spans["network"]
    hidden = both(ahead, network) / max(length(ahead), 1e-9)
    working = length([span for of in spans.values() for span in of])
    lines.append(
        f"\n{whole:.1f} s, {whole / slices:.2f} s a slice; {100 * hidden:.0f} % of reading and calibration while the "
        f"network works; something works {100 * working / whole:.0f} % of the time; "
        f"peak memory {found['peak']:.0f} MB"
    )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=30)
    parser.add_argument("--coils", type=int, default=15)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--method", default="nasn_knee")
    parser.add_argument("--file", type=Path, help="where the phantom is kept, made if it is not there")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker is not None:
        worker(options.worker)
        return 0
    from benchmarks.timing import machine
    from csmri_ext.phantom import write_phantom

    with tempfile.TemporaryDirectory() as folder:
        source, result = options.file or Path(folder) / "volume.h5", Path(folder) / "result.h5"
        if not source.exists():
            write_phantom(source, options.slices, size=options.size, n_coils=options.coils)
        words = [str(source), str(result), "--method", options.method, "--mask", "random", "--acceleration", "4"]
        command = [sys.executable, "-m", "benchmarks.whole_volume", "--worker", *words, "--seed", "0"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    size = f"{options.slices} slices, {options.coils} coils, {options.size} x {options.size}"
    print(f"{machine()}; {size}, {options.method}\n")
    print("\n".join(table(json.loads(done.stdout.splitlines()[-1]), options.slices)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
