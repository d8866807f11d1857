from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from csmri_ext.bridge import BartError, BartNotFoundError, bart, bart_map, bart_version, find_bart, read_cfl, write_cfl

ROOT = Path(__file__).parents[2]


def random_array(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def program(folder: Path, script: str) -> Path:
    """A program named `bart` that stands in for the real one where its failures are to be provoked."""
    folder.mkdir(exist_ok=True)
    path = folder / "bart"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Folder for temporary files; every test checks that nothing is left in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


# --- finding the program -------------------------------------------------------------------------------------------


def test_order_of_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {name: program(tmp_path / name, "exit 0") for name in ("given", "new", "old", "path")}
    monkeypatch.setenv("BART_TOOLBOX_PATH", str(tmp_path / "new"))
    monkeypatch.setenv("TOOLBOX_PATH", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_bart(places["given"]) == str(places["given"])
    assert find_bart(tmp_path / "given") == str(places["given"])
    assert find_bart() == str(places["new"])
    places["new"].unlink()
    new = f"BART_TOOLBOX_PATH is {tmp_path / 'new'}, which holds no program bart"
    with pytest.warns(UserWarning, match=re.escape(f"{new}; {places['old']} is used")):
        assert find_bart() == str(places["old"])
    assert find_bart(places["given"]) == str(places["given"])  # nobody asked for the folder
    monkeypatch.delenv("TOOLBOX_PATH")
    with pytest.warns(UserWarning, match=re.escape(f"{new}; {places['path']} is used")):
        assert find_bart() == str(places["path"])
    with pytest.warns(UserWarning, match=re.escape(new)):
        bart(["version"], n_outputs=0)
    monkeypatch.delenv("BART_TOOLBOX_PATH")
    assert find_bart() == str(places["path"])


def test_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    which = "csmri_ext.bridge.bart_program.process.shutil.which"
    monkeypatch.setattr(which, lambda _: None)  # whatever /usr/bin holds
    with pytest.raises(BartNotFoundError, match=r"TOOLBOX_PATH is .*, which holds no program bart, and there is none"):
        bart(["fft", "3"], np.ones(3))
    for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH"):
        monkeypatch.delenv(name)
    with pytest.raises(BartNotFoundError, match="apt-get install bart"):
        bart(["fft", "3"], np.ones(3))
    with pytest.raises(BartNotFoundError, match="no BART program at /no/such/place"):
        find_bart("/no/such/place")


def test_a_file_that_is_not_executable_is_not_found(tmp_path: Path) -> None:
    program(tmp_path, "exit 0").chmod(0o644)
    with pytest.raises(BartNotFoundError):
        find_bart(tmp_path)


def test_version(bart_binary: str) -> None:
    stated = subprocess.run([bart_binary, "version"], capture_output=True, text=True).stdout.strip()
    assert bart_version(bart_binary) == stated
    assert stated.startswith("v")


def test_version_of_another_program(tmp_path: Path) -> None:
    with pytest.raises(BartError, match="is not BART: `version` printed 'hello"):
        bart_version(program(tmp_path / "a", "echo hello"))
    broken = program(tmp_path / "b", "")
    broken.write_bytes(b"\x7fELF nonsense")
    with pytest.raises(BartError, match=r"cannot run .*b/bart"):
        bart_version(broken)


# --- one command ---------------------------------------------------------------------------------------------------


def test_output_has_no_trailing_ones(bart_binary: str) -> None:
    x = random_array(6, 5)
    y = bart(["fft", "-u", "3"], x, binary=bart_binary)
    expected = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x), norm="ortho"))
    assert y.dtype == np.complex64
    assert type(y) is np.ndarray
    assert y.flags.writeable
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert bart(["fft", "-u", "3"], x, squeeze=False).shape == (6, 5, *[1] * 14)


def test_coils_and_maps_survive(bart_binary: str) -> None:
    x = random_array(6, 5, 1, 4, 2, 1, 1)
    np.testing.assert_array_equal(bart(["copy"], x), x[..., 0, 0])
    np.testing.assert_array_equal(bart(["transpose", 3, 4], x), x[..., 0, 0].swapaxes(3, 4))


