"""Whole networks on the CPU: ``python -m benchmarks.end_to_end [--only NAME|FILE] [--threads 1 2] [--batch 1 8]``.

Every network by name on one 320 x 320 slice of the phantom and on a batch, random weights: with our kernels, with the
plain-PyTorch twins (`csmri_ext.reference_ops`) as they are and in channels_last, and with torch.compile of the twins,
taking turns in one process under the tuned allocator of `timing`; with ``--training`` one training step of a slice too.
Beside the times: parameters, operations, difference from the twins (of the image, or of the gradient of the first
weight), and the peak of resident memory above the state after imports and weights, of inference and of one training
step, each measured in a process of its own. Last, a NasN against 200 iterations of total variation by ``bart pics`` on
the same slice, one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.timing import in_fresh_process, machine, side_by_side
from csmri_ext.outputs import require_writable_file, write_bytes

SLOW_MS = 4000.0  # a network that takes longer gets fewer repetitions


def measure(name: str, threads: int, batch: int, repetitions: int, compiled: bool, training: bool) -> dict[str, Any]:
    """One network in this process: inference, or one training step (forward and backward of the sum of magnitudes)."""
    import torch

    import csmri_ext
    from benchmarks.models import SIDE, build, measurement
    from csmri_ext.metrics import count_flops, count_parameters

    torch.set_num_threads(threads)
    inputs = measurement(batch)
    row: dict[str, Any] = {"name": name, "threads": threads, "batch": batch, "machine": machine()}
    row["what"] = "training" if training else "inference"
    gradients: dict[str, torch.Tensor] = {}

    def way(label: str, twins: bool, change: Callable[[torch.nn.Module], Any] = lambda model: model) -> None:
        model = build(name).train(training)
        changed = change(model)
        first = next(iter(model.parameters()), None)

        def call() -> Any:
            with csmri_ext.reference_ops() if twins else nullcontext():
                if not training:
                    return changed(*inputs)
                model.zero_grad(set_to_none=True)
                loss = changed(*inputs).abs().sum()
                loss.backward()
                if first is not None and first.grad is not None:
                    gradients[label] = first.grad
                return loss

        ways[label] = call

    ways: dict[str, Callable[[], Any]] = {}
    way("ours", twins=False)
    way("twins", twins=True)
    way("channels_last", True, lambda model: model.to(memory_format=torch.channels_last))
    model = build(name)
    row |= {"parameters": count_parameters(model), "flops": batch * count_flops(model, (SIDE, SIDE))}
    with nullcontext() if training else torch.inference_mode():
        ours, twin = ways["ours"](), ways["twins"]()
        if training:
            ours, twin = gradients["ours"], gradients["twins"]
        row["difference"] = float((ours - twin).norm() / twin.norm())
        if compiled:
            way("torch.compile", True, torch.compile)
            try:
                ways["torch.compile"]()
            except Exception as error:  # the compiler's own failures are a result
                del ways["torch.compile"]
                row["compile_error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
        start = time.perf_counter()
        ways["twins"]()
        slow = 1e3 * (time.perf_counter() - start) > SLOW_MS
        row["repetitions"] = 3 if slow else repetitions
        timing = side_by_side(ways, row["repetitions"], warmup=0 if slow else 1)
    return row | {"ms": timing.milliseconds, "ratio": timing.ratios}


def measure_memory(name: str, threads: int, batch: int, what: str) -> dict[str, Any]:
    """Peak resident bytes of one call above the state before it; `what` is "inference" or "training", ours or twins."""
    import torch

    import csmri_ext
    from benchmarks.models import build, measurement

    torch.set_num_threads(threads)
    kind, side = what.split(",")
    model, inputs = build(name), measurement(batch)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts from here

    def run() -> None:
        if kind == "training":
            model.train()(*inputs).abs().sum().backward()
        else:
            with torch.inference_mode():
                model(*inputs)

    if side == "twins":
        with csmri_ext.reference_ops():
            run()
    else:
        run()
    return {"what": what, "bytes": _resident("VmHWM") - before}


def _resident(key: str) -> int:
    """VmRSS (now) or VmHWM (highest) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {key}")


def against_bart(name: str, repetitions: int) -> dict[str, Any]:
    """Seconds of a network and of ``bart pics -i 200 -R T`` for the same slice, one core each, taking turns."""
    import torch

    from benchmarks.models import build, measurement
    from csmri_ext.bridge import bart_version, pics

    torch.set_num_threads(1)
    model, (kspace, mask) = build(name), measurement(1)
    measured, pattern = kspace.numpy(), mask.numpy()
    options: dict[str, Any] = {"regularization": "T:3:0:0.01", "pattern": pattern, "processes": 1}

    def network() -> None:
        with torch.inference_mode():
            model(kspace, mask)

    ways = {"network": network, "bart": lambda: pics(measured, None, **options)}
    timing = side_by_side(ways, repetitions, warmup=1)
    return {"name": name, "bart": bart_version(), "ms": timing.milliseconds, "ratio": timing.ratios["bart"]}


