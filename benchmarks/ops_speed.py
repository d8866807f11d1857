"""Speed of every fused CPU operator against torch: ``python -m benchmarks.ops_speed [--threads 1 2] [--only NAME]``.

Each case runs in one process with ours, eager and torch.compile taking turns, under `torch.inference_mode` for forward
cases. Two columns: with glibc's allocator tuned to keep freed memory (the honest one) and with its default. Beside each
time stands what it reaches of the floor: the larger of bytes / measured copy rate and flops / measured multiply-add
rate. `--page docs/speed.md --json benchmarks/ops_speed.json` prints the table into that page.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import speed_table
from benchmarks.alternation import measure_alternation
from benchmarks.cases import COMPILED, MAIN, all_cases
from benchmarks.timing import ALLOCATORS, copy_rate, in_fresh_process, machine, side_by_side
from csmri_ext.outputs import require_writable_file, write_bytes


def measure(threads: int, only: str | None, repetitions: int, compiled: bool, rivals: bool) -> dict[str, Any]:
    """All cases at one thread count, in this process."""
    import torch

    from csmri_ext import _core

    torch.set_num_threads(threads)
    torch._dynamo.config.cache_size_limit = 64
    fma = _core.measure_fma_rate(threads)
    copy = copy_rate(128 << 20)
    rows = []
    for name, build in all_cases(only).items():
        if not rivals and name not in MAIN:
            continue
        case = build(compiled and name in COMPILED)
        ways = {"ours": case.ours, **(case.rivals if rivals else {})}
        timing = side_by_side(ways, repetitions)
        rows.append(
            {
                "name": name,
                "case": case.name,
                "target": case.target,
                "ms": timing.milliseconds,
                "ratio": timing.ratios,
                "floor_ms": 1e3 * max(case.n_bytes / copy, case.flops / fma),
                "bound": "bytes" if case.n_bytes / copy > case.flops / fma else "flops",
                "bytes": case.n_bytes,
                "flops": case.flops,
                "error": case.check() if case.check else None,
            }
        )
    result = {"threads": threads, "simd": _core.simd_level(), "fma_gflops": fma / 1e9, "copy_gbytes": copy / 1e9}
    return result | {"machine": machine(), "rows": rows}


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Every process in turn; all numbers."""

    def run(threads: int, allocator: str, *extra: str, repetitions: int, **settings: str) -> Any:
        words = ", ".join([f"{threads} thread(s)", f"{allocator} allocator", *settings.values()])
        print(f"measuring: {words} ...", file=sys.stderr)
        passed = ["--repetitions", str(repetitions), *(["--only", options.only] if options.only else []), *extra]
        return in_fresh_process("benchmarks.ops_speed", passed, threads, allocator, settings)

    no_compile = ["--no-compile"] if options.no_compile else []
    results: dict[str, Any] = {"repetitions": options.repetitions, "runs": [], "levels": [], "alternation": []}
    for threads in options.threads:
        for allocator in ["tuned"] if options.tuned_only else ALLOCATORS:
            # torch.compile has no column for the default allocator, which takes the time of one in five repetitions
            extra = no_compile if allocator == "tuned" else ["--no-compile"]
            repetitions = options.repetitions if allocator == "tuned" else max(5, options.repetitions // 3)
            measured = run(threads, allocator, *extra, repetitions=repetitions)
            results["runs"].append(measured | {"allocator": allocator})
        if not options.only:
            results["alternation"].append(run(threads, "tuned", "--alternation", repetitions=options.repetitions))
    if not options.no_levels:
        from csmri_ext import _core

        info = _core.build_info()
        for level in info["simd_levels"][: info["simd_levels"].index(info["simd_of_machine"]) + 1]:
            measured = run(1, "tuned", "--ours-only", repetitions=options.repetitions, CSMRI_SIMD=level)
            results["levels"].append(measured)
    return results


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", help="cases whose name contains this text")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (it takes most of the time)")
    parser.add_argument("--no-levels", action="store_true", help="leave the other instruction sets out")
    parser.add_argument("--tuned-only", action="store_true", help="leave the default allocator out")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--page", type=Path, help="write the table into this file, after the line <!-- speed -->")
    parser.add_argument("--from-json", type=Path, help="measure nothing; make the table from this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ours-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--alternation", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker and options.alternation:
        print(json.dumps(measure_alternation(options.threads[0], options.repetitions)))
        return
    if options.worker:
        threads, compiled = options.threads[0], not options.no_compile
        print(json.dumps(measure(threads, options.only, options.repetitions, compiled, not options.ours_only)))
        return
    for path in filter(None, (options.json, options.page)):
        require_writable_file(path)
    if options.page:
        speed_table.put_after_marker(options.page.read_text(), "")  # no marker: said before anything is measured
    results = json.loads(options.from_json.read_text()) if options.from_json else run_all(options)
    text = speed_table.markdown(results)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(options.json, f"{json.dumps(results, indent=1)}\n".encode())
    if options.page:
        write_bytes(options.page, speed_table.put_after_marker(options.page.read_text(), text).encode())


if __name__ == "__main__":
    main()