def test_several_outputs(bart_binary: str) -> None:
    x = random_array(6, 4)
    u, s, v = bart(["svd", "-e"], x, n_outputs=3)
    np.testing.assert_allclose(u @ np.diag(s) @ v, x, atol=1e-4)


def test_text_output(bart_binary: str) -> None:
    x = random_array(6, 4)
    assert bart(["bitmask", 13], n_outputs=0) == "8192\n"
    assert float(bart(["nrmse"], x, 2 * x, n_outputs=0)) == pytest.approx(1)


def test_array_among_the_arguments(bart_binary: str) -> None:
    """An array in the argument list becomes a file: options such as ``-p pattern``."""
    kspace = np.zeros((8, 8), np.complex64)
    kspace[4, 4] = 8
    image = bart(["pics", "-w", 1.0, "-p", np.ones((8, 8))], kspace, np.ones((8, 8)))
    np.testing.assert_allclose(image, np.ones((8, 8)), atol=1e-5)


def test_paths_among_the_arguments(bart_binary: str, tmp_path: Path) -> None:
    bart(["ones", 2, 3, 4, tmp_path / "x"], n_outputs=0)
    np.testing.assert_array_equal(bart(["copy", tmp_path / "x"]), np.ones((3, 4)))
    assert read_cfl(tmp_path / "x", squeeze=True).shape == (3, 4)


@pytest.mark.parametrize("threads", [1, 3])
def test_environment(threads: int, tmp_path: Path, work: Path) -> None:
    fake = program(tmp_path / "fake", 'echo "$OMP_NUM_THREADS $DEBUG_LEVEL $BART_DEBUG_LEVEL"')
    text = bart(["x"], n_outputs=0, binary=fake, threads=threads, debug_level=4, folder=work)
    assert text == f"{threads} 4 4\n"


def test_arguments_are_not_interpreted(tmp_path: Path) -> None:
    fake = program(tmp_path / "fake", 'for arg in "$@"; do echo "[$arg]"; done')
    text = bart(["x", "a b", "$HOME;`ls`", "*", 3, 0.01, np.float64(0.5)], n_outputs=0, binary=fake)
    assert text.splitlines() == ["[x]", "[a b]", "[$HOME;`ls`]", "[*]", "[3]", "[0.01]", "[0.5]"]


@pytest.mark.parametrize("args", ["fft -u 3", b"fft"])
def test_shell_strings_are_refused(args: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"pass a list such as \['fft', '-u', '3'\], not the string"):
        bart(args, np.ones(3), binary=program(tmp_path, "exit 0"))


def test_arguments_that_are_refused(tmp_path: Path) -> None:
    fake = program(tmp_path, "exit 0")
    with pytest.raises(ValueError, match="no BART command"):
        bart([], binary=fake)
    with pytest.raises(TypeError, match="not NoneType"):
        bart(["fft", None], binary=fake)
    with pytest.raises(TypeError, match="not bool"):
        bart(["fft", True], binary=fake)
    with pytest.raises(ValueError, match=r"'-' \(standard input or output\) is not supported"):
        bart(["fft", "3", "-"], binary=fake)


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "n_inputs", "returncode", "message"),
    [
        (["fft"], 1, -6, r"bart fft failed \(inputs 6x5\): .*too few or too many arguments"),
        (["fft", "x"], 1, -6, "Could not parse argument"),
        (["nosuchtool"], 1, 255, 'Unknown bart command: "nosuchtool"'),
        (["copy", "/no/such/file"], 0, -6, "Loading cfl file /no/such/file: No such file or directory"),
        (["transpose", "17", "3"], 1, -6, "Assertion"),
        (["nrmse", "-t", "0"], 0, -6, "too few"),
    ],
)
def test_error_line_of_bart(
    args: list[str], n_inputs: int, returncode: int, message: str, bart_binary: str, work: Path
) -> None:
    with pytest.raises(BartError, match=message) as caught:
        bart(args, *[random_array(6, 5)] * n_inputs, folder=work)
    assert caught.value.returncode == returncode
    assert caught.value.argv[:2] == [find_bart(), args[0]]
    assert "\x1b" not in str(caught.value) + caught.value.stderr
    assert "\n" not in str(caught.value)
    assert list(work.iterdir()) == []


