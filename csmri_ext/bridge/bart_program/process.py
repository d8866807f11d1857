"""BART as a program: where it is, how it is run and ended, what its failures mean."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csmri_ext.bridge.bart_program.orphans import ending_with_us

_RAM_DISK = Path("/dev/shm")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class BartError(RuntimeError):
    """BART failed; the message ends with its own last error line.

    Attributes
    ----------
    argv
        The command as it was run.
    returncode
        As of `subprocess`: -6 after an assertion or an error of a tool, 255 for an unknown command.
    stderr
        All that BART wrote there, without colours.
    """

    def __init__(self, message: str, argv: Sequence[str] = (), returncode: int | None = None, stderr: str = "") -> None:
        super().__init__(message, argv, returncode, stderr)
        self.argv = list(argv)
        self.returncode = returncode
        self.stderr = stderr

    def __str__(self) -> str:
        return str(self.args[0])


class BartNotFoundError(BartError):
    """There is no BART on this machine, or not where it was said to be."""


def find_bart(binary: str | os.PathLike[str] | None = None) -> str:
    """Find BART's program.

    Looks at `binary`, then in the folders named by the environment variables ``BART_TOOLBOX_PATH`` and
    ``TOOLBOX_PATH``, on ``PATH``, and in ``/usr/local/bin`` and ``/usr/bin``. A folder named by one of these variables
    that holds no BART is a `UserWarning`, since another BART than expected is used.

    Parameters
    ----------
    binary
        The program, or the folder that holds it. Nothing else is tried when given.

    Returns
    -------
        Path of an executable file.

    Raises
    ------
    BartNotFoundError
        With a hint what to install.
    """
    if binary is not None:
        given = os.fspath(binary)
        found = shutil.which(f"{given}/bart") or shutil.which(given)
        if found is None:
            raise BartNotFoundError(f"no BART program at {given}")
        return found
    folders = {name: os.environ.get(name) for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH")}
    named = [f"{folder}/bart" for folder in folders.values() if folder]
    candidates = (shutil.which(name) for name in (*named, "bart", "/usr/local/bin/bart", "/usr/bin/bart"))
    found = next((candidate for candidate in candidates if candidate), None)
    without = [
        f"{name} is {folder}, which holds no program bart"
        for name, folder in folders.items()
        if folder and not shutil.which(f"{folder}/bart")
    ]
    if found is not None:
        if without:
            warnings.warn(f"{'; '.join(without)}; {found} is used", stacklevel=2)
        return found
    if without:
        raise BartNotFoundError(f"BART is not installed: {'; '.join(without)}, and there is none elsewhere")
    raise BartNotFoundError(
        "BART is not installed: `apt-get install bart` on Debian and Ubuntu, else see https://mrirecon.github.io/bart; "
        "or set BART_TOOLBOX_PATH to its folder"
    )


def bart_version(binary: str | os.PathLike[str] | None = None) -> str:
    """Ask BART for its version.

    Parameters
    ----------
    binary
        As in `find_bart`.

    Returns
    -------
        For example ``"v0.8.00"``.

    Raises
    ------
    BartNotFoundError
        As in `find_bart`.
    BartError
        The program does not answer as BART does.
    """
    return _version(find_bart(binary))


def temporary_root(n_bytes: int) -> Path:
    """Choose where arrays are handed to BART: in memory if there is room.

    Parameters
    ----------
    n_bytes
        Size of the inputs.

    Returns
    -------
        ``/dev/shm`` if it exists and has four times `n_bytes` and 64 MB left, else `tempfile.gettempdir`.
    """
    try:
        if os.access(_RAM_DISK, os.W_OK) and shutil.disk_usage(_RAM_DISK).free > 4 * n_bytes + 64 * 2**20:
            return _RAM_DISK
    except OSError:
        pass
    return Path(tempfile.gettempdir())


class Children:
    """Running processes that can be ended together, also those that start afterwards."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may ask for `kill` in the middle of `add`
        self._running: set[subprocess.Popen[str]] = set()
        self._killed = False

    def add(self, process: subprocess.Popen[str]) -> None:
        """List a process that was started; it is ended at once after `kill`."""
        with self._lock:
            self._running.add(process)
            if self._killed:
                process.kill()

    def remove(self, process: subprocess.Popen[str]) -> None:
        """Forget a process that ended."""
        with self._lock:
            self._running.discard(process)

    def kill(self) -> None:
        """End all processes, now and until `allow`."""
        with self._lock:
            self._killed = True
            for process in self._running:
                process.kill()

    def allow(self) -> None:
        """Let processes run again after `kill`."""
        self._killed = False


