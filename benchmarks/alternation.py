"""Whether torch's operators and ours hurt each other when they take turns in one process.

Both use OpenMP. Two runtimes, or one team waiting actively while the other works, would show as times that grow when
calls alternate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def measure_alternation(threads: int, repetitions: int) -> dict[str, Any]:
    """Median milliseconds of each call when repeated, and when the calls alternate, rounds of both taking turns."""
    import torch

    from csmri_ext import ops

    torch.set_num_threads(threads)
    x, weight = torch.randn(2, 32, 320, 320), torch.randn(3, 8, 3, 3)
    dense = torch.randn(32, 32, 3, 3)
    image = torch.randn(8, 320, 320, dtype=torch.complex64)
    prepared = ops.prepare_data_consistency(image, torch.rand(320) < 0.3)
    calls: dict[str, Callable[[], Any]] = {
        "torch conv2d 32 -> 32": lambda: torch.nn.functional.conv2d(x, dense, padding=1),
        "split_depthwise": lambda: ops.split_depthwise(x, weight),
        "torch fft2": lambda: torch.fft.fft2(image),
        "data_consistency": lambda: ops.data_consistency_prepared(image, prepared, 0.5),
    }
    alone: dict[str, list[float]] = {name: [] for name in calls}
    mixed: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
        for _ in range(repetitions):
            for name, call in calls.items():
                call()  # not timed: the call before was another one
                alone[name].append(milliseconds(call))
            for name, call in calls.items():
                mixed[name].append(milliseconds(call))
    return {
        "threads": threads,
        "alone_ms": {name: statistics.median(times) for name, times in alone.items()},
        "alternating_ms": {name: statistics.median(times) for name, times in mixed.items()},
    }


def milliseconds(call: Callable[[], Any]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)