def test_exit_code_without_a_message(bart_binary: str) -> None:
    with pytest.raises(BartError, match=r"bart nrmse failed .*: exit code 1$") as caught:
        bart(["nrmse", "-t", "0.001"], np.ones(3), 2 * np.ones(3), n_outputs=0)
    assert caught.value.returncode == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -BUS $$", "folder for temporary files is full"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("printf '\\033[31mERROR: bad thing\\n\\033[0m' >&2; kill -ABRT $$", "bad thing"),
        ("printf 'ERROR: first\\nERROR: second\\n\\033[33mWARN: x\\033[0m\\n' >&2; exit 1", "second"),
        ("printf 'ERROR: \\n' >&2; exit 7", "exit code 7"),
        ("printf '\\377\\376' >&2; exit 7", "fake failed: "),
    ],
)
def test_endings(script: str, message: str, tmp_path: Path, work: Path) -> None:
    with pytest.raises(BartError, match=message) as caught:
        bart(["fake"], binary=program(tmp_path / "fake", script), folder=work)
    assert "\x1b" not in str(caught.value)
    assert list(work.iterdir()) == []


def test_missing_outputs(tmp_path: Path, work: Path) -> None:
    with pytest.raises(BartError, match="bart fake wrote 0 of 2 outputs"):
        bart(["fake"], n_outputs=2, binary=program(tmp_path / "fake", "exit 0"), folder=work)
    assert list(work.iterdir()) == []


def test_timeout(tmp_path: Path, work: Path) -> None:
    start = time.monotonic()
    with pytest.raises(BartError, match=r"bart fake did not finish within 0\.2 s"):
        bart(["fake"], binary=program(tmp_path / "fake", "exec sleep 60"), folder=work, timeout=0.2)
    assert time.monotonic() - start < 30
    assert list(work.iterdir()) == []


def test_input_that_cannot_be_written(work: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="type object"):
        bart(["fft", "3"], np.array([None]), binary=program(tmp_path / "fake", "exit 0"), folder=work)
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("command", [["pics"], ["ecalib", "-m1"]])
def test_bad_data_of_reconstructions(command: list[str], bart_binary: str) -> None:
    kspace = random_array(16, 16, 1, 2)
    kspace[3, 3] = np.nan
    with pytest.raises(ValueError, match=r"input 0 of bart .*, of shape \(16, 16, 1, 2\), has NaN or infinite values"):
        bart(command, kspace, kspace)
    with pytest.raises(ValueError, match=r"k-space of bart .*, of shape \(16, 16\), is zero everywhere"):
        bart(command, np.zeros((16, 16)), np.ones((16, 16)))
    with pytest.raises(ValueError, match="an array among the arguments"):
        bart([*command, "-p", kspace], np.ones((16, 16)), np.ones((16, 16)))


def test_bart_itself_accepts_nan_silently(bart_binary: str) -> None:
    """Why the check above exists: exit code 0 and an image of zeros or NaN."""
    kspace = random_array(16, 16)
    kspace[3, 3] = np.nan
    with tempfile.TemporaryDirectory() as folder:
        write_cfl(f"{folder}/k", kspace)
        write_cfl(f"{folder}/s", np.ones((16, 16)))
        subprocess.run([bart_binary, "pics", "-d0", "-R", "T:3:0:0.1", "k", "s", "o"], cwd=folder, check=True)
        image = read_cfl(f"{folder}/o")
        assert not image.any() or np.isnan(image).any()


def test_all_zero_image_is_an_error(bart_binary: str) -> None:
    kspace = np.zeros((16, 16), np.complex64)
    kspace[8, 8] = 1
    pattern = 1 - kspace.real  # everything but the one sample that is not zero
    with pytest.raises(BartError, match="bart pics returned an array that is zero everywhere"):
        bart(["pics", "-w", "1", "-p", pattern], kspace, np.ones((16, 16)))


