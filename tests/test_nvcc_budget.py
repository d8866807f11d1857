"""nvcc compiles every kernel for the architectures of the wheel, within csrc/register_budget.toml."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
SOURCES = sorted(CSRC.glob("**/*.cu"))
ARCHITECTURES = ("80", "90a", "100")
FLAGS = ["-std=c++17", "-O3", "-Xptxas", "-v", f"-I{CSRC}"]
FLAGS += [flag for a in ARCHITECTURES for flag in ("-gencode", f"arch=compute_{a},code=sm_{a}")]
BUDGET = tomllib.loads((CSRC / "register_budget.toml").read_text())


@dataclass(frozen=True)
class Usage:
    kernel: str
    architecture: str
    registers: int
    spills: int
    shared: int


def kernel_name(mangled: str) -> str:
    """The part that ends with _kernel of a nested name, _ZN<length><part><length><part>..."""
    rest = mangled.removeprefix("_ZN")
    while length := re.match(r"\d+", rest):
        begin, end = length.end(), length.end() + int(length[0])
        if rest[begin:end].endswith("_kernel"):
            return rest[begin:end]
        rest = rest[end:]
    raise AssertionError(f"the name of a kernel ends with _kernel: {mangled}")


def parse(report: str) -> Iterator[Usage]:
    """What ptxas -v says about each kernel."""
    for entry in re.split(r"Compiling entry function '", report)[1:]:
        mangled, architecture = re.match(r"(\S+)' for '(\S+)'", entry).groups()  # type: ignore[union-attr]
        spills = sum(map(int, re.findall(r"(\d+) bytes spill", entry)))
        shared = re.search(r"(\d+) bytes smem", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        assert registers, entry
        yield Usage(kernel_name(mangled), architecture, int(registers[1]), spills, int(shared[1]) if shared else 0)


def compile_for_device(nvcc: str, source: Path, cache: Path, tree: bytes) -> str:
    command = [nvcc, *FLAGS, "--fatbin", str(source)]
    report = cache / hashlib.sha256(repr(command).encode() + tree).hexdigest()[:20]
    if not report.exists():
        output = cache / f"{report.name}.fatbin"
        done = subprocess.run([*command, "-o", str(output)], capture_output=True, text=True)
        output.unlink(missing_ok=True)
        assert done.returncode == 0, f"{source.name}: {done.stderr[-4000:]}"
        partial = report.with_suffix(".part")
        partial.write_text(done.stdout + done.stderr)
        partial.replace(report)
    return report.read_text()


@pytest.fixture(scope="module")
def usages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Usage]:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc: the CUDA kernels cannot be compiled for a GPU here")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir("nvcc_budget")) if cache else tmp_path_factory.mktemp("nvcc_budget")
    version = subprocess.run([nvcc, "--version"], capture_output=True, check=True).stdout
    files = sorted(file for file in CSRC.rglob("*") if file.suffix in {".cu", ".cuh", ".hpp"})
    tree = version + b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        reports = pool.map(lambda source: compile_for_device(nvcc, source, folder, tree), SOURCES)
        return [usage for report in reports for usage in parse(report)]


def test_every_kernel_stays_within_its_budget(usages: list[Usage]) -> None:
    over = [
        f"{usage.kernel} on {usage.architecture}: {spent} {what}, budget {BUDGET[usage.kernel][what]}"
        for usage in usages
        for what in ("registers", "spills", "shared")
        if (spent := getattr(usage, what)) > BUDGET[usage.kernel][what]
    ]
    assert not over, "\n".join(over)


def test_the_budget_is_tight(usages: list[Usage]) -> None:
    """Each number is what some instance needs, so that a change in either direction is seen."""
    spent = {
        kernel: {what: max(getattr(u, what) for u in usages if u.kernel == kernel) for what in row}
        for kernel, row in BUDGET.items()
        if any(u.kernel == kernel for u in usages)
    }
    assert spent.keys() == BUDGET.keys(), "rows without a kernel"
    loose = [
        f"{kernel}: {what} {row[what]}, needs {spent[kernel][what]}"
        for kernel, row in BUDGET.items()
        for what in row
        if row[what] > spent[kernel][what] + (16 if what == "registers" else 0)
    ]
    assert not loose, "\n".join(loose)


def test_every_architecture_has_every_kernel(usages: list[Usage]) -> None:
    by_architecture = {a: {u.kernel for u in usages if u.architecture == f"sm_{a}"} for a in ARCHITECTURES}
    assert all(kernels == BUDGET.keys() for kernels in by_architecture.values()), by_architecture


def test_parser() -> None:
    report = """ptxas info    : Compiling entry function '_ZN5csmri13_GLOBAL__N__116line_pass_kernelIfEvi' for 'sm_90a'
ptxas info    : Function properties for x
    32 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 72 registers, used 1 barriers, 1024 bytes smem"""
    assert list(parse(report)) == [Usage("line_pass_kernel", "sm_90a", 72, 52, 1024)]


EVERY_PRIMITIVE = """
#include "core/device_prims.cuh"
using namespace csmri;
__global__ void every_primitive_kernel(float* x, BFloat16* b, Float16* h) {
  float* const shared = dynamic_shared<float>();
  const unsigned i = threadIdx.x;
  copy_async<16>(shared + 4 * i, x + 4 * i);
  copy_async<8>(shared + 2 * i, x + 2 * i);
  copy_async<4>(shared + i, x + i, i < 7);
  copy_async_commit();
  copy_async_wait<0>();
  cluster_sync();
  const unsigned a[4] = {tf32_bits(shared[i]), 1, 2, 3}, two[2] = {4, 5};
  float c[4] = {load_streaming(x), widen(b[i]), widen(h[i]), *shared_of_rank(shared, cluster_rank())};
  mma_tf32(c, a, two);
  mma_bf16(c, a, two);
  store_streaming(x + i, c[0]);
  b[i] = narrow<BFloat16>(c[1]);
  h[i] = narrow<Float16>(c[2] + c[3]);
}
"""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_primitives_compile_in_both_bodies(tmp_path: Path, architecture: str) -> None:
    """The fast bodies use the machine's instructions, those of -DCSMRI_PORTABLE none of them."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    source, output = tmp_path / "every_primitive.cu", tmp_path / "out.ptx"
    source.write_text(EVERY_PRIMITIVE)
    special = ["cp.async", "mma.sync", "cvt.rn.bf16"] + ["barrier.cluster", "mapa"] * (architecture != "80")
    for define, expected in (("-DCSMRI_FAST", True), ("-DCSMRI_PORTABLE", False)):
        command = [nvcc, "-std=c++17", f"-I{CSRC}", define, f"-arch=compute_{architecture}", "--ptx", str(source)]
        subprocess.run([*command, "-o", str(output)], check=True, capture_output=True)
        text = output.read_text()
        assert [word in text for word in special] == [expected] * len(special), define
