"""Times several ways to compute the same thing, side by side in one process, in rotating order."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# glibc returns large freed blocks to the kernel, so that an op which allocates its output pays page faults on every
# call. That penalty has nothing to do with the op: the tuned setting removes it for both sides.
ALLOCATORS: dict[str, dict[str, str]] = {
    "tuned": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
        "MALLOC_TOP_PAD_": str(256 << 20),
    },
    "default": {},
}


@dataclass
class Case:
    """One computation and the ways to do it.

    `ours` is compared with each of `rivals`; all are called without arguments and must leave no state behind. `n_bytes`
    is the least memory traffic (read inputs once, write outputs once), `flops` the least arithmetic, for the floor.
    Inputs live on torch's default device: within ``torch.device("cuda")`` the same case is one of the GPU.
    """

    name: str
    ours: Callable[[], Any]
    rivals: dict[str, Callable[[], Any]]
    n_bytes: int
    flops: int
    target: str = ""
    check: Callable[[], float] | None = None  # relative error of `ours` against a float64 reference


@dataclass
class Timing:
    """Median milliseconds of each way, and the median of the paired ratios rival / ours."""

    milliseconds: dict[str, float]
    ratios: dict[str, float]


def side_by_side(
    ways: Mapping[str, Callable[[], Any]],
    repetitions: int = 15,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Call every way `repetitions` times, each round in a rotated order; the first way is the yardstick."""
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(warmup + repetitions):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            start = clock()
            ways[name]()
            elapsed = clock() - start
            if round_ >= warmup:
                times[name].append(1e3 * elapsed)
    first = times[names[0]]
    ratios = {n: statistics.median(t / o for t, o in zip(times[n], first, strict=True)) for n in names[1:]}
    return Timing({name: statistics.median(times[name]) for name in names}, ratios)


def copy_rate(n_bytes: int, repetitions: int = 9) -> float:
    """Bytes per second, read plus written, of a plain copy of a tensor of `n_bytes`."""
    import torch

    source = torch.ones(n_bytes // 4)
    target = torch.empty_like(source)
    timing = side_by_side({"copy": lambda: target.copy_(source)}, repetitions)
    return 2 * n_bytes / (timing.milliseconds["copy"] * 1e-3)


def machine() -> str:
    """Processor, threads in use, torch and kernel level, in one line."""
    import torch

    from csmri_ext import _core

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {_core.simd_level()}, torch {torch.__version__}"


def in_fresh_process(
    module: str, arguments: list[str], threads: int, allocator: str, settings: Mapping[str, str] | None = None
) -> Any:
    """Run ``python -m module`` with its own threads, allocator and settings; return the JSON of its last line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | ALLOCATORS[allocator]
    environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | dict(settings or {})
    command = [sys.executable, "-m", module, "--worker", "--threads", str(threads), *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
