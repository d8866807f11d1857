from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_slices import make_slice

from csmri_ext.bridge import Acquisition, load, write_cfl
from csmri_ext.bridge.fourier import fft2c, ifft2c
from csmri_ext.commands import cli
from csmri_ext.commands.doctor import FOUND_PROBLEMS
from csmri_ext.data import examine as doctor
from csmri_ext.data.checks import check_center
from csmri_ext.physics import make_mask

NY, NX = 48, 60


def disc(ny: int = NY, nx: int = NX) -> np.ndarray:
    """A bright disc in the middle of the field of view, with a little noise."""
    y, x = np.ogrid[:ny, :nx]
    image = ((y - ny // 2) ** 2 / (0.3 * ny) ** 2 + (x - nx // 2) ** 2 / (0.3 * nx) ** 2 < 1).astype(np.float32)
    return image + 0.01 * np.random.default_rng(0).normal(size=(ny, nx)).astype(np.float32)


def kspace(coils: int = 1, ny: int = NY, nx: int = NX) -> np.ndarray:
    weights = np.linspace(1, 2, coils)[None, :, None, None]
    return fft2c(disc(ny, nx) * weights).astype(np.complex64)


def findings(data: np.ndarray, **fields: object) -> dict[str, list[doctor.Finding]]:
    found: dict[str, list[doctor.Finding]] = {}
    for finding in doctor.examine(Acquisition(kspace=data, name="a", **fields)):
        found.setdefault(finding.topic, []).append(finding)
    return found


def levels(found: dict[str, list[doctor.Finding]]) -> set[str]:
    return {finding.level for group in found.values() for finding in group}


@pytest.mark.parametrize(("ny", "nx"), [(48, 60), (47, 61)])
def test_good_data_are_all_ok(ny: int, nx: int) -> None:
    assert levels(findings(kspace(3, ny, nx))) == {"OK"}


def test_zero_frequency_at_the_corner_is_a_problem() -> None:
    found = findings(np.fft.ifftshift(kspace(), axes=(-2, -1)))
    assert found["zero frequency"][0].level == "problem"
    assert "corner (0, 0)" in found["zero frequency"][0].text


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("every", [1, 3])
def test_hybrid_space_is_a_problem(axis: int, every: int) -> None:
    """One axis was transformed to the image, the other one not; also where columns are missing."""
    data = ifft2c(kspace(3))
    data = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(data, axes=3 - axis), axis=3 - axis), axes=3 - axis)
    keep = np.arange(data.shape[3 - axis]) % every == 0
    found = findings(data * (keep if axis == 0 else keep[:, None]))
    assert [f.level for f in found["hybrid space"]] == ["problem"]
    assert f"apply a centred FFT along {'yx'[axis]} first" in found["hybrid space"][0].text
    assert "zero frequency" not in found


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_image_rolled_by_half_the_field_of_view(axes: tuple[int, ...]) -> None:
    data = fft2c(np.fft.fftshift(disc(), axes=axes))[None, None]
    (finding,) = findings(data)["image centre"]
    assert finding.level == "problem"
    assert finding.text.split("along ")[1].split(":")[0] == " and ".join("yx"[axis + 2] for axis in axes)


def test_roll_is_seen_in_undersampled_data_too() -> None:
    mask = make_mask("equispaced_fraction", (NY, NX), 4, 0.2, seed=0).numpy()
    rolled = fft2c(np.fft.fftshift(disc()))[None, None] * mask
    assert findings(rolled, mask=mask)["image centre"][0].level == "problem"
    assert findings(kspace() * mask, mask=mask)["image centre"][0].level == "OK"


