"""Reconstruct every file of a folder: whole results only, resumable, shared by any number of processes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from csmri_ext.bridge.atomic import clear_leftovers
from csmri_ext.bridge.file_errors import FileFormatError
from csmri_ext.bridge.load import BY_EXTENSION
from csmri_ext.errors import BAD_INPUT, InputError, expected_errors, one_line
from csmri_ext.outputs import require_apart, written_as
from csmri_ext.progress import log, stage

# (process, processes, process of this node) of torchrun, which SLURM may have started, then of SLURM itself
_NUMBERING = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


def reconstruct_folder(
    source: Path,
    output: Path,
    ending: str,
    reconstruct: Callable[[str, Path], str],
    shard: tuple[int, int] | None = None,
    device: str = "cpu",
    *,
    difference: Callable[[Path, Path], str | None] | None = None,
    overwrite: bool = False,
    read: Mapping[str, Iterable[Path]] | None = None,
) -> int:
    """Reconstruct all files below `source` that have no result yet.

    Parameters
    ----------
    source
        Folder of supported files, searched recursively.
    output
        Folder of the results, made where it does not exist: ``a/b.nii.gz`` becomes ``a/b`` with `ending`.
    ending
        Extension of the results, such as ``".h5"``.
    reconstruct
        Reads a file, writes its result as a whole, and returns a line about it.
    shard
        ``(i, n)``: this process takes every n-th file from i; None asks the environment (`shard_of_process`).
    device
        With ``"cuda"``, each process of a node takes a GPU of its own.
    difference
        ``difference(file, result)`` says in what a finished result is not what would be made now, None where it is the
        same. Without it every result that is there counts as done.
    overwrite
        Redo results that differ.
    read
        Files that are read besides, as `require_apart` takes them.

    Returns
    -------
        Exit code: 0, or 2 where files failed; what went wrong is told at the end, the other files are done.

    Raises
    ------
    InputError
        No files; two files whose results would have one name; results among what is read; results that other settings
        made, without `overwrite`: then nothing is done.
    """
    tasks = results_of(source, output, ending, read)
    part, parts = shard or shard_of_process(os.environ)
    tasks = dict(list(tasks.items())[part::parts])
    clear_leftovers(output, recursive=True)
    finished, others = _compared(tasks, difference)
    if others and not overwrite:
        file, reason = next(iter(others.items()))
        raise InputError(
            f"{output}: {len(others)} of {_files(len(finished), 'finished result')} made by other settings "
            f"({finished[file]}: {reason}). Choose another OUT, or redo them with --overwrite"
        )
    missing = {file: result for file, result in tasks.items() if file not in finished or file in others}
    console = log()
    whose = f"part {part + 1} of {parts}: " if parts > 1 else ""
    ready = len(tasks) - len(missing)
    console.print(f"{whose}{_files(len(tasks))}, {ready} of them done before", markup=False, highlight=False)
    if device == "cuda":
        _take_own_gpu(os.environ)
    failed: list[tuple[Path, str]] = []
    done, stopped = 0, True
    try:
        with stage("reconstructing", len(missing), console) as progress:
            for file, result in missing.items():
                progress.describe(str(file))
                try:
                    result.parent.mkdir(parents=True, exist_ok=True)
                    line = reconstruct(str(file), result)
                    done += 1
                    progress.line(line)
                except expected_errors() as error:
                    failed.append((file, one_line(error).removeprefix(f"{file}: ")))
                except Exception as error:  # a defect, which must not cost the night's other files
                    traceback.print_exc()
                    failed.append((file, f"{type(error).__name__}: {one_line(error)}"))
                progress.advance(1)
        stopped = False
    finally:  # also after Ctrl-C: say how far it came
        left = len(missing) - done - len(failed)
        rest = f", stopped before {_files(left)}: the same command goes on" if stopped else ""
        counts = f"{_files(done)} reconstructed, {ready} done before, {len(failed)} failed{rest}"
        sys.stdout.write(f"{output}: {whose}{counts}\n")
        for file, reason in failed:
            sys.stderr.write(f"failed: {file}: {reason}\n")
    return BAD_INPUT if failed else 0


def results_of(
    source: Path, output: Path, ending: str, read: Mapping[str, Iterable[Path]] | None = None
) -> dict[Path, Path]:
    """Pair every supported file below `source` with its result, in the order of their names.

    Raises
    ------
    InputError
        No files; two files whose results would have one name; results among the inputs, or among what is read besides.
    """
    if output.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{output} lies in the input folder: choose another place for the results")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; the results of a folder need a folder")
    pairs: dict[Path, Path] = {}
    sources: dict[Path, Path] = {}
    for file in sorted(file for file in source.rglob("*") if file.is_file() and not file.name.startswith(".")):
        known = _ending_of(file)
        if known is None or (known == ".hdr" and file.with_suffix(".cfl").is_file()):
            continue
        if known == ".img" and file.with_suffix(".hdr").is_file():
            continue  # Analyze: the header is the file that is opened
        stem = file.name[: -len(known)]
        result = output / file.relative_to(source).with_name(stem + ending)
        if result in sources:
            raise InputError(
                f"{sources[result]} and {file} would both become {result}: put them into different folders"
            )
        sources[result], pairs[file] = file, result
    require_apart(
        (file for result in pairs.values() for file in written_as(result)),
        {"an input, and a result would be there too": pairs, **(read or {})},
        "choose another place for the results",
    )
    if not pairs:
        raise InputError(f"{source}: the folder holds no file that can be read ({', '.join(BY_EXTENSION)})")
    return pairs


def shard_of_process(environment: Mapping[str, str]) -> tuple[int, int]:
    """Say which of how many processes this is, from 0, as torchrun or SLURM numbers them; (0, 1) outside of both.

    Raises
    ------
    InputError
        A number that is none, or lies outside of the count.
    """
    for number, count, _ in _NUMBERING:
        if number not in environment or count not in environment:
            continue
        words = environment[number], environment[count]
        if not all(word.isdecimal() for word in words) or not int(words[0]) < int(words[1]):
            raise InputError(f"{number}={words[0]}, {count}={words[1]} in the environment: give --shard I/N instead")
        return int(words[0]), int(words[1])
    return 0, 1


def _take_own_gpu(environment: Mapping[str, str]) -> None:
    """Choose the GPU by the number of the process on its node; SLURM may show each process only its own."""
    import torch

    local = next((environment[name] for *_, name in _NUMBERING if name in environment), "0")
    if local.isdecimal():
        torch.cuda.set_device(int(local) % torch.cuda.device_count())


def _ending_of(file: Path) -> str | None:
    name = file.name.lower()
    return max((known for known in BY_EXTENSION if name.endswith(known)), key=len, default=None)


def _compared(
    tasks: Mapping[Path, Path], difference: Callable[[Path, Path], str | None] | None
) -> tuple[dict[Path, Path], dict[Path, str]]:
    """Find the files whose result is there and whole, and in what such a result is not what would be made now."""
    finished = {file: result for file, result in tasks.items() if _finished(result)}
    others: dict[Path, str] = {}
    if difference is None:
        return finished, others
    for file, result in list(finished.items()):
        try:
            reason = difference(file, result)
        except FileFormatError:  # cut off by a full disk or a power failure: to be made again
            del finished[file]
            continue
        if reason:
            others[file] = reason
    return finished, others


def _finished(result: Path) -> bool:
    """Whether the result is there; of BART's two files, both, wherever a run was killed."""
    return result.is_file() and (result.suffix != ".cfl" or result.with_suffix(".hdr").is_file())


def _files(count: int, noun: str = "file") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
