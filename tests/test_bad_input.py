"""Bad input gives one clear line on stderr, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from csmri_ext.bridge import write_cfl
from csmri_ext.commands import cli

Make = Callable[[Path], object]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)


def fails(capsys: pytest.CaptureFixture[str], words: list[str], *expected: str) -> None:
    """Assert that the command prints one line that matches every pattern, returns 2, and writes nothing."""
    before = everything()
    code = cli.main(words)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert code == 2, captured
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert captured.out == ""
    for pattern in expected:
        assert re.search(pattern, lines[0]), f"{pattern!r} is not in {lines[0]!r}"
    assert everything() == before, "something was written"


def everything() -> dict[Path, int | None]:
    """Every file with the time of its last change, and every folder; the lock of a folder in use holds nothing."""
    return {p: p.stat().st_mtime_ns if p.is_file() else None for p in Path().rglob("*") if p.name != ".lock"}


def kspace(shape: tuple[int, ...] = (2, 1, 32, 40)) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    noise[..., shape[-2] // 2, shape[-1] // 2] += 30  # as of an image: without a peak it is doubted
    return noise


def good_file() -> str:
    np.save("in/good.npy", kspace())
    return "in/good.npy"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cfl(header: str | None, n_bytes: int = 8 * 32 * 40) -> Make:
    def make(folder: Path) -> Path:
        if header is not None:
            (folder / "ksp.hdr").write_text(header)
        (folder / "ksp.cfl").write_bytes(np.ones(n_bytes, np.uint8).tobytes())
        return folder / "ksp.cfl"

    return make


def h5(**datasets: np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "scan.h5", "w") as file:
            for name, value in datasets.items():
                file[name] = value
        return folder / "scan.h5"

    return make


def npy(value: float) -> Make:
    def make(folder: Path) -> Path:
        data = kspace()
        data[1] = value
        np.save(folder / "ksp.npy", data)
        return folder / "ksp.npy"

    return make


def one_bad_sample(folder: Path) -> Path:
    data = kspace()
    data[0, 0, 3, 5] = np.nan
    np.save(folder / "ksp.npy", data)
    return folder / "ksp.npy"


def npz_of_other_shape(folder: Path) -> Path:
    np.savez(folder / "scan.npz", kspace=kspace(), mask=np.ones(41, bool))
    return folder / "scan.npz"


def corrupt_nifti(folder: Path) -> Path:
    nibabel = pytest.importorskip("nibabel")
    path = folder / "brain.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((16, 16, 4), np.float32), np.eye(4)), path)
    truncated(path)
    return path


def corrupt_png(folder: Path) -> Path:
    from PIL import Image

    path = folder / "slice.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    truncated(path)
    return path


def corrupt_mat(folder: Path) -> Path:
    path = folder / "data.mat"
    savemat(path, {"images": np.random.default_rng(0).random((32, 32, 4))})
    truncated(path)
    return path


def text_as(name: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_text("this is not an image\n")
        return folder / name

    return make


FILES = {
    "truncated cfl": (cfl("# Dimensions\n40 32 1\n", 8 * 32 * 40 - 8), r"ksp\.cfl: 10232 bytes", "need 10240"),
    "oversized cfl": (cfl("# Dimensions\n40 32 1\n", 8 * 32 * 40 + 8), r"ksp\.cfl: 10248 bytes", "need 10240"),
    "header without dims": (cfl("# Command\nfft\n"), r"ksp\.hdr", "Dimensions"),
    "empty header": (cfl(""), r"ksp\.hdr", "Dimensions"),
    "negative dims": (cfl("# Dimensions\n40 -32 1\n"), r"ksp\.hdr", "-32"),
    "zero dims": (cfl("# Dimensions\n40 0 1\n"), r"ksp\.hdr", "0"),
    "absurd dims": (cfl("# Dimensions\n999999 999999 1 999\n"), r"ksp\.cfl: 10240 bytes", "need"),
    "missing header": (cfl(None), r"ksp\.hdr", "no such file"),
    "HDF5 without kspace": (h5(images=np.ones((3, 8, 8))), r"scan\.h5", "kspace"),
    "truncated HDF5": (lambda folder: truncated(h5(kspace=kspace())(folder)) or folder / "scan.h5", r"scan\.h5"),
    "NaN": (npy(np.nan), r"ksp\.npy", "slice 1", "NaN"),
    "one NaN": (one_bad_sample, r"ksp\.npy", "slice 0", "NaN"),
    "infinity": (npy(np.inf), r"ksp\.npy", "slice 1", "infinite"),
    "all-zero slice": (npy(0), r"ksp\.npy", "slice 1", "zero"),
    "all-zero volume": (h5(kspace=np.zeros((2, 8, 8), np.complex64)), r"scan\.h5", "zero"),
    "k-space beyond float32": (npy(1e20), r"ksp\.npy", "1e\\+20", "rescale"),
    "mask of another shape, HDF5": (h5(kspace=kspace((2, 32, 40)), mask=np.ones(41)), r"41", r"40"),
    "mask of another shape, npz": (npz_of_other_shape, r"41", r"40"),
    "corrupt NIfTI": (corrupt_nifti, r"brain\.nii\.gz"),
    "text as NIfTI": (text_as("brain.nii"), r"brain\.nii"),
    "corrupt PNG": (corrupt_png, r"slice\.png"),
    "text as PNG": (text_as("slice.png"), r"slice\.png"),
    "corrupt mat": (corrupt_mat, r"data\.mat"),
    "text as mat": (text_as("data.mat"), r"data\.mat"),
    "unknown type": (text_as("data.xyz"), r"data\.xyz", "supported"),
    "no such file": (lambda folder: folder / "nothing.h5", r"nothing\.h5", "no such file"),
    "empty folder": (lambda folder: folder, "holds no file"),
}


@pytest.mark.parametrize("command", ["compare", "recon"])
@pytest.mark.parametrize("case", FILES)
def test_bad_file(case: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, *expected = FILES[case]
    path = str(make(Path("in")))
    words = ["compare", path, "--methods", "zero-filled"] if command == "compare" else ["recon", path, "out.cfl"]
    fails(capsys, words, *expected)


OPTIONS = {
    "acceleration below 1": (["--acceleration", "0.5"], "acceleration 0.5", "at least 1"),
    "negative acceleration": (["--acceleration=-4"], "acceleration -4"),
    "acceleration is no number": (["--acceleration", "four"], "four"),
    "impossible with the centre": (["--acceleration", "8", "--center-fraction", "0.5"], r"equispaced_fraction 8x"),
    "a centre of all": (["--mask", "random", "--acceleration", "8", "--center-fraction", "0.5"], r"random 8x"),
    "center fraction above 1": (["--center-fraction", "2"], "center fraction 2"),
    "unknown mask": (["--mask", "equispaced_fracton"], "unknown mask", "did you mean equispaced_fraction"),
    "unknown method": (["--methods", "zero-filled,tvv"], "unknown method 'tvv'", "did you mean tv"),
    "no slices": (["--slices", "0"], "--slices", "'0' is not a positive whole number"),
    "bad weight": (["--tv-weight", "-1"], "--tv-weight"),
    "weight is a word": (["--tv-weight", "automatic"], "--tv-weight", "nor 'auto'"),
    "no name of the folder": (["--out", ""], "empty file name"),
    "no name of a file": ([""], "empty file name"),
    "unknown option": (["--acelleration", "4"], "--acelleration", "--help"),
    "GPU that is not there": (["--device", "cuda"], "--device cuda"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_option_of_compare(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    options, *expected = OPTIONS[case]
    if "cuda" in options:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
    fails(capsys, ["compare", good_file(), *options], *expected)


RECON = {
    "unknown method": (["out.cfl", "--method", "zero-fild"], "unknown method 'zero-fild'", "did you mean zero-filled"),
    "unknown model": (["out.cfl", "--model", "tw"], "unknown model 'tw'"),
    "unknown mask": (["out.cfl", "--mask", "randon"], "unknown mask 'randon'", "did you mean random"),
    "unknown output type": (["out.jpeg"], r"out\.jpeg", r"\.cfl, \.h5, \.png, \.npy"),
    "no folder": (["nowhere/out.cfl"], "no folder nowhere"),
    "no folder, on two lines": (["no\nwhere/out.cfl"], r"no\\nwhere|no where"),
    "output is a folder": (["in/folder.png"], "is a folder"),
    "output is the input": (["in/good.npy"], "is the input"),
    "acceleration without mask": (["out.cfl", "--acceleration", "4"], "go with --mask"),
    "maps that do not fit": (["out.cfl", "--sens-maps", "in/other.npy"], r"other\.npy: sens_maps of shape \(2, 9, 9\)"),
    "mask that does not fit": (["out.cfl", "--mask", "in/other.npy"], r"other\.npy: a mask has shape \(nx,\) or"),
    "axes that do not fit": (["out.cfl", "--axes", "y x"], r"good\.npy: .* 2 words for 4 axes"),
    "axes that are none": (["out.cfl", "--axes", "y x banana"], "unknown axis 'banana'"),
    "an option of another format": (["out.cfl", "--plane", "axial"], r"good\.npy: --plane does not go with such"),
    "no such frame": (["out.cfl", "--frames", "3"], r"no frame 3; it has 1"),
    "frames that are none": (["out.cfl", "--frames", "3-1"], "no list of frames"),
}


@pytest.mark.parametrize("case", RECON)
def test_bad_option_of_recon(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in/folder.png").mkdir()
    np.save("in/other.npy", np.ones((2, 9, 9)))
    options, *expected = RECON[case]
    fails(capsys, ["recon", good_file(), *options], *expected)


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ({"kspace": kspace((2, 5, 6))}, "images of 5 x 6; SSIM needs 7 x 7"),
        ({"kspace": kspace((2, 32, 40)), "reconstruction_esc": np.full((2, 32, 40), np.nan)}, "slice 0 .* NaN"),
    ],
)
def test_reference_that_nothing_can_be_compared_with(
    datasets: dict[str, np.ndarray], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(h5(**datasets)(Path("in")))
    fails(capsys, ["compare", path, "--methods", "zero-filled", "--acceleration", "2"], r"scan\.h5", expected)


def test_resuming_from_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.fromarray(np.full((16, 16), 200, np.uint8)).save("in/simulated.png")  # of which a note is printed
    Path("comparison").mkdir()
    Path("comparison/results.json").write_text("{")
    fails(capsys, ["compare", "in/simulated.png", "--resume", "--methods", "zero-filled"], "not a results file")


def test_instruction_set_that_is_not_there() -> None:
    good_file()
    code = "import sys; from csmri_ext.commands.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "compare", "in/good.npy", "--methods", "tv,zero-filled"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "CSMRI_SIMD": "avx1024"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: CSMRI_SIMD=avx1024: expected baseline, avx2 or avx512\n"
    doctor = subprocess.run([*command[:3], "doctor"], capture_output=True, text=True, env=environment, check=True)
    assert "CSMRI_SIMD=avx1024: expected" in doctor.stdout


def test_undersampling_what_is_undersampled(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in/under.npy", np.where(np.arange(40) % 3 == 0, kspace(), 0))
    fails(capsys, ["recon", "in/under.npy", "out.cfl", "--mask", "random"], "undersampled already")


def test_maps_of_other_shape(capsys: pytest.CaptureFixture[str]) -> None:
    write_cfl("in/ksp", kspace((1, 2, 32, 40))[0].transpose(2, 1, 0)[:, :, None])
    write_cfl("in/sens", kspace((1, 3, 32, 40))[0].transpose(2, 1, 0)[:, :, None])
    words = ["recon", "in/ksp", "out.cfl", "--sens-maps", "in/sens"]
    fails(capsys, words, r"\(1, 3, 32, 40\) do not fit k-space \(1, 2, 32, 40\)")


@pytest.mark.parametrize("words", [["--bart"], ["--methods", "tv-bart"]])
def test_bart_without_bart(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)  # an empty PATH would still leave /usr/bin/bart
    fails(capsys, ["compare", good_file(), *words], words[-1], "apt-get install bart")


def test_output_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    path = good_file()
    Path("in/file").write_text("a file, not a folder")
    fails(capsys, ["compare", path, "--out", "in/file"], "cannot write into the output folder in/file")
    fails(capsys, ["compare", path, "--out", "in/file/below"], "cannot write into the output folder in/file/below")


def test_output_on_a_kernel_file_system(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc on this system")
    fails(capsys, ["compare", good_file(), "--out", "/proc/comparison"], "cannot write into the output folder /proc")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is opened for writing takes the first bytes and is then full."""
    real_open = Path.open

    def limited(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        file = real_open(self, mode, *args, **kwargs)
        if "w" in mode:

            def write(data: object) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            file = _Full(file, write)
        return file

    monkeypatch.setattr(Path, "open", limited)


class _Full:
    def __init__(self, file: object, write: Callable[[object], int]) -> None:
        self._file, self.write = file, write

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.mark.parametrize("name", ["out.cfl", "out.npy", "out.png"])
def test_full_disk_while_recon_writes(name: str, full_disk: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recon", good_file(), name, "--method", "zero-filled"]
    fails(capsys, words, name.replace(".", r"\."), "no space left on the disk")


def test_full_disk_while_compare_writes(full_disk: None, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["compare", good_file(), "--methods", "zero-filled", "--acceleration", "4"])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: comparison/recons/")
    assert "no space left on the disk" in error
    assert error.count("\n") == 1
    names = {path.name for path in Path("comparison").rglob("*") if path.is_file()}
    assert names <= {".lock", "results.jsonl"}, "no result, only the lock and the journal of finished rows"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    (folder := tmp_path / "tiny").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user or container may not mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["out.cfl", "out.h5", "out.npy", "out.png"])
def test_really_full_disk(name: str, tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in/large.npy", kspace((2, 1, 300, 320)))
    words = ["recon", "in/large.npy", f"tiny/{name}", "--method", "zero-filled"]
    fails(capsys, words, name.replace(".", r"\."), "no space left on the disk")
    assert list(tiny_disk.iterdir()) == []


def test_disk_that_fills_up_while_the_report_is_written(
    tmp_path: Path, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there is complete, and the finished rows stay."""
    np.save("in/small.npy", kspace((1, 1, 32, 32)))
    words = ["compare", "in/small.npy", "--methods", "zero-filled", "--acceleration", "4", "--out", "tiny"]
    assert cli.main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"error: tiny/images/\S+\.png: no space left on the disk", error)
    left = sorted({str(p.relative_to(tiny_disk)) for p in tiny_disk.rglob("*") if p.is_file()} - {".lock"})
    recon = "recons/small.npy_equispaced_fraction_R4_zero-filled"
    assert left == [f"{recon}.cfl", f"{recon}.hdr", "results.csv", "results.json", "slices.csv"]


@pytest.mark.parametrize("command", ["compare", "recon", "doctor"])
def test_debug_shows_the_traceback(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [command, "missing.h5", *(["out.cfl"] if command == "recon" else []), "--debug"]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.splitlines()[-1] == "error: missing.h5: no such file or directory"


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "csmri_ext.commands.compare", "in/good.npy", "--methods", "tv-nope"],
        [
            "-c",
            "import sys; from csmri_ext.commands.cli import main; sys.exit(main())",
            "recon",
            "in/missing.cfl",
            "out.png",
        ],
    ],
)
def test_as_a_process_of_its_own(command: list[str]) -> None:
    good_file()
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["comparee"], "unknown command 'comparee'; did you mean compare")
