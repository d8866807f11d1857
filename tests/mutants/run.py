"""Plant faults in the sources, one at a time, and see whether the tests named for each fail: ``make mutants``.

The lists are the ``.toml`` files beside this one. Everything happens in a copy of the tree, in the folder for temporary
files: what was edited and not committed is in it, what git ignores is not; its compiled core is that of this Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

import pytest

ROOT = Path(__file__).parents[2]
CAUGHT_SHARE = 0.95
LIMIT = 240  # seconds; a fault that makes its tests hang is caught
CAUGHT, SURVIVED, NOT_JUDGED = "caught", "SURVIVED", "not judged"
NO_LONGER_APPLIES, DOES_NOT_BUILD = "NO LONGER APPLIES", "DOES NOT BUILD"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]


@dataclass(frozen=True)
class Mutant:
    """One fault: in `file`, `find` becomes `replace`; at least one of `tests` must fail then."""

    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    why: str

    @property
    def compiled(self) -> bool:
        return self.file.startswith("csrc/")

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"

    def applied_to(self, text: str) -> str | None:
        return text.replace(self.find, self.replace) if text.count(self.find) == 1 else None


def mutants(folder: Path = Path(__file__).parent) -> list[Mutant]:
    found = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            found.append(Mutant(**{**entry, "tests": tuple(entry["tests"])}))
    return found


def copy_tree(root: Path, to: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)
    spec = find_spec("csmri_ext._core") if (to / "csmri_ext").is_dir() else None
    if spec is not None and spec.origin is not None:
        shutil.copy2(spec.origin, to / "csmri_ext" / Path(spec.origin).name)
    return to


class Core:
    """The compiled part of a copy, built again when a source of it has changed."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.folder = tree, tree / "build" / "mutants"

    def build(self) -> bool:
        if not (self.folder / "build.ninja").is_file():
            pybind11 = subprocess.run(
                [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
            ).stdout.strip()
            defined = {
                "CMAKE_BUILD_TYPE": "Release",
                "SKBUILD_PROJECT_VERSION": "0",
                "CSMRI_CUDA": "OFF",
                "Python_EXECUTABLE": sys.executable,
                "pybind11_DIR": pybind11,
            }
            configure = ["cmake", "-S", str(self.tree), "-B", str(self.folder), "-G", "Ninja"]
            subprocess.run([*configure, *(f"-D{k}={v}" for k, v in defined.items())], capture_output=True, check=True)
        built = subprocess.run(["ninja", "-C", str(self.folder), "_core"], capture_output=True, text=True)
        if built.returncode:
            return False
        core = next(self.folder.glob("_core*.so"))
        shutil.copy2(core, self.tree / "csmri_ext" / core.name)
        return True


def run_tests(tree: Path, tests: Sequence[str], limit: float, *, sound: bool = False) -> tuple[int | None, str]:
    """Exit code of pytest, or None after `limit` seconds; and what it printed. Bytecode of sound sources is kept."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_WAIT_POLICY": "passive",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # what other packages add takes longer than most of these tests
    }
    if not sound:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    process = subprocess.Popen(
        [*PYTEST, *tests],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return None, ""
    finally:  # also what the tests have started and left
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


def judged(tree: Path, core: Core, mutant: Mutant) -> str:
    """Plant one fault in a copy, run its tests, mend the copy."""
    path = tree / mutant.file
    text = path.read_text()
    edited = mutant.applied_to(text)
    if edited is None:
        return NO_LONGER_APPLIES
    try:
        path.write_text(edited)
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            cached.unlink()  # Python compares sizes and whole seconds
        if mutant.compiled and not core.build():
            return DOES_NOT_BUILD
        code, output = run_tests(tree, mutant.tests, LIMIT)
    finally:
        path.write_text(text)
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return NO_LONGER_APPLIES
    if code == 0:
        return SURVIVED if " passed" in output.splitlines()[-1] else NOT_JUDGED  # all were skipped
    return CAUGHT


def judge_all(root: Path, chosen: Sequence[Mutant], jobs: int = 1) -> Counter[str]:
    """Judge every mutant, print those that were not caught, and count."""
    with tempfile.TemporaryDirectory(prefix="csmri_ext-mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        first = copy_tree(root, Path(folder) / "0")
        core = Core(first)
        compiled = [mutant for mutant in chosen if mutant.compiled]
        others = [mutant for mutant in chosen if not mutant.compiled]
        started = time.monotonic()
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        code, output = run_tests(first, tests, LIMIT + 30 * len(tests), sound=True)
        if code:
            raise SystemExit(f"without any fault these tests fail already:\n{output}")
        print(f"{len(tests)} tests pass without a fault, in {time.monotonic() - started:.0f} s", flush=True)
        counts: Counter[str] = Counter()

        def judge(mutant: Mutant) -> None:
            tree = trees.get()
            begun = time.monotonic()
            try:
                result = judged(tree, core, mutant)
            finally:
                trees.put(tree)
            counts[result] += 1
            print(f"{result:18} {time.monotonic() - begun:5.1f} s  {mutant}", flush=True)

        for i in range(jobs):
            trees.put(first if i == 0 else copy_tree(root, Path(folder) / str(i)))
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(judge, others))
        if compiled:
            while not trees.empty():
                trees.get()
            trees.put(first)  # the only copy with a build
            if not core.build():
                raise SystemExit("the compiled core does not build, without any fault")
            for mutant in compiled:
                judge(mutant)
        return counts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only faults whose file or reason has one of these in it"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="copies of the tree to work in (default: 1)")
    args = parser.parse_args(arguments)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(number, handler)  # a shell's background jobs ignore them, and so would the tests of stopping
    chosen = [m for m in mutants() if not args.words or any(word in str(m) for word in args.words)]
    counts = judge_all(ROOT, chosen, args.jobs)
    share = counts[CAUGHT] / max(len(chosen) - counts[NOT_JUDGED], 1)
    print(f"{counts[CAUGHT]} of {len(chosen) - counts[NOT_JUDGED]} caught ({100 * share:.1f} %); {dict(counts)}")
    return 0 if share >= CAUGHT_SHARE and not counts[NO_LONGER_APPLIES] and not counts[DOES_NOT_BUILD] else 1


if __name__ == "__main__":
    sys.exit(main())
