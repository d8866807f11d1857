"""Builds .cu files for the CPU with g++ and calls them: in this process, or under a sanitizer in another one."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).parent / "shim"
ORDERS = ("forward", "reverse", "random:1")
SANITIZERS = {
    "": [],
    "address,undefined": ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g1", "-fsanitize=thread"],  # at -O0 gcc does not watch structs that calls pass and return
}
FLAGS = ["-x", "c++", "-std=c++17", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fno-math-errno"]
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
    "TSAN_OPTIONS": "report_signal_unsafe=0:history_size=0:exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=0",
}


Array = NDArray[np.generic]


class SanitizerError(AssertionError):
    """A sanitizer found something; the message is its report."""


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def sanitizer_works(sanitizer: str, cache: Path) -> bool:
    """Whether a program that is built with the sanitizer runs here."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        source = Path(folder, "empty.cpp")
        source.write_text("int main() {}\n")
        program = source.with_suffix("")
        built = subprocess.run([str(compiler()), *SANITIZERS[sanitizer], source, "-o", program], capture_output=True)
        return built.returncode == 0 and subprocess.run([program], capture_output=True).returncode == 0


class _Worker:
    """A process under a sanitizer that makes one call after another (shim/call.cpp)."""

    def __init__(self, program: Path, library: Path, cache: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=cache)
        self._report = Path(self._folder.name, "report")
        with self._report.open("w") as report:
            self._process = subprocess.Popen(
                [program, library],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=report,
                text=True,
            )
        self._end = weakref.finalize(self, _end, self._process, self._folder)  # also when nobody calls close

    def call(self, name: str, content: bytes, order: str) -> memoryview:
        """The arrays after the call."""
        file = Path(self._folder.name, "call")
        file.write_bytes(content)
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has died: the report says why
            self._process.stdin.write(f"{name} {order} {file}\n")
            self._process.stdin.flush()
        kind, _, message = self._process.stdout.readline().strip().partition(" ")
        report = self._report.read_text(errors="replace")
        if report or not kind:
            raise SanitizerError(f"{name}: {report[:6000]}")
        if kind == "error":
            raise RuntimeError(message)
        return memoryview(file.read_bytes())

    def close(self) -> None:
        self._end()


