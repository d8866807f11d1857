from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_slices import make_slice
from PIL import Image
from small_comparisons import FAST, results, run, save

from csmri_ext.bridge import read_cfl, write_cfl
from csmri_ext.bridge.fourier import ifft2c
from csmri_ext.bridge.result_records import read_record
from csmri_ext.commands import cli
from csmri_ext.physics import mask_hash

MADE = make_slice((48, 40), n_coils=4)
MASK = np.arange(40) % 2 == 0
MASK[14:26] = True


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_as(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main([*words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_every_command_asks_for_the_axes_of_coils(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("k.npy", MADE.kspace)
    for words in (
        ["doctor", "k.npy"],
        ["recon", "k.npy", "o.npy"],
        ["compare", "k.npy"],
        ["train", "--model", "dccnn3", "--data", "k.npy"],
        ["search", "--data", "k.npy"],
    ):
        code, text = read_as(capsys, *words)
        assert code == 2, text
        assert text.startswith("error: ")
        assert "k.npy: read in the usual order, slice y x, but the 4 slices look like the coil images" in text
    line = "4 coils x 48 x 40, axes coil y x, from the user"
    assert line in read_as(capsys, "doctor", "k.npy", "--axes", "coil y x")[1]
    code, text = read_as(capsys, "recon", "k.npy", "o.npy", "--axes", "coil y x", "--method", "zero-filled")
    assert code == 0
    assert text.count("\n") == 1
    assert text.endswith(f"; read as {line}\n")
    assert read_record(Path("o.npy"))["reading"] == line
    run("k.npy", "--axes", "cyx", "--methods", "zero-filled", "--acceleration", "2")
    assert f"k.npy: read as {line}" in capsys.readouterr().out
    document = results()
    assert document["provenance"]["inputs"][0]["reading"] == line
    assert f"k.npy: read as {line}" in document["provenance"]["notes"]
    assert line in Path("comparison/report.html").read_text()


def test_doubts_are_one_line_before_every_result(capsys: pytest.CaptureFixture[str]) -> None:
    corner = np.fft.ifftshift(MADE.kspace, axes=(-2, -1))
    for name in ("a.h5", "b.h5"):
        with h5py.File(name, "w") as file:
            file["kspace"] = corner[None]
    warning = "zero frequency: at the corner (0, 0): apply fftshift to k-space first"
    _, text = read_as(capsys, "recon", "a.h5", "o.npy", "--method", "zero-filled")
    assert f"warning: a.h5: {warning}" in text.splitlines()
    run("a.h5", "b.h5", "--methods", "zero-filled", "--acceleration", "2")
    assert f"warning: a.h5, b.h5: {warning}" in capsys.readouterr().err.splitlines()
    assert f"a.h5, b.h5: {warning}" in results()["provenance"]["notes"]


def test_a_wrong_header_is_said_and_every_column_kept(capsys: pytest.CaptureFixture[str]) -> None:
    from csmri_ext.bridge.ismrmrd.header import make_header

    one = make_slice((48, 40)).kspace
    header = make_header((48, 40), (48, 40), 1, 1).replace(
        "<maximum>39</maximum><center>20<", "<maximum>0</maximum><center>0<"
    )
    with h5py.File("k.h5", "w") as file:
        file["kspace"], file["ismrmrd_header"] = one, header
    _, text = read_as(capsys, "recon", "k.h5", "o.npy", "--method", "zero-filled")
    assert "warning: k.h5: reading: the ISMRMRD header says that columns 20 to 20 of 40 were acquired, but 39" in text
    np.testing.assert_allclose(np.load("o.npy")[0], ifft2c(one[0]), atol=1e-5)
    assert "warning reading" in read_as(capsys, "doctor", "k.h5")[1]


def test_masks_from_files(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("k.npz", kspace=MADE.kspace[None], mask=MASK)
    np.save("mine.npy", np.fft.ifftshift(MASK))
    write_cfl("bart_mask", MASK[:, None].astype(np.complex64))
    run("k.npz", "--mask", "mine.npy", "random", "--acceleration", "2", "--methods", "zero-filled")
    assert "k-space is full beside a mask that keeps" in capsys.readouterr().err
    document = results()
    assert [(row["mask"], row["acceleration"]) for row in document["rows"]] == [("random", 2.0), ("mine.npy", None)]
    (entry,) = [mask for mask in document["provenance"]["masks"] if mask["kind"] == "mine.npy"]
    assert entry["hash"] == mask_hash(MASK)[:16]
    assert entry["changed"] == "shifted, as its centre was at index 0"
    assert (entry["file"], entry["undersamples"]) == ("mine.npy", "x")
    for number, mask in enumerate(("mine.npy", "bart_mask", "k.npz")):
        assert cli.main(["recon", "k.npz", f"{number}.npy", "--mask", mask, "--method", "zero-filled"]) == 0
        np.testing.assert_array_equal(np.load(f"{number}.npy"), np.load("0.npy"))
    assert read_record(Path("0.npy"))["mask"]["hash"] == mask_hash(MASK)[:16]
    assert read_record(Path("0.npy"))["settings"]["mask"].startswith("mine.npy, sha256 ")
    code, text = read_as(capsys, "recon", "k.npz", "o.npy", "--mask", "mine.npy", "--acceleration", "4")
    assert code == 2
    assert "go with a kind of mask, not with the file mine.npy" in text


def test_an_elliptical_coverage_can_be_undersampled(capsys: pytest.CaptureFixture[str]) -> None:
    y, x = np.mgrid[-1:1:48j, -1:1:40j]
    ellipse = x**2 + y**2 < 1
    np.save("k.npy", MADE.kspace * ellipse)
    run("k.npy", "--axes", "coil y x", "--acceleration", "2", "--methods", "zero-filled")
    (mask,) = results()["provenance"]["masks"]
    assert results()["rows"][0]["psnr"] > 15
    assert mask["kind"] == "equispaced_fraction"
    assert "fully sampled on a part without holes" in read_as(capsys, "doctor", "k.npy", "--axes", "coil y x")[1]


def test_sensitivities_from_files() -> None:
    np.save("k.npy", MADE.undersampled[None])
    np.save("maps.npy", MADE.sens_maps)
    write_cfl("maps", MADE.sens_maps.transpose(2, 1, 0)[:, :, None])
    for name in ("maps.npy", "maps"):
        assert cli.main(["recon", "k.npy", f"of_{name}.cfl", "--sens-maps", name, "--tv-iterations", "5"]) == 0
    np.testing.assert_array_equal(read_cfl("of_maps.npy.cfl"), read_cfl("of_maps.cfl"))
    run("k.npy", "--sens-maps", "maps.npy", *FAST)
    assert {row["details"]["sens_maps"] for row in results()["rows"]} == {"file"}


def test_frames_with_patterns_of_their_own() -> None:
    frames = []
    for first in range(3):
        mask = np.arange(40) % 3 == first
        mask[16:24] = True
        frames.append(MADE.kspace * mask)
    with h5py.File("prostate.h5", "w") as file:
        file["kspace"] = np.stack(frames)[:, None]
    dims = np.stack(frames).transpose(3, 2, 1, 0)[:, :, None, :, None, None, None, None, None, None]
    write_cfl("cine", dims)
    assert cli.main(["recon", "prostate.h5", "o.npy", "--method", "zero-filled"]) == 0
    images = np.load("o.npy")
    assert images.shape == (3, 48, 40)
    assert cli.main(["recon", "prostate.h5", "one.npy", "--method", "zero-filled", "--frames", "1"]) == 0
    np.testing.assert_array_equal(np.load("one.npy")[0], images[1])
    assert cli.main(["recon", "cine", "cine_image.cfl", "--method", "zero-filled"]) == 0
    stored = read_cfl("cine_image.cfl")
    assert stored.shape[:11] == (40, 48, 1, 1, 1, 1, 1, 1, 1, 1, 3)
    np.testing.assert_allclose(stored.reshape(40, 48, 3).T, images, atol=1e-6)
    run("prostate.h5", "--methods", "zero-filled")
    assert [row["volume"] for row in results()["rows"]] == [f"prostate.h5 frame {i}" for i in range(3)]


def test_phase_encoding_of_bart_files(capsys: pytest.CaptureFixture[str]) -> None:
    image = np.zeros((96, 40), np.complex64)
    image[24:72] = make_slice((48, 40)).image
    from csmri_ext.bridge.fourier import fft2c

    write_cfl("k", fft2c(image)[:, :, None])  # READ, sampled twice as densely, on dimension 0; PHS1 on 1
    code, text = read_as(capsys, "doctor", "k")
    assert code == 0
    assert "the object fills only the middle half of x (READ), as along an oversampled readout" in text
    assert "--phase-encoding y if y (PHS1) is the phase encoding" in text
    text = read_as(capsys, "doctor", "k", "--phase-encoding", "PHS1")[1]
    assert "oversampled readout" not in text
    assert "axes y (READ) x (PHS1), from BART's dimensions, phase encoding PHS1" in text
    run("k", "--phase-encoding", "y", "--acceleration", "2", "--methods", "zero-filled")
    assert "phase encoding PHS1" in results()["provenance"]["inputs"][0]["reading"]
    assert results()["provenance"]["masks"][0]["shape"] == [40]


def test_one_unreadable_file_of_several_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    save("in/good.npy")
    save("in/other.npy", seed=1)
    Path("in/bad.npy").write_bytes(b"\x93NUMPY nothing")
    np.save("in/nan.npy", np.full((1, 32, 32), np.nan))
    words = ["compare", "in", "--methods", "zero-filled", "--acceleration", "2"]
    code, text = read_as(capsys, *words)
    assert code == 2
    assert {row["volume"] for row in results()["rows"]} == {"good.npy", "other.npy"}
    assert "failed: in/bad.npy: " in text
    assert all(line.count("bad.npy") == 1 for line in text.splitlines() if line.startswith("failed: in/bad"))
    assert "failed: in/nan.npy: " in text
    assert {entry["what"] for entry in results()["provenance"]["failed"]} == {"in/bad.npy", "in/nan.npy"}
    assert json.loads(Path("comparison/results.json").read_text())["provenance"]["inputs"][0]["volume"] == "good.npy"
    Path("in/good.npy").unlink()
    Path("in/other.npy").unlink()
    code, text = read_as(capsys, *words)
    assert code == 2
    assert "none of the" in text


def test_a_folder_of_bart_without_bart_is_said(
    bart_binary: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLBOX_PATH", "/no/such/folder")
    np.save("k.npy", make_slice((48, 40)).undersampled)
    code, text = read_as(capsys, "recon", "k.npy", "o.npy", "--method", "tv-bart", "--tv-iterations", "3")
    assert code == 0, text
    assert f"warning: TOOLBOX_PATH is /no/such/folder, which holds no program bart; {bart_binary} is used" in text


def test_training_under_a_mask_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    from csmri_ext.data import Masks

    Image.fromarray((255 * np.broadcast_to(MASK, (40, 40))).astype(np.uint8)).save("m.png")
    masks = Masks(("m.png", "random"), (4.0,))
    np.testing.assert_array_equal(masks.draw(0, (40, 40), 0).numpy(), np.broadcast_to(MASK, (40, 40)))
    assert masks.of_columns
    with pytest.raises(ValueError, match=r"mask of shape \(40, 40\) does not fit"):
        masks.draw(0, (32, 32), 0)
    for words in (["--size", "160", "0"], ["--size", "0", "32", "--mask", "m.png", "random"]):
        code, text = read_as(capsys, "train", "--model", "dccnn3", "--strip", "0", "--mask", "m.png", *words)
        assert code == 2
        assert "error: mask m.png (40 x 40) does not fit training images of" in text
        assert "--size 0" in text
    np.save("none.npy", np.zeros(40))
    code, text = read_as(capsys, "train", "--model", "dccnn3", "--masks", "none.npy")
    assert code == 2
    assert "none.npy: the mask is empty" in text


def test_several_sets_of_sensitivities_are_said_in_the_line_and_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("k.npy", MADE.kspace[None])
    np.save("two.npy", np.stack([MADE.sens_maps, 1j * MADE.sens_maps]))
    write_cfl("two", np.stack([MADE.sens_maps] * 2, -1).transpose(2, 1, 0, 3)[:, :, None])
    for name in ("two.npy", "two"):
        code, text = read_as(capsys, "recon", "k.npy", f"{name}.h5", "--method", "zero-filled", "--sens-maps", name)
        assert code == 0, text
        assert f"warning: k.npy: reading: {name} holds 2 sets of coil sensitivities: the first is used" in text
        assert f"sensitivities from {name}, the first of 2 sets" in text
        record = read_record(f"{name}.h5")
        assert record["warnings"] == [f"{name} holds 2 sets of coil sensitivities: the first is used"]
        assert f"{name}, the first of 2 sets" in record["reading"]
    run("k.npy", "--sens-maps", "two.npy", "--methods", "zero-filled")
    assert results()["provenance"]["inputs"][0]["warnings"] == [
        "two.npy holds 2 sets of coil sensitivities: the first is used"
    ]


@pytest.mark.parametrize("mask", [[], ["--mask", "equispaced"]], ids=["as it is", "undersampled"])
def test_partial_fourier_is_warned_of_and_not_called_fully_sampled(
    mask: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    kspace = make_slice((32, 40)).kspace[:1].copy()
    np.save("whole.npy", kspace)
    kspace[..., :10] = 0
    np.save("part.npy", kspace)
    for name, empty in (("whole.npy", False), ("part.npy", True)):
        assert cli.main(["recon", name, f"of_{name}", "--method", "zero-filled", *mask]) == 0
        said = capsys.readouterr()
        assert ("10 empty columns before and 0 after the samples: partial Fourier" in said.err) == empty
        assert ("32 x 40, fully sampled, " in said.out) == (not empty and not mask)
        assert ("fully sampled but for 25 % at the border" in said.out) == (empty and not mask)
