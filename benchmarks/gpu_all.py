"""Everything on a GPU by one command: ``python -m benchmarks.gpu_all [--out FOLDER]``.

1. Builds the kernels for this card twice: with its instructions, and with the portable bodies of
   csrc/core/device_prims.cuh (-DCSMRI_PORTABLE).
2. Runs the GPU tests against float64 references with both, and under compute-sanitizer (memcheck, racecheck,
   synccheck, initcheck) where it is installed.
3. Times every operator and every network: CUDA events around eager calls and around replays of CUDA graphs, on several
   sets of inputs, beside the measured copy and matrix-product rates of the card; against eager torch (cuFFT, cuDNN),
   torch.compile, and the portable build.

Writes FOLDER/gpu.json and FOLDER/gpu.md, and prints the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import gpu_table
from csmri_ext.outputs import require_writable_file, write_bytes

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = {"fast": "", "portable": "-DCSMRI_PORTABLE"}
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
GPU_TESTS = ["-m", "pytest", "-q", "-m", "cuda", "tests"]
ONE_TEST_PER_OP = ["-m", "pytest", "-q", "tests/ops/test_every_op_on_gpu.py", "-k", "agrees_with_the_twin"]


def requirements() -> list[str]:
    """Say what is missing on this machine, one line each."""
    import torch

    missing = []
    if torch.version.cuda is None:
        missing.append(f"torch {torch.__version__} was built without CUDA: install a CUDA build of torch")
    elif not torch.cuda.is_available():
        missing.append("torch.cuda.is_available() is False: no GPU, or no driver for it")
    if shutil.which("nvcc") is None:
        missing.append("nvcc is not on the PATH: install the CUDA toolkit")
    return missing


def build(variant: str, folder: Path) -> Path:
    """Compile and install the package with the kernels of `variant`; returns the folder to import it from."""
    target = folder / f"build-{variant}" / "site"
    shutil.rmtree(target, ignore_errors=True)
    settings = ["CSMRI_CUDA=ON", "CMAKE_CUDA_ARCHITECTURES=native", f"CMAKE_CUDA_FLAGS={VARIANTS[variant]}"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--target", str(target), *[f"--config-settings=cmake.define.{setting}" for setting in settings]]
    subprocess.run([*command, f"-Cbuild-dir={folder}/build-{variant}/cmake", str(ROOT)], check=True)
    return target


def run(site: Path, arguments: Sequence[str], prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run python with the package from `site`; its output is passed on and kept."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [*prefix, sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return done


def check(site: Path, arguments: Sequence[str], prefix: Sequence[str] = ()) -> dict[str, Any]:
    """Exit code and last lines of a test run."""
    done = run(site, arguments, prefix)
    return {"command": " ".join([*prefix, "python", *arguments]), "exit": done.returncode, "tail": done.stdout[-2000:]}


def measure(site: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Numbers of `gpu_worker` with the package from `site`.

    Raises
    ------
    RuntimeError
        If the process used other kernels than those of `site`, or failed.
    """
    done = run(site, ["-m", "benchmarks.gpu_worker", *arguments])
    if done.returncode:
        raise RuntimeError(f"benchmarks.gpu_worker ended with {done.returncode}: {done.stdout[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not Path(result["core"]).is_relative_to(site):
        raise RuntimeError(f"measured {result['core']}, which is not in {site}")
    return result


def main() -> None:
    """Build, check, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "gpu")
    parser.add_argument("--only", help="cases whose name contains this text; no networks")
    options = parser.parse_args()
    missing = requirements()
    if missing:
        raise SystemExit("gpu_all cannot run here:\n" + "\n".join(f"- {line}" for line in missing))
    folder = options.out.resolve()
    for name in ("gpu.json", "gpu.md"):
        require_writable_file(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"checks": {}, "variants": {}}
    sites = {}
    for variant in VARIANTS:
        print(f"building: {variant} ...", file=sys.stderr)
        sites[variant] = build(variant, folder)
        print(f"testing: {variant} ...", file=sys.stderr)
        results["checks"][f"tests, {variant}"] = check(sites[variant], GPU_TESTS)
    sanitizer = shutil.which("compute-sanitizer")
    for tool in SANITIZERS if sanitizer else ():
        print(f"compute-sanitizer: {tool} ...", file=sys.stderr)
        prefix = [str(sanitizer), "--tool", tool, "--error-exitcode", "9"]
        results["checks"][tool] = check(sites["fast"], ONE_TEST_PER_OP, prefix)
    passed = ["--only", options.only, "--no-models"] if options.only else []
    print("measuring ...", file=sys.stderr)
    results["variants"]["fast"] = measure(sites["fast"], passed)
    results["variants"]["portable"] = measure(sites["portable"], [*passed, "--no-rivals", "--no-models"])
    write_bytes(folder / "gpu.json", f"{json.dumps(results, indent=1)}\n".encode())
    text = gpu_table.markdown(results)
    write_bytes(folder / "gpu.md", text.encode())
    print(text)
    if any(result["exit"] for result in results["checks"].values()):
        raise SystemExit("some checks failed: see above, and the ends of their output in gpu.json")


if __name__ == "__main__":
    main()
