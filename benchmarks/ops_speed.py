"""Speed of every fused CPU operator against torch: ``python -m benchmarks.ops_speed [--threads 1 2] [--only NAME]``.

Each case runs in one process with ours, eager and torch.compile taking turns, under `torch.inference_mode` for forward
cases. Two columns: with glibc's allocator tuned to keep freed memory (the honest one) and with its default. Beside each
time stands the floor: the larger of bytes / measured copy rate and flops / measured multiply-add rate.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.timing import ALLOCATORS, copy_rate, in_fresh_process, machine, side_by_side


def measure(threads: int, only: str | None, repetitions: int, compiled: bool) -> dict[str, Any]:
    """All cases at one thread count, in this process."""
    import torch

    from benchmarks.cases import all_cases
    from csmri_ext import _core

    torch.set_num_threads(threads)
    fma = _core.measure_fma_rate(threads)
    copy = copy_rate(128 << 20)
    rows = []
    for build in all_cases(only):
        case = build(compiled)
        timing = side_by_side({"ours": case.ours, **case.rivals}, repetitions)
        floor = 1e3 * max(case.n_bytes / copy, case.flops / fma)
        error = case.check() if case.check else None
        rows.append(
            {
                "case": case.name,
                "target": case.target,
                "ms": timing.milliseconds,
                "ratio": timing.ratios,
                "floor_ms": floor,
                "bound": "bytes" if case.n_bytes / copy > case.flops / fma else "flops",
                "error": error,
            }
        )
    return {"threads": threads, "fma_gflops": fma / 1e9, "copy_gbytes": copy / 1e9, "machine": machine(), "rows": rows}


def table(results: dict[tuple[int, str], dict[str, Any]]) -> str:
    """Markdown: one row per case and thread count."""
    lines = [
        "| case | threads | ours ms | floor ms (bound by) | rival | rival ms | ratio | default allocator | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (threads, allocator), result in results.items():
        if allocator != "tuned":
            continue
        other = results.get((threads, "default"))
        for i, row in enumerate(result["rows"]):
            for rival, ratio in row["ratio"].items():
                default = f"{other['rows'][i]['ratio'][rival]:.1f}x" if other else ""
                error = "" if row["error"] is None else f"{row['error']:.1e}"
                mark = " (we lose)" if ratio < 1 else ""
                lines.append(
                    f"| {row['case']} | {threads} | {row['ms']['ours']:.3g} | {row['floor_ms']:.3g} ({row['bound']}) "
                    f"| {rival} | {row['ms'][rival]:.3g} | {ratio:.1f}x{mark} | {default} | {error} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", help="cases whose name contains this text")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (it takes most of the time)")
    parser.add_argument("--tuned-only", action="store_true", help="leave the default allocator out")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        result = measure(options.threads[0], options.only, options.repetitions, not options.no_compile)
        print(json.dumps(result))
        return
    passed = ["--repetitions", str(options.repetitions)]
    passed += ["--only", options.only] if options.only else []
    passed += ["--no-compile"] if options.no_compile else []
    results = {}
    for threads in options.threads:
        for allocator in ["tuned"] if options.tuned_only else ALLOCATORS:
            print(f"measuring: {threads} thread(s), {allocator} allocator ...", file=sys.stderr)
            results[threads, allocator] = in_fresh_process("benchmarks.ops_speed", passed, threads, allocator)
    first = next(iter(results.values()))
    print(first["machine"])
    for (threads, allocator), result in results.items():
        if allocator == "tuned":
            print(f"{threads} thread(s): {result['fma_gflops']:.0f} Gflop/s, copy {result['copy_gbytes']:.1f} GB/s")
    print()
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps({f"{t} threads, {a}": r for (t, a), r in results.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
