"""What `gpu_all` measures with one build of the kernels, in a process of its own; prints JSON as its last line."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from typing import Any

import torch

import csmri_ext
from benchmarks import cases_nasn
from benchmarks.cases import COMPILED, all_cases
from benchmarks.gpu_timing import ceilings, side_by_side
from benchmarks.models import build, constructors, measurement
from csmri_ext import _core

WORKING_SET = 256 << 20  # bytes that one way touches per replay: four times the second-level cache of an H100
MAX_SETS = 8


def measure_cases(only: str | None, rivals: bool) -> list[dict[str, Any]]:
    """Every case of `ops_speed`, on the GPU; those of NasN also with float32 products that TF32 does not round."""
    rows = []
    cases = all_cases(only).items()
    exact = [(name, make, False) for name, make in cases if name in cases_nasn.cases()]
    for name, make, tf32 in [*((name, make, True) for name, make in cases), *exact]:
        with torch.device("cuda"), torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            first = make(rivals and name in COMPILED)
            n_sets = min(max(WORKING_SET // max(first.n_bytes, 1), 2), MAX_SETS)
            sets = [first] + [make(rivals and name in COMPILED) for _ in range(n_sets - 1)]
            ways = {"ours": [case.ours for case in sets]}
            if rivals:
                ways |= {rival: [case.rivals[rival] for case in sets] for rival in first.rivals}
            row: dict[str, Any] = {
                "name": name,
                "case": first.name + ("" if tf32 else ", no TF32"),
                "bytes": first.n_bytes,
                "flops": first.flops,
            }
            row |= {"sets": n_sets, "error": first.check() if first.check else None, "ways": side_by_side(ways)}
        rows.append(row)
        torch.cuda.empty_cache()
    return rows


def measure_model(name: str, batch: int) -> dict[str, Any]:
    """One network with our kernels and with the twins, in eager mode, as a graph and compiled."""
    model = build(name).cuda()
    inputs = [x.cuda() for x in measurement(batch)]
    compiled = torch.compile(model)

    def call(step: Any, twins: bool) -> Any:
        def run() -> Any:
            with torch.inference_mode(), csmri_ext.reference_ops() if twins else nullcontext():
                return step(*inputs)

        return run

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ours = call(model, False)()
    row: dict[str, Any] = {"name": name, "batch": batch, "peak_bytes": torch.cuda.max_memory_allocated() - before}
    twin = call(model, True)()
    row["difference"] = float((ours - twin).norm() / twin.norm())
    ways = {"ours": call(model, False), "twins": call(model, True), "torch.compile of the twins": call(compiled, True)}
    return row | {"ways": side_by_side({way: [run] for way, run in ways.items()})}


def measure(only: str | None, rivals: bool, models: bool) -> dict[str, Any]:
    """All numbers of this process."""
    info = _core.build_info()
    if info["cuda"] is None:
        raise SystemExit(f"{_core.__file__} was built without CUDA kernels")
    result: dict[str, Any] = {"core": _core.__file__, "cuda": info["cuda"], "torch": torch.__version__}
    result |= {"gpu": torch.cuda.get_device_name(), "ceilings": ceilings(), "cases": measure_cases(only, rivals)}
    result["models"] = []
    for name in constructors() if models else ():
        for batch in (1, 8):
            try:
                result["models"].append(measure_model(name, batch))
            except torch.OutOfMemoryError as error:
                result["models"].append({"name": name, "batch": batch, "failed": str(error).splitlines()[0]})
            torch.cuda.empty_cache()
            torch._dynamo.reset()
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only")
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--no-models", action="store_true")
    options = parser.parse_args()
    print(json.dumps(measure(options.only, not options.no_rivals, not options.no_models)))


if __name__ == "__main__":
    main()
