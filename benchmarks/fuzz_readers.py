"""Damaged files for every reader: ``python -m benchmarks.fuzz_readers --seconds 60 --seed 0``.

Each case is a small good file of one format with flipped bits, cuts, splices and extreme numbers. Another process,
which may take 1 GiB beyond what it has and ten seconds, opens it and reads its slices, as mask and as sensitivities
too. A case ends well if the file is read, or refused by an error of the package in one line. Anything else is a fault:
another exception, the end of the process, no end, more memory. A damaged file of HDF5 may hang or crash the HDF5
library; it counts as ``caught`` if the trial that folder runs make (`csmri_ext.bridge.trial`) says so, else as a fault.

The exit code is 1 where there are faults. Case i of a seed is the same in every run; ``--keep DIR`` keeps the files of
faults.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.fuzz_files import damage, make_files
from csmri_ext.bridge import CflError, FileFormatError, load
from csmri_ext.bridge.mask_file import read_mask
from csmri_ext.bridge.trial import Trial

ROOT = Path(__file__).parents[1]
ROOM = 2**30  # bytes of memory that reading may take
LIMIT = 10.0  # seconds for one file
SERVER = ["-m", "benchmarks.fuzz_readers", "--serve"]
_HDF5 = (".h5", ".mrd", "_73.mat")


class Reader:
    """Reads files in a process that is started again after one that it does not survive."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def outcome(self, path: Path) -> str:
        """Return ``read``, ``refused``, or what went wrong."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        ready, begun, deadline = False, _cpu_seconds(process.pid), time.monotonic() + 30 * LIMIT
        while not ready and _cpu_seconds(process.pid) - begun < LIMIT and time.monotonic() < deadline:
            ready = bool(select.select([process.stdout], [], [], 0.2)[0])
        answer = process.stdout.readline().strip() if ready else ""
        if answer:
            return answer
        self.close()
        return f"no end in {LIMIT:g} s" if not ready else f"the process ended with {process.returncode}"

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, *SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it is there
        return self._process


def _cpu_seconds(pid: int) -> float:
    """Time that a process has computed: of a busy machine it depends less than that of the clock."""
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def fuzz(folder: Path, seed: int, cases: int | None, seconds: float | None, keep: Path | None = None) -> Results:
    """Run so many cases, or for so long.

    Parameters
    ----------
    folder
        For the files.
    seed
        Of the damage.
    cases, seconds
        The budget; None: no limit.
    keep
        Where files of faults are copied to.
    """
    good = make_files(folder)
    content = {name: path.read_bytes() for name, path in good.items()}
    names, found, reader, trial = list(good), Results(), Reader(), Trial(LIMIT)
    for path in good.values():
        if (outcome := reader.outcome(path)) != "read":
            raise SystemExit(f"the good file {path.name} is not read: {outcome}")
    begun, number = time.monotonic(), 0
    try:
        while (cases is None or number < cases) and (seconds is None or time.monotonic() - begun < seconds):
            rng = np.random.default_rng([seed, number])
            name = names[number % len(names)]
            other = content[names[int(rng.integers(len(names)))]]
            path = folder / f"case{name}"
            path.write_bytes(damage(content[name], other, rng))
            for ending, partner in ((".cfl", ".hdr"), (".hdr", ".cfl")):
                if name == ending:
                    path.with_suffix(partner).write_bytes(content[partner])
            outcome = reader.outcome(path)
            if outcome not in ("read", "refused") and name in _HDF5:
                outcome = trial_outcome(trial, path, outcome)
            found.count(name, number, outcome)
            if found.faults and found.faults[-1][1] == number and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{number}{name}").write_bytes(path.read_bytes())
            number += 1
    finally:
        reader.close()
        trial.close()
    found.seconds = time.monotonic() - begun
    return found


def trial_outcome(trial: Trial, path: Path, outcome: str) -> str:
    """Return ``caught`` where the trial refuses the file, else what was found before."""
    if not outcome.startswith(("no end", "the process ended")):
        return outcome
    try:
        trial.check(path)
    except FileFormatError:
        return "caught"
    return outcome


class Results:
    """How many cases of each format ended how."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.faults: list[tuple[str, int, str]] = []
        self.seconds = 0.0

    def count(self, name: str, number: int, outcome: str) -> None:
        """Add a case."""
        kind = outcome if outcome in ("read", "refused", "caught") else "fault"
        self.counts.setdefault(name, Counter())[kind] += 1
        if kind == "fault":
            self.faults.append((name, number, outcome))

    def table(self) -> str:
        """Show them."""
        kinds = ("read", "refused", "caught", "fault")
        lines = ["format           " + "".join(f"{kind:>9}" for kind in kinds)]
        for name, counts in [*self.counts.items(), ("all", sum(self.counts.values(), Counter()))]:
            lines.append(f"{name:<17}" + "".join(f"{counts[kind]:>9,}" for kind in kinds))
        total = sum(sum(counts.values()) for counts in self.counts.values())
        lines.append(f"{total:,} damaged files in {self.seconds:.0f} s")
        lines += [f"fault: case {number} {name}: {told}" for name, number, told in self.faults[:20]]
        return "\n".join(lines)


def read_everything(path: Path) -> None:
    """Open a file as everything that it can be, and read its first and last slice."""
    refused: Exception | None = None
    try:
        acquisition = load(path, key="data.kspace") if "_structure" in path.name else load(path)
        for stack in (acquisition.kspace, acquisition.target, acquisition.sens_maps):
            if stack is not None and len(stack):
                np.asarray(stack[0])
                np.asarray(stack[len(stack) - 1])
    except (FileFormatError, CflError, OSError) as error:
        refused = error
    with suppress(FileFormatError, CflError, OSError):
        read_mask(path)
    if refused is not None:
        raise refused


def serve() -> None:
    """Read the files whose names come on stdin, and answer with a line for each."""
    warnings.simplefilter("ignore")
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ROOM, in_use + ROOM))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            read_everything(Path(line.rstrip("\n")))
            answer = "read"
        except (FileFormatError, CflError, OSError) as error:
            answer = "refused" if str(error) else f"no message of {type(error).__name__}"
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            answer = " ".join(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})".split())
        sys.stdout.write(f"{answer[:300]}\n")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged files for every reader.")
    parser.add_argument("--seconds", type=float, default=60.0, help="budget (default: %(default)s)")
    parser.add_argument("--cases", type=int, help="budget, in place of --seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files of faults here")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        seconds = None if args.cases is not None else args.seconds
        found = fuzz(Path(folder), args.seed, args.cases, seconds, args.keep)
    print(found.table())
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