RUNNING = Children()
"""Every BART of this process, in whichever thread: a command that has to stop does not wait for them."""


def run_bart(
    argv: list[str],
    threads: int = 1,
    debug_level: int = 1,
    timeout: float | None = None,
    children: Children | None = None,
    about: str = "",
) -> tuple[str, str]:
    """Run a command and wait for it; it is ended on Ctrl-C and any other exception.

    Parameters
    ----------
    argv
        The program, the command and its arguments.
    threads, debug_level, timeout
        As in `bart.bart`.
    children
        Where the process is listed while it runs.
    about
        Put into error messages, after the command.

    Returns
    -------
        What it wrote to standard output and, without colours, to standard error.

    Raises
    ------
    BartError
        It could not be started, did not finish in time, was killed or ended with another exit code than 0.
    """
    level = str(debug_level)
    # BART 0.8 reads DEBUG_LEVEL, 0.9 both, 1.0 only BART_DEBUG_LEVEL.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "DEBUG_LEVEL": level, "BART_DEBUG_LEVEL": level}
    pipe = subprocess.PIPE
    process = None
    groups = [RUNNING] if children is None else [RUNNING, children]
    try:
        with _signals_held_back():
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                env=environment,
                text=True,
                errors="replace",
                preexec_fn=ending_with_us(),
            )
        for group in groups:
            group.add(process)
        stdout, stderr = process.communicate(timeout=timeout)
    except OSError as error:
        raise BartError(f"cannot run {argv[0]}: {error.strerror}", argv) from error
    except subprocess.TimeoutExpired:
        raise BartError(f"bart {argv[1]} did not finish within {timeout} s{about}", argv) from None
    finally:
        if process is not None:
            if process.poll() is None:
                process.kill()
                process.communicate()
            for group in groups:
                group.remove(process)
    stderr = _ANSI.sub("", stderr)
    if process.returncode != 0:
        reason = _reason(stderr, process.returncode)
        raise BartError(f"bart {argv[1]} failed{about}: {reason}", argv, process.returncode, stderr)
    return stdout, stderr


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let Ctrl-C and the like take effect at the end: they would make `subprocess.Popen` forget what it has started."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not handlers:
        yield  # Python runs handlers in the main thread only
        return
    caught: list[Any] = []
    for number in handlers:
        signal.signal(number, lambda *signal_and_frame: caught.append(signal_and_frame))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if caught:
        number, frame = caught[-1]
        handlers[signal.Signals(number)](number, frame)


def _reason(stderr: str, returncode: int) -> str:
    """Return BART's last error line; it prints system errors on two lines and an empty ``ERROR:`` after them."""
    lines = [line.strip(" :") for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Usage:", "WARN"))]
    if len(lines) > 1 and lines[-1] == "ERROR":
        return ": ".join(lines[-3:-1])
    if lines and lines[-1] != "ERROR":
        return lines[-1].removeprefix("ERROR:").strip()
    if returncode == -signal.SIGBUS:
        return "killed by SIGBUS, probably because the folder for temporary files is full"
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"


@functools.cache
def _version(program: str) -> str:
    stdout, _ = run_bart([program, "version"], timeout=10)
    if not re.fullmatch(r"v?\d+\.\d+\S*\s*", stdout):
        raise BartError(f"{program} is not BART: `version` printed {stdout[:80]!r}", [program, "version"], 0)
    return stdout.strip()
