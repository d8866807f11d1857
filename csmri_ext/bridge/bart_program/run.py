"""BART commands on arrays, one (`bart`) or many at a time (`bart_map`)."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csmri_ext.bridge.bart_files.cfl import read_cfl, write_cfl
from csmri_ext.bridge.bart_program.orphans import workspace
from csmri_ext.bridge.bart_program.process import BartError, Children, find_bart, run_bart, temporary_root

_LOGGER = logging.getLogger(__name__)
_RECONSTRUCTIONS = frozenset({"pics", "sqpics", "ecalib", "caldir", "nlinv", "itsense", "pocsense", "reconet"})
"""Commands that return an all-zero image, and exit code 0, when k-space holds NaN or nothing."""

Argument = str | int | float | os.PathLike[str] | NDArray[Any]
_ARGUMENT_TYPES = (str, int, float, np.integer, np.floating, os.PathLike, np.ndarray)


def bart(
    args: Sequence[Argument],
    *inputs: ArrayLike,
    n_outputs: int = 1,
    binary: str | os.PathLike[str] | None = None,
    threads: int = 1,
    squeeze: bool = True,
    timeout: float | None = None,
    debug_level: int = 1,
    folder: str | os.PathLike[str] | None = None,
) -> Any:
    """Run one BART command on arrays.

    ``bart(["fft", "-u", "3"], x)`` is ``bart fft -u 3 x out`` with `x` written to, and ``out`` read from, a temporary
    folder ``csmri_ext-bart-<pid>-*`` that is removed also on errors and Ctrl-C (which end BART too).

    Parameters
    ----------
    args
        Command and options, each its own element: a list, never a shell string. Numbers are written out. An
        array stands for a file: ``["pics", "-p", pattern, "-R", "T:3:0:0.01"]``.
    *inputs
        Arrays of up to 16 BART dimensions, first one fastest (see `bart_dims.to_bart`), converted to complex64.
    n_outputs
        Number of output files; with 0 the text that BART prints is returned.
    binary
        As in `find_bart`.
    threads
        ``OMP_NUM_THREADS``. One is fastest for 2-D slices; see `bart_map` for many of them.
    squeeze
        Drop trailing dimensions of size 1 of the outputs; otherwise they have 16.
    timeout
        Seconds after which BART is ended.
    debug_level
        0 errors, 1 warnings, 2 information and so on. BART's messages go to the logger
        ``csmri_ext.bridge.bart_program.run`` at level DEBUG.
    folder
        Where the temporary folder is made. Default: ``/dev/shm`` (memory) if it has room for four times the inputs
        and 64 MB, otherwise Python's `tempfile.gettempdir`.

    Returns
    -------
        complex64 array in Fortran order; a list of them if ``n_outputs > 1``; str if ``n_outputs == 0``.

    Raises
    ------
    BartNotFoundError
        As in `find_bart`.
    BartError
        BART failed or was killed, ran out of time, wrote no output, or a reconstruction is all zero or not finite.
    TypeError
        `args` is a string, or has an element of another type.
    ValueError
        `args` is empty or holds ``-`` (BART's pipes); input of a reconstruction (``pics``, ``ecalib``...) is not
        finite, or its k-space all zero: BART would return zeros without an error.
    """
    settings = _Settings(find_bart(binary), n_outputs, threads, squeeze, timeout, debug_level, folder)
    return _run(args, inputs, settings)


def bart_map(jobs: Iterable[Sequence[Any]], *, processes: int | None = None, **options: Any) -> Iterator[Any]:
    """Run many BART commands, several at a time with one thread each: ``(bart(*job, **options) for job in jobs)``.

    For 2-D slices this is faster than BART's own threads. Results come in the order of `jobs`; on the first error, on
    Ctrl-C, or when the iteration is abandoned, running commands are ended and their temporary files removed.

    Parameters
    ----------
    jobs
        Positional arguments of `bart`: ``(args, *inputs)``. Taken one by one, a few ahead of the results.
    processes
        How many run at once; default: the number of CPUs that this process may use.
    **options
        Keyword arguments of `bart` other than `threads`.

    Yields
    ------
        What `bart` returns for each job.

    Raises
    ------
    ValueError
        `processes` is below 1. All other errors as in `bart`, once their result is asked for.
    """
    n = _n_cpus() if processes is None else processes
    if n < 1:
        raise ValueError(f"processes must be at least 1, got {n}")
    settings = _Settings(find_bart(options.pop("binary", None)), **options)
    children = Children()
    pending: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(n)
    try:
        for args, *inputs in jobs:
            pending.append(pool.submit(_run, args, inputs, settings, children))
            if len(pending) >= 2 * n:
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())
    finally:
        children.kill()
        pool.shutdown(cancel_futures=True)


def _result(future: Future[Any]) -> Any:
    while not future.done():  # a wait without end may sleep through a Ctrl-C that came just before it
        wait([future], timeout=0.2)
    return future.result()


@dataclass(frozen=True)
class _Settings:
    program: str
    n_outputs: int = 1
    threads: int = 1
    squeeze: bool = True
    timeout: float | None = None
    debug_level: int = 1
    folder: str | os.PathLike[str] | None = None


def _run(
    args: Sequence[Argument], inputs: Sequence[ArrayLike], settings: _Settings, children: Children | None = None
) -> Any:
    _check_args(args)
    arrays = [np.asarray(array) for array in inputs]
    is_reconstruction = not _RECONSTRUCTIONS.isdisjoint(arg for arg in args if isinstance(arg, str))
    files = [arg for arg in args if isinstance(arg, np.ndarray)]
    if is_reconstruction:
        _check_inputs(str(args[0]), arrays, files)
    n_bytes = sum(8 * array.size for array in [*arrays, *files])
    folder = settings.folder or temporary_root(n_bytes)
    with workspace(Path(folder)) as temporary:
        outputs = [f"{temporary}/out{i}" for i in range(settings.n_outputs)]
        argv = [settings.program]
        argv += [_as_text(arg, f"{temporary}/arg{i}") for i, arg in enumerate(args)]
        argv += [_as_text(array, f"{temporary}/in{i}") for i, array in enumerate(arrays)]
        argv += outputs
        shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
        about = f" (inputs {shapes})" if shapes else ""
        stdout, stderr = run_bart(argv, settings.threads, settings.debug_level, settings.timeout, children, about)
        _LOGGER.debug("%s\n%s%s", " ".join(argv), stdout, stderr)
        if settings.n_outputs == 0:
            return stdout
        missing = [output for output in outputs if not Path(f"{output}.hdr").exists()]
        if missing:
            n_written = len(outputs) - len(missing)
            raise BartError(f"bart {args[0]} wrote {n_written} of {len(outputs)} outputs{about}", argv, 0, stderr)
        results = [np.array(read_cfl(output, squeeze=settings.squeeze), order="F", subok=False) for output in outputs]
    if is_reconstruction:
        for result in results:
            if not result.any() or not np.isfinite(result).all():
                what = "zero everywhere" if not result.any() else "not finite"
                raise BartError(f"bart {args[0]} returned an array that is {what}", argv, 0, stderr)
    return results[0] if settings.n_outputs == 1 else results


def _check_args(args: Sequence[Argument]) -> None:
    if isinstance(args, str | bytes):
        raise TypeError(f"pass a list such as ['fft', '-u', '3'], not the string {args!r}")
    if len(args) == 0:
        raise ValueError("no BART command given")
    for arg in args:
        if not isinstance(arg, _ARGUMENT_TYPES) or isinstance(arg, bool):
            raise TypeError(f"BART arguments are strings, numbers, paths or arrays, not {type(arg).__name__}")
        if isinstance(arg, str) and arg == "-":
            raise ValueError("'-' (standard input or output) is not supported: pass arrays")


def _check_inputs(command: str, arrays: Sequence[NDArray[Any]], files: Sequence[NDArray[Any]]) -> None:
    for i, array in enumerate([*arrays, *files]):
        if not np.isfinite(array).all():
            which = f"input {i}" if i < len(arrays) else "an array among the arguments"
            raise ValueError(f"{which} of bart {command}, of shape {array.shape}, has NaN or infinite values")
    if arrays and not arrays[0].any():
        raise ValueError(f"k-space of bart {command}, of shape {arrays[0].shape}, is zero everywhere")


def _as_text(arg: Argument, path: str) -> str:
    """Return `arg` as BART reads it; an array is written to `path`."""
    if isinstance(arg, np.ndarray):
        write_cfl(path, arg)
        return path
    return os.fspath(arg) if isinstance(arg, os.PathLike) else str(arg)


def _n_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