def test_mask_axis_and_calibration() -> None:
    mask = make_mask("equispaced_fraction", (NY, NX), 4, 0.2, seed=0).numpy()
    found = findings(np.where(mask, kspace(), 0), mask=mask)
    assert "columns along x (nx = 60)" in found["sampling"][0].text
    assert found["calibration"][0].level == "OK"
    rows = np.broadcast_to(mask[:NY, None], (NY, NX)).copy()
    rows[NY // 2] = True
    found = findings(np.where(rows, kspace(), 0), mask=rows)
    assert found["sampling"][0].level == "problem"
    assert "transpose" in found["sampling"][0].text


def test_missing_calibration_region_is_noted() -> None:
    mask = np.arange(NX) % 2 == 0
    found = findings(np.where(mask, kspace(), 0), mask=mask)
    assert found["calibration"][0].level == "note"


def test_two_dimensional_mask_is_described() -> None:
    mask = make_mask("poisson", (NY, NX), 4, 0.2, seed=0).numpy()
    found = findings(np.where(mask, kspace(), 0), mask=mask)
    assert "two-dimensional" in found["sampling"][0].text


def test_zero_padding_is_noted() -> None:
    data = kspace()
    data[..., :5] = 0
    data[..., -7:] = 0
    (finding,) = findings(data)["padding"]
    assert finding.level == "note"
    assert "5 empty columns before and 7 after" in finding.text


def test_rounding_instead_of_zeros_is_a_problem() -> None:
    data = kspace()
    data[..., ::2] = 1e-12
    (finding,) = findings(data)["zeros"]
    assert finding.level == "problem"
    assert "50 %" in finding.text


def test_negative_zeros_are_noted() -> None:
    mask = make_mask("equispaced_fraction", (NY, NX), 4, 0.2, seed=0).numpy()
    product = kspace() * np.where(mask, 1, -0.0).astype(np.float32)
    (finding,) = findings(product, mask=mask)["zeros"]
    assert finding.level == "note"
    assert "-0.0" in finding.text


def test_dead_coil_is_named() -> None:
    data = kspace(4)
    data[:, 2] *= 1e-6
    (finding,) = findings(data)["coils"]
    assert finding.level == "note"
    assert finding.text.endswith("coil 2")


def test_slices_in_the_place_of_coils_are_doubted(tmp_path: Path) -> None:
    slices = np.stack([make_slice((64, 60), seed=seed).kspace[0] for seed in range(6)])
    write_cfl(tmp_path / "x", slices.transpose(1, 2, 0)[:, :, np.newaxis])
    (first, *_) = [f for f in doctor.examine(load(tmp_path / "x")) if f.topic == "coils"]
    assert (first.level, first.text) == (
        "warning",
        "the 6 coils look like images of different slices or frames, which would be mixed: say --axes",
    )
    coils = make_slice((64, 60), n_coils=6).kspace
    assert [f.level for f in findings(coils[np.newaxis])["coils"]] == ["OK"]


def test_scale_outside_float32_is_a_problem() -> None:
    assert findings(kspace() * np.float32(1e30))["scale"][0].level == "problem"
    assert findings(kspace() * np.float32(1e6))["scale"][0].level == "OK"


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (np.inf, "infinite"), (0, "zero")])
def test_unusable_values_name_the_slice(value: float, words: str) -> None:
    data = np.concatenate([kspace(), kspace()])
    data[1, 0, ...] = value
    (finding,) = findings(data)["values"]
    assert finding.level == "problem"
    assert "slice 1" in finding.text
    assert words in finding.text


def test_orientation_names_axes_and_voxel_size() -> None:
    affine = np.array([[0, 0, 3, 0], [-1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]], float)
    assert doctor.orientation(affine) == "axes run to PSR, voxel 1 x 2 x 3 mm"
    tilted = affine.copy()
    tilted[:2, :2] = [[0.5, 0.8], [-0.8, 0.5]]
    assert doctor.orientation(tilted).endswith("oblique")
    assert "singular" in doctor.orientation(np.zeros((4, 4)))


def test_command_prints_bart_dimensions_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = kspace(2)[0]
    write_cfl(tmp_path / "good", good.transpose(2, 1, 0)[:, :, None])
    assert cli.main(["doctor", str(tmp_path / "good")]) == 0
    out = capsys.readouterr().out
    assert "READ 60, PHS1 48, COIL 2" in out
    assert "problem" not in out

    corner = np.fft.ifftshift(good, axes=(-2, -1))
    write_cfl(tmp_path / "corner", corner.transpose(2, 1, 0)[:, :, None])
    assert cli.main(["doctor", str(tmp_path / "corner")]) == FOUND_PROBLEMS
    assert "problem zero frequency" in capsys.readouterr().out


def test_several_files_give_the_worst_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = fft2c(np.pad(np.ones((2, 1, 16, 16)), ((0, 0), (0, 0), (8, 8), (8, 8))))
    np.save(tmp_path / "good.npy", good)
    np.save(tmp_path / "corner.npy", np.fft.ifftshift(good, axes=(-2, -1)))
    assert cli.main(["doctor", str(tmp_path / "corner.npy"), str(tmp_path / "good.npy")]) == 1
    out = capsys.readouterr().out
    assert out.count("zero frequency") == 2
    assert "at the corner" in out
    assert cli.main(["doctor", str(tmp_path / "good.npy"), str(tmp_path / "good.npy")]) == 0