# --- many commands, Ctrl-C -----------------------------------------------------------------------------------------


def test_map_keeps_the_order(bart_binary: str) -> None:
    jobs = ((["scale", str(i)], np.ones((2, 2))) for i in range(9))
    results = list(bart_map(jobs, processes=3))
    assert [result[0, 0].item() for result in results] == list(range(9))


def test_map_uses_one_thread_each(tmp_path: Path) -> None:
    fake = program(tmp_path / "fake", "echo $OMP_NUM_THREADS $1")
    results = bart_map(((["a"],), (["b"],)), binary=fake, n_outputs=0)
    assert list(results) == ["1 a\n", "1 b\n"]


def test_map_takes_jobs_as_needed(tmp_path: Path) -> None:
    """So that a volume read slice by slice is never in memory as a whole."""
    taken = 0

    def jobs() -> object:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield (["x"],)

    results = bart_map(jobs(), processes=2, binary=program(tmp_path, "exit 0"), n_outputs=0)
    assert taken == 0
    next(results)
    assert taken <= 4
    results.close()


def test_map_refuses_no_processes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        list(bart_map([], processes=0))
    with pytest.raises(TypeError, match="unknown"):
        list(bart_map([], binary=program(tmp_path, "exit 0"), unknown=1))


SLEEPER = 'echo $$ > "{folder}/pid.$1"; exec sleep 60'


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def is_running(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_map_ends_the_others_on_the_first_error(tmp_path: Path, work: Path) -> None:
    fail = f'[ "$1" = fail ] && {{ until [ -s {tmp_path}/pid.sleep ]; do sleep 0.01; done; exit 3; }}'
    fake = program(tmp_path / "fake", f"{fail}; {SLEEPER.format(folder=tmp_path)}")
    with pytest.raises(BartError, match="bart fail failed: exit code 3"):
        for _ in bart_map([(["fail"],), (["sleep"],), (["later"],)], processes=2, binary=fake, folder=work):
            pass
    assert list(work.iterdir()) == []
    assert not is_running(tmp_path / "pid.sleep")


def test_map_can_be_abandoned(tmp_path: Path, work: Path) -> None:
    fake = program(tmp_path / "fake", f'[ "$1" = quick ] && exit 0; {SLEEPER.format(folder=tmp_path)}')
    results = bart_map([(["quick"],), (["sleep"],)] * 2, processes=2, binary=fake, folder=work, n_outputs=0)
    assert next(results) == ""
    wait_for(tmp_path / "pid.sleep")
    results.close()
    assert not is_running(tmp_path / "pid.sleep")
    assert list(work.iterdir()) == []


CALLS = {
    "bart": "bart(['sleep'], np.ones(4), binary={fake!r}, folder={work!r})",
    "bart_map": "list(bart_map([(['sleep'], np.ones(4))] * 5, processes=2, binary={fake!r}, folder={work!r}))",
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c(call: str, tmp_path: Path, work: Path) -> None:
    fake = program(tmp_path / "fake", SLEEPER.format(folder=tmp_path))
    code = f"""
        import numpy as np
        from csmri_ext.bridge import bart, bart_map
        try:
            {CALLS[call].format(fake=str(fake), work=str(work))}
        except KeyboardInterrupt:
            raise SystemExit(42)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    try:
        wait_for(tmp_path / "pid.sleep")
        assert list(work.iterdir()) != []
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 42
    finally:
        process.kill()
        process.wait()
    assert not is_running(tmp_path / "pid.sleep")
    assert list(work.iterdir()) == []


def test_ctrl_c_while_the_program_starts(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment between the start of the process and the end of `Popen`, where nobody knows the process yet."""
    fake = program(tmp_path / "fake", SLEEPER.format(folder=tmp_path))

    class Interrupted(subprocess.Popen):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            wait_for(tmp_path / "pid.sleep")
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        bart(["sleep"], binary=fake, folder=work)
    assert not is_running(tmp_path / "pid.sleep")
    assert list(work.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
