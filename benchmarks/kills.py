"""Kills at random moments: ``python -m benchmarks.kills --kills 20 --seed 0 [--commands recon,train]``.

Every command that resumes runs once unbroken, at toy size. Then the same command runs into another folder and is
killed (SIGKILL, with its children) at a random moment of the time that the unbroken run took; the same command again
goes on, and is killed again, ``--rounds`` times, until it may finish. It must end with exit code 0 and the result of
the unbroken run: the same images, rows, weights, alphas, bit by bit, and no temporary file of a dead process.

Commands are forked from a process that has loaded the libraries, so that moments fall into the work, not into imports.
The exit code is 1 where a result differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csmri_ext.commands.cli import main as csmri
from csmri_ext.phantom import write_phantom

SUBJECTS, SIZE = 7, 32


@dataclass(frozen=True)
class Command:
    """A line with ``{out}`` for its folder, and what of the folder must not depend on kills."""

    line: str
    result: Callable[[Path], dict[str, Any]]


def _arrays(folder: Path) -> dict[str, Any]:
    """Pixels; the records of how they were made name the folder."""
    return {str(path.relative_to(folder)): np.load(path).tobytes() for path in sorted(folder.rglob("*.npy"))}


def _rows(folder: Path) -> dict[str, Any]:
    rows = json.loads((folder / "results.json").read_text())["rows"]
    kept = ("method", "mask", "acceleration", "volume", "slices", "mse", "nmse", "psnr", "ssim")
    found: dict[str, Any] = {"rows": sorted(json.dumps({name: row[name] for name in kept}) for row in rows)}
    found |= {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.cfl"))}
    return found | _weights(folder)


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return {
        f"{path.relative_to(folder)}: {name}": value.tobytes()
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def _search(folder: Path) -> dict[str, Any]:
    return {name: (folder / name).read_bytes() for name in ("alphas.csv", "epochs.csv", "genotype.json")}


COMMANDS = {
    "recon": Command("recon scans {out} --format .npy --method tv --mask random --jobs 1", _arrays),
    "compare": Command(
        "compare scans --methods zero-filled,tv --tv-weight 0.01 --tv-iterations 20 --acceleration 4 "
        "--out {out} --jobs 1",
        _rows,
    ),
    "train": Command(
        "train --model dccnn3 --data scans --steps 8 --steps-per-epoch 2 --batch-size 1 --size 32 --validate-every 1 "
        "--ema 0.9 --device cpu --threads 1 --out {out}",
        _weights,
    ),
    "search": Command(
        "search --data scans --space A --nodes 1 --cells 1 --channels 2 --size 16 --epochs 2 --steps-per-epoch 4 "
        "--alpha-learning-rate 0.05 --out {out}",
        _search,
    ),
    "reproduce": Command(
        "reproduce nasn-nodes --data scans --methods nasn_2nodes --steps 2 --steps-per-epoch 1 --size 32 "
        "--acquisition all --threads 1 --out {out}",
        _rows,
    ),
}


@dataclass
class Outcome:
    """What came of one series of kills."""

    command: str
    moments: list[float]
    problem: str = ""


def load_libraries() -> None:
    """Import what the commands import, and compute nothing: threads do not survive a fork."""
    import csmri_ext.commands.compare
    import csmri_ext.commands.recon
    import csmri_ext.commands.reproduce
    import csmri_ext.commands.search
    import csmri_ext.commands.train
    import csmri_ext.experiments.training
    import csmri_ext.metrics
    import csmri_ext.recon.methods
    import csmri_ext.report.page
    import csmri_ext.training  # noqa: F401


def start(line: str, log: Path) -> int:
    """Run a command in a process of its own group, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 70
    try:
        code = csmri(line.split())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int) -> int:
    """Wait, and return the exit code, negative after a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at(pid: int, seconds: float) -> bool:
    """Kill a process and its children after so long; False where it had ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def leftovers(folder: Path) -> list[str]:
    """Temporary files of processes that are dead."""
    return [str(path) for path in folder.rglob(".*.tmp")]


def run_series(
    name: str, out: str, whole: dict[str, Any], seconds: float, rounds: int, rng: np.random.Generator
) -> Outcome:
    """Kill a command so many times, let it finish, and compare its result with the unbroken one."""
    command, log = COMMANDS[name], Path(f"{out}.log")
    outcome = Outcome(name, [])
    for _ in range(rounds):
        moment = float(rng.uniform(0.02, 1) * seconds)
        if not kill_at(start(command.line.format(out=out), log), moment):
            break
        outcome.moments.append(moment)
    code = finish(start(command.line.format(out=out), log))
    if code != 0:
        outcome.problem = f"exit code {code}: {log.read_text(errors='replace').strip().splitlines()[-1:]}"
        return outcome
    result = command.result(Path(out))
    differing = sorted(key for key in whole.keys() | result.keys() if whole.get(key) != result.get(key))
    if differing:
        outcome.problem = f"{len(differing)} of {len(whole)} results differ, {differing[0]} first"
    elif leftovers(Path(out)):
        outcome.problem = f"left behind: {leftovers(Path(out))[0]}"
    return outcome


def kill_commands(
    names: Sequence[str], kills: int, rounds: int, seed: int, tell: Callable[[str], None] = lambda _: None
) -> list[Outcome]:
    """Kill each command at least so many times, in the folder at hand.

    Parameters
    ----------
    names
        Of `COMMANDS`.
    kills
        Of each command.
    rounds
        Kills in a row before it may finish.
    seed
        Of the moments.
    tell
        Called with a line for each command.
    """
    Path("scans").mkdir(exist_ok=True)
    for number in range(SUBJECTS):
        write_phantom(f"scans/{number}.h5", 1, size=SIZE, seed=number, anatomy="body", noise=0.003)
    load_libraries()
    found = []
    for name in names:
        begun = time.monotonic()
        code = finish(start(COMMANDS[name].line.format(out=f"{name}_whole"), Path(f"{name}_whole.log")))
        seconds = time.monotonic() - begun
        if code != 0:
            raise SystemExit(f"{name} does not run: {Path(f'{name}_whole.log').read_text()[-300:]}")
        whole = COMMANDS[name].result(Path(f"{name}_whole"))
        if not whole:
            raise SystemExit(f"{name} leaves no result to compare")
        rng, own = np.random.default_rng([seed, len(name), *map(ord, name)]), []
        while sum(len(outcome.moments) for outcome in own) < kills and len(own) < 10 * kills:
            own.append(run_series(name, f"{name}_{len(own)}", whole, seconds, rounds, rng))
        bad = [outcome for outcome in own if outcome.problem]
        count = sum(len(outcome.moments) for outcome in own)
        tell(
            f"{name:<10} {count:>4} kills within {seconds:.1f} s, {len(own):>3} runs finished, {len(bad)} faults, "
            f"{time.monotonic() - begun:.0f} s"
        )
        for outcome in bad:
            tell(f"fault: {outcome.command} killed at {[round(t, 3) for t in outcome.moments]}: {outcome.problem}")
        found += own
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills at random moments, at toy size.")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="of each command (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="kills in a row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments (default: %(default)s)")
    parser.add_argument("--commands", default=",".join(COMMANDS), metavar="A,B", help="(default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = kill_commands(
            args.commands.split(","), args.kills, args.rounds, args.seed, lambda s: print(s, flush=True)
        )
        os.chdir("/")
    print(f"{sum(len(outcome.moments) for outcome in found)} kills, {sum(bool(o.problem) for o in found)} faults")
    return 1 if any(outcome.problem for outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