def _end(process: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
    folder.cleanup()


@dataclass(frozen=True)
class Emulator:
    """One set of kernel sources, built for the CPU.

    Parameters
    ----------
    sources
        The .cu files of the package and the .cpp file of the test that declares entries (shim/entry.hpp).
    cache
        Folder for objects and libraries. Each is named by a hash of everything that went into it.
    sanitizer
        "", "address,undefined" or "thread".
    defines
        Preprocessor definitions, "NAME=VALUE".
    optimize
        "-O0" is quickest to build; kernels of many operations are then slow to run.
    edits
        (file, old, new): compile a copy of that file of csrc, with `old`, which occurs once, replaced.
    """

    sources: Sequence[Path]
    cache: Path
    sanitizer: str = ""
    defines: Sequence[str] = ()
    optimize: str = "-O1"
    edits: Sequence[tuple[Path, str, str]] = ()
    _library: list[ctypes.CDLL] = field(default_factory=list, init=False, repr=False, compare=False)
    _workers: list[_Worker] = field(default_factory=list, init=False, repr=False, compare=False)

    def call(self, name: str, arrays: Sequence[Array], numbers: Sequence[int] = (), order: str = "forward") -> None:
        """Call an entry; it reads and writes the arrays, which are C-contiguous. Raises RuntimeError with its error."""
        assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays)
        if self.sanitizer:
            return self._call_apart(name, arrays, numbers, order)
        if not self._library:
            self._library.append(ctypes.CDLL(str(self.build())))
        function = self._library[0][name]
        function.restype = ctypes.c_char_p
        os.environ["CUDA_ON_CPU_ORDER"] = order
        error = function(
            (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays]),
            (ctypes.c_int64 * len(numbers))(*numbers),
        )
        if error is not None:
            raise RuntimeError(error.decode())
        return None

    def _call_apart(self, name: str, arrays: Sequence[Array], numbers: Sequence[int], order: str) -> None:
        if not self._workers:
            self._workers.append(_Worker(self._program(), self.build(), self.cache))
        words = [len(arrays), len(numbers), *[array.nbytes for array in arrays], *numbers]
        content = np.array(words, np.int64).tobytes() + b"".join(array.tobytes() for array in arrays)
        try:
            rest = self._workers[0].call(name, content, order)
        except SanitizerError:
            self._workers.pop().close()
            raise
        for array in arrays:
            array.reshape(-1).view(np.uint8)[:] = np.frombuffer(rest[: array.nbytes], np.uint8)
            rest = rest[array.nbytes :]

    def close(self) -> None:
        """End the process under the sanitizer, if there is one."""
        while self._workers:
            self._workers.pop().close()

    def build(self) -> Path:
        """The shared library, compiled where it is not in the cache."""
        with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            objects = list(pool.map(self._object, self.sources))
        return self._link(objects, ["-shared"], ".so")

    def _program(self) -> Path:
        return self._link([self._object(SHIM / "call.cpp")], ["-ldl"], "")

    def _overlay(self) -> Path:
        """A folder with the edited copies, which the compiler searches before csrc."""
        overlay = self.cache / f"edited-{hashlib.sha256(repr(self.edits).encode()).hexdigest()[:16]}"
        for path, old, new in self.edits:
            text = path.read_text()
            assert text.count(old) == 1, f"{path.name} contains {text.count(old)} times {old!r}"
            copy = overlay / path.relative_to(ROOT / "csrc")
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=overlay, delete=False) as partial:
                partial.write(text.replace(old, new))
            Path(partial.name).replace(copy)  # at once: another compiler may be reading
        return overlay

    def _object(self, source: Path) -> Path:
        command, files = self._command(source, [SHIM, ROOT / "csrc"])
        if any(path in files for path, _, _ in self.edits):
            overlay = self._overlay()
            if any(path == source for path, _, _ in self.edits):
                source = overlay / source.relative_to(ROOT / "csrc")
            command, files = self._command(source, [overlay, SHIM, ROOT / "csrc"])
        digest = hashlib.sha256(repr(command).encode())
        for file in files:
            digest.update(file.read_bytes())
        target = self.cache / f"{source.stem}-{digest.hexdigest()[:20]}.o"
        if not target.exists():
            self._run([*command, "-c", source], target)
        return target

    def _command(self, source: Path, include: Sequence[Path]) -> tuple[list[str], list[Path]]:
        """The compiler's command without input and output, and all files that it reads."""
        flags = [*FLAGS, self.optimize, *SANITIZERS[self.sanitizer], *[f"-I{folder}" for folder in include]]
        command = [str(compiler()), *flags, *[f"-D{define}" for define in self.defines]]
        listed = subprocess.run([*command, "-MM", source], capture_output=True, text=True)
        if listed.returncode:
            raise RuntimeError(listed.stderr)
        return command, [Path(name) for name in listed.stdout.split(":", 1)[1].replace("\\\n", " ").split()]

    def _link(self, objects: Sequence[Path], flags: Sequence[str], suffix: str) -> Path:
        digest = hashlib.sha256(repr([objects, flags, self.sanitizer]).encode())
        target = self.cache / f"{objects[0].stem.split('-')[0]}-{digest.hexdigest()[:20]}{suffix}"
        if not target.exists():
            self._run([str(compiler()), *SANITIZERS[self.sanitizer], *objects, *flags], target)
        return target

    def _run(self, command: Sequence[str | Path], target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            partial = Path(folder, target.name)
            done = subprocess.run([*command, "-o", partial], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{target.name}: {done.stderr[:6000]}")
            partial.replace(target)


def float_variant(sources: Sequence[Path], cache: Path, *edits: tuple[Path, str, str], sanitizer: str = "") -> Emulator:
    """Build for float32 alone, under a sanitizer or with faults planted by `edits`; see `Emulator`."""
    optimize = "-O1" if sanitizer == "thread" else "-O0"  # quick to build; only the former is slow to run
    return Emulator(sources, cache, sanitizer, defines=["CSMRI_ONLY_FLOAT"], optimize=optimize, edits=edits)
