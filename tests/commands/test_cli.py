from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import csmri_ext
from csmri_ext.bridge import bart, load, read_cfl, read_cfl_header, write_cfl, write_fastmri
from csmri_ext.bridge.fourier import center_crop, fft2c, ifft2c
from csmri_ext.commands import cli
from csmri_ext.phantom.subjects import coil_maps, phantom_acquisition
from csmri_ext.physics import make_mask

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def images(n_slices: int = 3, ny: int = 24, nx: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((n_slices, ny // 8, nx // 8)), np.ones((1, 8, 8)))
    noise = 0.01 * rng.random(blocks.shape)  # without it k-space has zeros, which count as not acquired
    return ((blocks + noise) * np.exp(0.5j)).astype(np.complex64)


def kspace(**size: int) -> np.ndarray:
    return fft2c(images(**size))


def run(*words: str) -> None:
    assert cli.main([*words]) == 0


# csmri itself


def test_help_lists_the_commands_and_is_quick() -> None:
    code = "import sys; from csmri_ext.commands.cli import main; main([]); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in cli.COMMANDS:
        assert f"\n{name}" in result.stdout
    assert result.stdout.endswith("False\n"), "torch takes a second to load"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"csmri_ext {csmri_ext.__version__}\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: csmri {command}" in capsys.readouterr().out


def test_compare_is_the_same_program(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", np.abs(images()))
    run("compare", "a.npy", "--methods", "zero-filled", "--acceleration", "2", "--out", "here")
    assert Path("here/report.html").exists()
    assert '"command": "csmri compare a.npy' in Path("here/results.json").read_text()


# configuration


def test_show_config_names_what_a_bug_report_needs() -> None:
    import torch

    text = csmri_ext.show_config()
    for words in (csmri_ext.__version__, torch.__version__, "SIMD level", "OpenMP", "CUDA build", "BART", "numpy"):
        assert words in text


def test_show_config_finds_bart_or_says_what_to_install(bart_binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bart_binary in csmri_ext.show_config()
    for name in ("BART_TOOLBOX_PATH", "TOOLBOX_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert "apt-get install bart" in csmri_ext.show_config()


def test_doctor_without_file_shows_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor")
    assert capsys.readouterr().out.strip() == csmri_ext.show_config()


# recon


def test_fully_sampled_data_give_the_image_itself(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", kspace())
    run("recon", "in.npy", "out.npy", "--method", "zero-filled")
    np.testing.assert_allclose(np.load("out.npy"), images(), atol=1e-5)
    assert "out.npy: zero-filled, 3 slices of 24 x 32, fully sampled" in capsys.readouterr().out


@pytest.mark.parametrize("dims", [(0, 1), (1, 2)])
def test_cfl_out_lies_like_cfl_in(dims: tuple[int, int]) -> None:
    """Slices on 13; x, y on the dimensions they had: the image fits the k-space in the next BART command."""
    data = np.moveaxis(kspace().T[(...,) + (None,) * 13], (0, 1, 2), (*dims, 13))
    write_cfl("in", data, history="bart something")
    run("recon", "in", "out.cfl", "--method", "zero-filled")
    image = read_cfl("out")
    assert image.shape == data.shape
    np.testing.assert_allclose(np.moveaxis(image, (*dims, 13), (0, 1, 2)).reshape(32, 24, 3), images().T, atol=1e-5)
    assert read_cfl_header("out").command.startswith("bart something")


def test_recon_is_a_step_of_a_bart_script(bart_binary: str) -> None:
    """``bart phantom -k``, ``csmri recon``, ``bart nrmse``: BART reads what we write and finds its own image."""
    truth = bart(["phantom", "-x", "32"])
    write_cfl("ksp", bart(["fft", "-u", "3"], truth))
    run("recon", "ksp", "image.cfl", "--method", "zero-filled")
    subprocess.run([bart_binary, "nrmse", "-t", "0.000001", "image", "image"], check=True, capture_output=True)
    np.testing.assert_allclose(read_cfl("image").reshape(32, 32), truth.reshape(32, 32), atol=1e-6)


def test_own_mask_of_the_data_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    mask = make_mask("equispaced_fraction", (24, 32), 2, 0.2, seed=0).numpy()
    np.save("under.npy", np.where(mask, kspace(), 0))
    axes = ("--axes", "slice y x")
    run("recon", "under.npy", "zf.npy", "--method", "zero-filled", *axes)
    run("recon", "under.npy", "tv.npy", "--tv-weight", "0.003", *axes)
    np.testing.assert_allclose(np.load("zf.npy"), ifft2c(np.where(mask, kspace(), 0)), atol=1e-5)
    error = {name: np.linalg.norm(np.load(f"{name}.npy") - images()) for name in ("zf", "tv")}
    assert error["tv"] < 0.6 * error["zf"]
    assert "acquired" in capsys.readouterr().out


def test_full_data_can_be_undersampled() -> None:
    np.save("in.npy", kspace())
    words = ["--method", "zero-filled", "--mask", "random", "--acceleration", "2", "--center-fraction", "0.2"]
    run("recon", "in.npy", "a.npy", *words, "--seed", "5")
    mask = make_mask("random", (24, 32), 2, 0.2, seed=5).numpy()
    np.testing.assert_allclose(np.load("a.npy"), ifft2c(kspace() * mask), atol=1e-5)


def test_model_without_weights_is_the_method() -> None:
    np.save("in.npy", kspace())
    run("recon", "in.npy", "a.npy", "--model", "zero-filled")
    assert np.load("a.npy").shape == (3, 24, 32)


def test_fastmri_files_are_cropped_and_written_for_its_evaluation() -> None:
    full = kspace(ny=48)
    write_fastmri("in.h5", full, target=center_crop(np.abs(images(ny=48)), (24, 24)))
    run("recon", "in.h5", "out.h5", "--method", "zero-filled")
    with h5py.File("out.h5") as file:
        recon = file["reconstruction"][()]
    assert recon.dtype == np.float32
    np.testing.assert_allclose(recon, center_crop(np.abs(images(ny=48)), (24, 24)), atol=1e-5)
    run("recon", "in.h5", "full.npy", "--method", "zero-filled", "--full")
    assert np.load("full.npy").shape == (3, 48, 32)


def test_png_is_a_mosaic_of_the_slices() -> None:
    np.save("in.npy", kspace())
    run("recon", "in.npy", "all.png", "--method", "zero-filled")
    run("recon", "in.npy", "one.png", "--method", "zero-filled", "--slices", "1")
    with Image.open("all.png") as mosaic, Image.open("one.png") as single:
        assert mosaic.size == (64, 48)
        everything, one = np.asarray(mosaic).astype(float), np.asarray(single)
    middle = np.abs(images())[1]
    np.testing.assert_allclose(one, 255 * middle / middle.max(), atol=1)
    volume = np.abs(images()) * 255 / np.abs(images()).max()
    np.testing.assert_allclose(everything[:24, 32:], volume[1], atol=1)
    np.testing.assert_allclose(everything[24:, :32], volume[2], atol=1)
    assert (everything[24:, 32:] == 0).all()


def test_png_in_is_simulated_k_space() -> None:
    pixels = (np.abs(images(1)[0]) * 255).astype(np.uint8)
    Image.fromarray(pixels).save("in.png")
    run("recon", "in.png", "out.npy", "--method", "zero-filled")
    np.testing.assert_allclose(np.abs(np.load("out.npy"))[0], np.asarray(load("in.png").target)[0], atol=1e-5)


def test_multi_coil_with_given_and_estimated_maps() -> None:
    acquisition = phantom_acquisition(1, 48, seed=3, n_coils=4, noise=0.0)
    full = np.asarray(acquisition.kspace)[0]
    maps = coil_maps(48, 4, seed=3)
    write_cfl("ksp", full.transpose(2, 1, 0)[:, :, None])
    write_cfl("sens", maps.transpose(2, 1, 0)[:, :, None])
    run("recon", "ksp", "given.npy", "--method", "zero-filled", "--sens-maps", "sens")
    run("recon", "ksp", "estimated.npy", "--method", "zero-filled")
    expected = (maps.conj() * ifft2c(full)).sum(axis=0)
    np.testing.assert_allclose(np.load("given.npy")[0], expected, atol=1e-5)
    truth = np.linalg.norm(ifft2c(full), axis=0)
    assert np.linalg.norm(np.abs(np.load("estimated.npy")[0]) - truth) < 0.05 * np.linalg.norm(truth)


def test_bart_methods_and_maps(bart_binary: str) -> None:
    acquisition = phantom_acquisition(1, 48, seed=3, n_coils=4)
    mask = make_mask("poisson", (48, 48), 2, 0.4, seed=0).numpy()
    write_cfl("ksp", np.where(mask, np.asarray(acquisition.kspace)[0], 0).transpose(2, 1, 0)[:, :, None])
    run("recon", "ksp", "theirs.npy", "--method", "tv-bart")
    run("recon", "ksp", "ours.npy", "--method", "tv", "--bart")
    ours, theirs = np.load("ours.npy"), np.load("theirs.npy")
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


def test_failed_recon_keeps_the_old_result(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", kspace())
    run("recon", "in.npy", "out.npy", "--method", "zero-filled")
    before = Path("out.npy").read_bytes()
    assert cli.main(["recon", "in.npy", "out.npy", "--mask", "random", "--acceleration", "1000"]) == 2
    assert Path("out.npy").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["in.npy", "out.npy"]
