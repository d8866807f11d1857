"""The module of CPU kernels built with AddressSanitizer and UBSan, and a Python process that uses it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLAGS = (
    *("-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fopenmp"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DCSMRI_LEVEL=baseline", '-DCSMRI_VERSION="0"'),
)
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:exitcode=66",  # Python itself leaks at its end
    "UBSAN_OPTIONS": "print_stacktrace=0",
    "OMP_NUM_THREADS": "2",
}
Edits = Sequence[tuple[str, str, str]]
LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("csmri_ext._core", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["csmri_ext._core"] = module
spec.loader.exec_module(module)
import csmri_ext
csmri_ext._core = module
sys.path.insert(0, sys.argv[2])
"""


def compiler() -> str | None:
    """g++ or what CXX names."""
    return shutil.which(os.environ.get("CXX", "g++"))


def preloaded() -> str:
    """The libraries of the sanitizers, which have to come before Python."""
    files = []
    for name in ("libasan.so", "libubsan.so"):
        told = subprocess.run([str(compiler()), f"-print-file-name={name}"], capture_output=True, text=True)
        files.append(told.stdout.strip())
    return " ".join(file for file in files if Path(file).is_absolute())


def build(cache: Path, edits: Edits = ()) -> Path:
    """Compile every file of csrc that is not CUDA for one instruction set; the same sources are compiled once.

    Parameters
    ----------
    cache
        Folder of objects, named by all that goes into them.
    edits
        (file, old, new): compile a copy of that file with `old`, which occurs once, replaced.
    """
    import pybind11

    include = [f"-I{folder}" for folder in (ROOT / "csrc", sysconfig.get_paths()["include"], pybind11.get_include())]
    sources = sorted((ROOT / "csrc").glob("*/*.cpp"))
    headers = hashlib.sha256(repr((FLAGS, include)).encode())
    for header in sorted([*(ROOT / "csrc").glob("*/*.hpp")]):
        headers.update(header.read_bytes())

    def compiled(source: Path) -> Path:
        text = source.read_text()
        for file, old, new in edits:
            if source.name == file:
                assert text.count(old) == 1, f"{file} contains {text.count(old)} times {old!r}"
                text = text.replace(old, new)
        name = hashlib.sha256(headers.hexdigest().encode() + text.encode()).hexdigest()[:20]
        target = cache / f"{source.stem}-{name}.o"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                copy, partial = Path(folder, source.name), Path(folder, "partial.o")
                copy.write_text(text)
                _run([str(compiler()), *FLAGS, *include, f"-I{source.parent}", "-c", copy, "-o", partial])
                partial.replace(target)
        return target

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        objects = list(pool.map(compiled, sources))
    key = hashlib.sha256(repr(objects).encode()).hexdigest()[:20]
    target = cache / f"_core-{key}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            partial = Path(folder, target.name)
            _run([str(compiler()), "-shared", "-fopenmp", "-fsanitize=address,undefined", *objects, "-o", partial])
            partial.replace(target)
    return target


def run(module: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with the module in the place of ``csmri_ext._core``, and the folder of the tests on the path."""
    environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": preloaded(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOAD + code, module, ROOT / "tests"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[:6000])