def test_real_scanner_data_have_no_problem(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", str(shared_data / "bart" / "brain_8ch_ksp")]) == 0
    out = capsys.readouterr().out
    assert "8 coils" in out
    assert "two-dimensional pattern" in out


def test_echoes_far_from_the_centre_are_a_warning() -> None:
    for axis, words in ((-1, "partial Fourier whose missing lines were cut off"), (-2, "an echo that was not placed")):
        (finding,) = findings(np.roll(kspace(), 6, axis))["zero frequency"]
        assert finding.level == "warning"
        assert words in finding.text
    assert findings(np.roll(kspace(), 1, -1))["zero frequency"][0].level == "note"
    noise = np.random.default_rng(0).standard_normal((1, 1, 64, 64, 2)) @ [1, 1j]
    assert findings(noise)["zero frequency"][0].text == "no sample stands out: noise, or no k-space"


def test_partial_fourier_that_was_cut_off_is_a_warning() -> None:
    assert "partial Fourier" in findings(kspace()[..., 16:])["zero frequency"][0].text


def test_an_oversampled_readout_along_x_is_a_warning() -> None:
    wide = fft2c(np.pad(disc(), ((0, 0), (NX // 2, NX // 2))))[None, None]
    (finding,) = findings(wide)["phase encoding"]
    assert finding.level == "warning"
    assert "--phase-encoding y" in finding.text
    assert "phase encoding" not in findings(wide.swapaxes(-2, -1))
    assert "phase encoding" not in findings(wide, attrs={"simulated": True})


def test_masks_with_their_centre_at_the_corner_are_a_warning() -> None:
    mask = np.fft.ifftshift(make_mask("equispaced_fraction", (NY, NX), 4, 0.2, seed=0).numpy())
    assert findings(np.where(mask, kspace(), 0), mask=mask)["mask"][0].level == "warning"


def test_spokes_that_were_forced_are_a_problem() -> None:
    x = np.arange(48) - 24
    lines = np.exp(-np.abs(x) / 3 + 1j * np.arange(32)[:, None])[None, None].astype(np.complex64)
    assert findings(lines)["trajectory"][0].level == "problem"


def test_what_the_reader_decided_is_a_warning() -> None:
    found = findings(kspace(), attrs={"warnings": ["the header is wrong"], "axes": "y x", "axes_from": "the user"})
    assert (found["reading"][0].level, found["reading"][0].text) == ("warning", "the header is wrong")
    assert found["read as"][0].text == f"{NY} x {NX}, axes y x, from the user"


def test_serious_findings_of_the_middle_slice() -> None:
    data = np.concatenate([kspace(), np.fft.ifftshift(kspace(), axes=(-2, -1)), np.nan * kspace()])
    made = Acquisition(kspace=data, name="a", attrs={"warnings": ["said"]})
    assert doctor.serious(made) == [
        "reading: said",
        "zero frequency: at the corner (0, 0): apply fftshift to k-space first",
    ]
    assert doctor.serious(made, 2) == ["reading: said"]
    assert doctor.serious(Acquisition(kspace=kspace(), name="a")) == []


def test_the_readout_of_bart_files_decides_what_a_far_centre_means() -> None:
    rolled = np.roll(fft2c(np.pad(np.ones((1, 1, 32, 32)), ((0, 0), (0, 0), (16, 16), (16, 16)))), 8, axis=2)
    for axes, reason in ((("y", "x"), "an echo"), (("y (PHS1)", "x (READ)"), "partial Fourier")):
        finding = check_center(rolled, axes)
        assert finding.level == "warning"
        assert reason in finding.text


def test_a_complex_image_is_no_kspace() -> None:
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    image = ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) * np.exp(0.5j * x)
    finding = check_center(image[None, None])
    assert finding.level == "warning"
    assert "a complex image, not k-space" in finding.text
    assert check_center(fft2c(image)[None, None]).level == "OK"
    noise = np.random.default_rng(0).standard_normal((2, 1, 1, 64, 64))
    assert check_center(noise[0] + 1j * noise[1]).text == "no sample stands out: noise, or no k-space"