def table(results: dict[str, Any]) -> str:
    """Markdown of everything."""
    lines = [
        "| network | parameters | what | batch | threads | Gflop | ours, ms | Gflop/s | twins / ours "
        "| channels_last / ours | torch.compile / ours | difference | memory, MB: inference, twins; training, twins |",
        "|---" * 13 + "|",
    ]
    for row in results["rows"]:
        memory = "; ".join(
            ", ".join(f"{row['memory'][f'{kind},{side}'] / 1e6:.0f}" for side in ("ours", "twins"))
            for kind in ("inference", "training")
            if f"{kind},ours" in row.get("memory", {})
        )
        ratios = [
            f"{row['ratio'][way]:.2f}" if way in row["ratio"] else "-"
            for way in ("twins", "channels_last", "torch.compile")
        ]
        # The flops of a step are those of its forward pass times three: each product has two gradients.
        flops = row["flops"] * (3 if row["what"] == "training" else 1)
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {row['what']} | {row['batch']} | {row['threads']} "
            f"| {flops / 1e9:.1f} | {row['ms']['ours']:.4g} | {flops / row['ms']['ours'] / 1e6:.1f} "
            f"| {' | '.join(ratios)} | {row['difference']:.1e} | {memory} |"
        )
    best = [min(row["ratio"].values()) for row in results["rows"]]
    lines += (
        ["", f"Median of the best form / ours: {statistics.median(best):.2f}, lowest {min(best):.2f}."] if best else []
    )
    lines += [
        f"\n{row['name']}, {row['what']}, {row['threads']} thread(s): torch.compile failed ({row['compile_error']})."
        for row in results["rows"]
        if "compile_error" in row
    ]
    for versus in results["bart"]:
        lines += [
            "",
            f"{versus['name']}, one slice, one core: {versus['ms']['network']:.0f} ms; bart {versus['bart']} pics, 200 "
            f"iterations of TV: {versus['ms']['bart']:.0f} ms, {versus['ratio']:.1f} times as long.",
        ]
    return "\n".join(lines)


def run_all(options: argparse.Namespace) -> dict[str, Any]:
    """Every network, thread count and batch in processes of their own."""
    from benchmarks.models import constructors

    if options.only is not None and options.only.endswith(".safetensors"):
        names = [options.only]
    else:
        names = [name for name in constructors() if options.only is None or options.only in name]
    results: dict[str, Any] = {"rows": [], "bart": []}

    def run(name: str, threads: int, batch: int, *extra: str) -> Any:
        passed = ["--network", name, "--batch", str(batch), "--repetitions", str(options.repetitions), *extra]
        return in_fresh_process(
            "benchmarks.end_to_end", passed, threads, "tuned" if "--memory" not in extra else "default"
        )

    def timed(name: str, threads: int, batch: int, *extra: str) -> Any:
        if options.no_compile:
            return run(name, threads, batch, *extra, "--no-compile")
        try:
            return run(name, threads, batch, *extra)
        except subprocess.CalledProcessError as error:  # compiled code can end the whole process
            died = f"exit code {error.returncode} of its process"
            print(f"torch.compile of the twins: {died}; once more without it", file=sys.stderr)
            return run(name, threads, batch, *extra, "--no-compile") | {"compile_error": died}

    for name in names:
        for threads in options.threads:
            for batch in options.batch:
                print(f"measuring: {name}, {threads} thread(s), batch {batch} ...", file=sys.stderr)
                row = timed(name, threads, batch)
                if threads == options.threads[0]:
                    kinds = ("inference", "training") if batch == 1 else ("inference",)
                    whats = [f"{kind},{side}" for kind in kinds for side in ("ours", "twins")]
                    row["memory"] = {what: run(name, threads, batch, "--memory", what)["bytes"] for what in whats}
                results["rows"].append(row)
            if options.training:
                print(f"measuring: {name}, {threads} thread(s), training ...", file=sys.stderr)
                results["rows"].append(timed(name, threads, 1, "--training"))
        if name == options.against_bart:
            results["bart"].append(run(name, 1, 1, "--bart"))
    return results


def main() -> None:
    """Measure, print the table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks whose name contains this text; or a file of weights")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--training", action="store_true", help="time one training step of one slice too")
    parser.add_argument("--against-bart", default="nasn_knee", metavar="NAME", help="network to compare with bart")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    for hidden in ("--worker", "--bart"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        threads, batch = options.threads[0], options.batch[0]
        if options.bart:
            answer = against_bart(options.network, options.repetitions)
        elif options.memory:
            answer = measure_memory(options.network, threads, batch, options.memory)
        else:
            answer = measure(
                options.network, threads, batch, options.repetitions, not options.no_compile, options.training
            )
        print(json.dumps(answer))
        return
    if options.json:
        require_writable_file(options.json)
    results = run_all(options)
    print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(options.json, f"{json.dumps(results, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
