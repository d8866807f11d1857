"""Which instruction set is taken, on machines that the one at hand is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
MACHINES = {
    "old": "",
    "haswell": "avx2 fma",
    "half": "avx2 avx512f",
    "skylake": "avx2 fma avx512f avx512dq avx512bw avx512vl",
}
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#define CSMRI_X86_LEVELS
#define __builtin_cpu_init()
#define __builtin_cpu_supports(name) has(" " name " ")
#include <string>
static bool has(const char* name) {
  return (std::string(" ") + std::getenv("HAS") + " ").find(name) != std::string::npos;
}
#include "core/simd.cpp"
int main() {
  try {
    std::puts(csmri::simd_name(csmri::simd_level()));
  } catch (const std::exception& error) {
    std::puts(error.what());
  }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no compiler")
    folder = tmp_path_factory.mktemp("simd")
    (folder / "choice.cpp").write_text(PROGRAM)
    words = [compiler, "-std=c++17", f"-I{CSRC}", str(folder / "choice.cpp"), "-o", str(folder / "choice")]
    subprocess.run(words, check=True)
    return folder / "choice"


@pytest.mark.parametrize(
    ("machine", "wanted", "taken"),
    [
        ("old", "", "baseline"),
        ("haswell", "", "avx2"),
        ("half", "", "baseline"),
        ("skylake", "", "avx512"),
        ("skylake", "avx2", "avx2"),
        ("skylake", "baseline", "baseline"),
        ("haswell", "avx2", "avx2"),
        ("haswell", "avx512", "CSMRI_SIMD=avx512, but this machine has only avx2"),
        ("old", "avx2", "CSMRI_SIMD=avx2, but this machine has only baseline"),
        ("old", "sse9", "CSMRI_SIMD=sse9: expected baseline, avx2 or avx512"),
    ],
)
def test_the_best_that_the_machine_has_or_what_is_wanted(program: Path, machine: str, wanted: str, taken: str) -> None:
    environment = {**os.environ, "HAS": MACHINES[machine], "CSMRI_SIMD": wanted}
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{taken}\n"
