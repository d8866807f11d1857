"""Times on a GPU: CUDA events around eager calls and around replays of a CUDA graph; what the card can do at best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

Call = Callable[[], Any]


def ceilings() -> dict[str, float]:
    """Bytes/s of a copy (read plus written) and flop/s of large products: fp32, tf32, bf16."""
    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    found = {"copy": 2 * source.nbytes / (1e-6 * event_microseconds([lambda: target.copy_(source)] * 5))}
    n = 8192
    for name, dtype, tf32 in (
        ("fp32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, 0),
    ):
        before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, tf32
        a, b = torch.randn(2, n, n, device="cuda", dtype=dtype)
        found[name] = 2 * n**3 / (1e-6 * event_microseconds([lambda a=a, b=b: a @ b] * 3))
        torch.backends.cuda.matmul.allow_tf32 = before
    return found


def event_microseconds(calls: Sequence[Call], repetitions: int = 15) -> float:
    """Microseconds per call: median over repetitions of all calls in a row."""
    for call in calls:
        call()
    return statistics.median(_between_events(calls) for _ in range(repetitions))


def _between_events(calls: Sequence[Call]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for call in calls:
        call()
    end.record()
    end.synchronize()
    return 1e3 * float(start.elapsed_time(end)) / len(calls)


def capture(calls: Sequence[Call]) -> Call:
    """One CUDA graph of all calls; returns its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # plans, tables, modules, compiled code
            for call in calls:
                call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph.replay


def side_by_side(ways: dict[str, Sequence[Call]], repetitions: int = 15) -> dict[str, dict[str, Any]]:
    """Time every way eagerly and as a CUDA graph, in rotating order.

    Parameters
    ----------
    ways
        Per way the same computation on several sets of inputs, together larger than the second-level cache.

    Returns
    -------
        Per way ``eager_us`` and ``graph_us`` per call; ``error`` instead where the way fails or cannot be captured.
    """
    results: dict[str, dict[str, Any]] = {name: {} for name in ways}
    runs: dict[tuple[str, str], Sequence[Call]] = {}
    for name, calls in ways.items():
        try:
            for call in calls:
                call()
            runs[name, "eager_us"] = calls
            runs[name, "graph_us"] = [capture(calls)]
        except Exception as error:  # a rival that fails is a result, not the end of the run
            results[name]["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            torch.cuda.synchronize()
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    keys = list(runs)
    for round_ in range(2 + repetitions):
        turn = round_ % max(len(keys), 1)
        for key in keys[turn:] + keys[:turn]:
            microseconds = _between_events(runs[key])
            if round_ >= 2:
                times[key].append(microseconds)
    for (name, kind), measured in times.items():
        per_graph = len(ways[name]) if kind == "graph_us" else 1
        results[name][kind] = statistics.median(measured) / per_graph
    return results
