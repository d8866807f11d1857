from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from small_comparisons import FAST, comparable, images, results, run, save

from csmri_ext import metrics
from csmri_ext.bridge import Acquisition, bart, from_bart, load, read_cfl, write_cfl, write_fastmri
from csmri_ext.bridge.fourier import center_crop, fft2c, ifft2c
from csmri_ext.commands import compare
from csmri_ext.phantom.subjects import phantom_acquisition
from csmri_ext.physics import describe_estimate, make_mask
from csmri_ext.recon import evaluate, methods, shared_setup
from csmri_ext.recon.methods import Method
from csmri_ext.recon.panels import MOST_PANELS
from csmri_ext.recon.problem import Reconstruction
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.volumes import Volume, spread

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def test_everything_the_command_promises_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    run(save("a.npy"), save("b.npy", seed=1), *FAST, "--acceleration", "4")
    document = results()
    assert [(row["volume"], row["method"]) for row in document["rows"]] == [
        (volume, method) for volume in ("a.npy", "b.npy") for method in ("zero-filled", "tv")
    ]
    with Path("comparison/results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "<html" in Path("comparison/report.html").read_text()
    assert list(Path("comparison/images").glob("*.png"))
    for row in document["rows"]:
        assert read_cfl(Path("comparison/recons") / row["details"]["recon"]).shape[:2] == (32, 32)
    assert not list(Path("comparison").rglob("*.tmp")), "nothing half-written stays"
    out, err = capsys.readouterr()
    assert "equispaced_fraction, R = 4 (2 volumes, mean ± standard deviation over volumes)" in out
    assert "fastMRI evaluate.py" in out
    assert err.count("\n") == 6, "a warning, a note and one line per row, no bars, where stderr is no terminal"


def test_numbers_are_fastmri_metrics_of_the_cropped_magnitude(without_report: list) -> None:
    """Undersample the whole matrix, reconstruct it, crop the image, compare magnitudes: done here by hand."""
    rng = np.random.default_rng(0)
    full = fft2c(np.exp(1j) * images(3, 48)) + 0.01 * rng.normal(size=(3, 48, 48)).astype(np.float32)
    target = center_crop(np.abs(ifft2c(full)), (32, 32))
    write_fastmri("scan.h5", full.astype(np.complex64), target=target)
    run("scan.h5", "--methods", "zero-filled", "--acceleration", "4", "--center-fraction", "0.2")
    (row,) = results()["rows"]

    mask = make_mask("equispaced_fraction", (48, 48), 4, 0.2, seed="scan.h5").numpy()
    recon = center_crop(np.abs(ifft2c(full * mask)), (32, 32))
    for name in ("mse", "nmse", "psnr", "ssim"):
        assert row[name] == pytest.approx(getattr(metrics, name)(target, recon), rel=1e-5), name
    assert row["slice_psnr"] == pytest.approx(metrics.slice_psnr(target, recon), rel=1e-5)
    assert (row["slices"], row["parameters"], row["flops"]) == (3, 0, None)
    assert row["kspace_residual"] < 1e-5


def test_zero_padding_of_fastmri_files_does_not_count_as_acquired() -> None:
    kspace = fft2c(images(1))
    kspace[..., :3], kspace[..., -5:] = 0, 0
    acquisition = Acquisition(kspace=kspace[:, None], name="a.h5", attrs={"padding": (3, 27)})
    volume = Volume("a.h5", acquisition, range(1), "a.h5")
    sampling = Sampling("equispaced", 2.0, 0.2)
    problem = evaluate.Problems(shared_setup.Setup(seed=0)).get(volume, sampling, [0])
    mask = make_mask("equispaced", (32, 32), 2, 0.2, seed=0).numpy()
    assert mask[:3].any(), "the mask itself is fastMRI's"
    assert mask[-5:].any()
    np.testing.assert_array_equal(problem.mask[3:27], mask[3:27])
    assert not problem.mask[:3].any()
    assert not problem.mask[27:].any()
    np.testing.assert_array_equal(problem.kspace[0, 0], np.where(mask, kspace[0], 0))


def test_same_seed_same_results(without_report: list) -> None:
    path = save("a.npy")
    for folder in ("one", "two"):
        run(path, *FAST, "--mask", "random", "poisson", "--seed", "3", "--out", folder)
    run(path, *FAST, "--mask", "random", "poisson", "--seed", "4", "--out", "other")
    assert len(results("one")["rows"]) == 8
    assert comparable(results("one")["rows"]) == comparable(results("two")["rows"])
    assert comparable(results("one")["rows"]) != comparable(results("other")["rows"])
    for file in Path("one/recons").iterdir():
        assert file.read_bytes() == (Path("two/recons") / file.name).read_bytes()


def test_results_do_not_depend_on_chunks_or_workers(without_report: list, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save("a.npy", n_slices=5)
    run(path, *FAST, "--out", "one", "--workers", "1")
    monkeypatch.setattr("csmri_ext.recon.volumes.CHUNK_SLICES", 2)
    run(path, *FAST, "--out", "two", "--workers", "3")
    for one, two in zip(results("one")["rows"], results("two")["rows"], strict=True):
        assert one["psnr"] == pytest.approx(two["psnr"], rel=1e-9)
        assert one["slice_ssim"] == two["slice_ssim"]
        assert one["kspace_residual"] == pytest.approx(two["kspace_residual"], rel=1e-4)


def test_mask_hash_and_seed_are_on_record(without_report: list) -> None:
    run(save("a.npy"), "--methods", "zero-filled", "--acceleration", "4")
    provenance = results()["provenance"]
    (mask,) = provenance["masks"]
    assert mask["seed"] == "a.npy"
    assert "file name" in provenance["seed"]
    (comparison,) = without_report
    assert {panel.mask_hash for panel in comparison.panels} == {mask["hash"]}
    assert provenance["metric"] == metrics.METRIC_VARIANT
    assert provenance["inputs"][0]["sha256"]
    assert provenance["command"].startswith("csmri compare a.npy")


def test_panels_hold_the_same_images_as_the_files(without_report: list) -> None:
    run(save("a.npy", n_slices=7), *FAST, "--acceleration", "4")
    (comparison,) = without_report
    assert [panel.slice for panel in comparison.panels] == [1, 3, 5]
    rows = {row["method"]: row for row in results()["rows"]}
    stored = {method: row["details"]["recon"] for method, row in rows.items()}
    for panel in comparison.panels:
        np.testing.assert_array_equal(panel.target, np.abs(images(7)[panel.slice]))
        assert list(panel.recons) == ["zero-filled", "tv"]
        for method, image in panel.recons.items():
            on_disk = from_bart(read_cfl(Path("comparison/recons") / stored[method]))[panel.slice, 0]
            np.testing.assert_array_equal(image, np.abs(on_disk))
            of_slice = {name: rows[method][f"slice_{name}"][panel.slice] for name in ("psnr", "ssim")}
            nmse = metrics.nmse(panel.target[None], image[None])
            assert panel.scores[method] == pytest.approx({**of_slice, "nmse": nmse})


def test_many_volumes_do_not_make_an_endless_report(without_report: list) -> None:
    paths = [save(f"v{i:02}.npy", n_slices=1, seed=i) for i in range(15)]
    run(*paths, "--methods", "zero-filled")
    run(*paths, "--methods", "zero-filled", "--report-slices", "1")
    assert [len(comparison.panels) for comparison in without_report] == [MOST_PANELS, 30]


@pytest.mark.parametrize(
    ("n", "count", "positions"), [(9, 2, [2, 6]), (7, 3, [1, 3, 5]), (1, 3, [0]), (5, 1, [2]), (3, 3, [0, 1, 2])]
)
def test_shown_slices_are_spread_over_the_volume(n: int, count: int, positions: list[int]) -> None:
    assert spread(n, count) == positions


def multi_coil(n_coils: int = 3, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """k-space (coils, ny, nx) of smooth sensitivities, and a 2-D mask with a fully sampled centre."""
    acquisition = phantom_acquisition(1, size, seed=3, n_coils=n_coils)
    mask = make_mask("poisson", (size, size), 3, 0.4, seed=0).numpy()
    return np.asarray(acquisition.kspace)[0], mask


def test_scanner_undersampled_data_get_no_invented_metric(
    without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    kspace, mask = multi_coil()
    write_cfl("scan", np.where(mask, kspace, 0).transpose(2, 1, 0)[:, :, None])
    run("scan", *FAST, "--mask", "random", "--acceleration", "4", "8")
    out, err = capsys.readouterr()
    assert "scan: undersampled by the scanner" in err
    assert "acquired (1 volume, no fully sampled reference, so no image metric)" in out
    rows = results()["rows"]
    assert [row["method"] for row in rows] == ["zero-filled", "tv"]
    for row in rows:
        assert (row["mask"], row["acceleration"]) == ("acquired", None)
        assert [row[name] for name in ("mse", "nmse", "psnr", "ssim")] == [None] * 4
        assert row["slice_psnr"] == []
        assert 0 < row["kspace_residual"] < 1
        assert row["details"]["sens_maps"] == describe_estimate()
    (comparison,) = without_report
    assert all(panel.target is None and panel.scores == {} for panel in comparison.panels)
    np.testing.assert_array_equal(comparison.panels[0].sampling, mask)


def test_real_8_channel_brain(
    shared_data: Path, bart_binary: str, without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    """TV agrees with BART on the same ESPIRiT maps."""
    path = str(shared_data / "bart" / "brain_8ch_ksp.cfl")
    run(path, "--bart", "--methods", "tv,tv-bart", "--tv-weight", "0.005", "--tv-iterations", "30")
    rows = {row["method"]: row for row in results()["rows"]}
    assert {row["details"]["sens_maps"] for row in rows.values()} == {shared_setup.ECALIB}
    ours, theirs = (read_cfl(Path("comparison/recons") / rows[name]["details"]["recon"]) for name in ("tv", "tv-bart"))
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
    assert results()["provenance"]["bart_argv"]["tv-bart"][:2] == ["bart", "pics"]


def test_multi_coil_maps_come_from_file_bart_or_estimate(without_report: list, bart_binary: str) -> None:
    kspace, _ = multi_coil()
    write_fastmri("scan.h5", kspace[None])
    options = ["--acceleration", "2", "--center-fraction", "0.4", "--methods", "zero-filled"]
    run("scan.h5", *options, "--out", "estimate")
    run("scan.h5", *options, "--out", "bart", "--bart")
    maps = np.abs(kspace[None]) * 0 + np.complex64(1 / np.sqrt(3))
    acquisition = load("scan.h5")
    acquisition.sens_maps = maps
    write_fastmri("with_maps.h5", acquisition)
    run("with_maps.h5", *options, "--out", "file")
    sources = [results(folder)["rows"][0]["details"]["sens_maps"] for folder in ("estimate", "bart", "file")]
    assert sources == [describe_estimate(), shared_setup.ECALIB, shared_setup.FROM_FILE]
    assert results("estimate")["rows"][0]["psnr"] > results("file")["rows"][0]["psnr"] + 3


def test_networks_have_maps_that_are_not_cropped(
    without_report: list, bart_binary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kspace, _ = multi_coil()
    write_fastmri("scan.h5", kspace[None])
    options = ["--acceleration", "2", "--center-fraction", "0.4", "--methods", "zero-filled,nasn_knee"]
    given = {}
    for folder, more in (("estimate", ()), ("bart", ("--bart",))):
        run("scan.h5", *options, *more, "--out", folder)
        for row in results(folder)["rows"]:
            given[folder, row["method"]] = row["details"]["sens_maps"]
    assert given == {
        ("estimate", "zero-filled"): describe_estimate(),
        ("estimate", "nasn_knee"): describe_estimate(cropped=False),
        ("bart", "zero-filled"): shared_setup.ECALIB,
        ("bart", "nasn_knee"): "bart ecalib -m 1 -r 24 -c 0",
    }
    shown = capsys.readouterr().out
    assert "ESPIRiT (own), uncropped" in shown and "ESPIRiT (bart ecalib), uncropped" in shown
    volume, sampling = Volume("scan.h5", load("scan.h5"), [0], Path("scan.h5")), Sampling("random", 2.0, 0.4)
    problems = evaluate.Problems(shared_setup.Setup(seed=0))
    maps = [problems.get(volume, sampling, [0], methods.get(name)).sens_maps for name in ("tv", "nasn_knee", "tv")]
    assert maps[0] is maps[2] and (maps[0] == 0).any() and not (maps[1] == 0).any()


def test_few_calibration_lines_get_our_estimate_instead_of_ecalibs(without_report: list, bart_binary: str) -> None:
    """ecalib would cut off part of the object, or end with an error: neither may ruin a table in silence."""
    kspace, _ = multi_coil()
    write_fastmri("scan.h5", kspace[None])
    options = ["--mask", "equispaced", "--acceleration", "2", "--methods", "zero-filled", "--bart"]
    run("scan.h5", *options, "--center-fraction", str(6 / kspace.shape[-1]), "--out", "few")
    (row,) = results("few")["rows"]
    assert row["details"]["sens_maps"] == describe_estimate()
    assert "too small for bart ecalib" in row["details"]["sens_maps_note"]


def test_bart_and_our_tv_agree_and_bart_reads_the_images(without_report: list, bart_binary: str) -> None:
    run(save("a.npy"), "--bart", "--methods", "tv,tv-bart,wavelet-bart", "--acceleration", "4", "--tv-weight", "0.01")
    rows = {row["method"]: row for row in results()["rows"]}
    assert rows["tv"]["nmse"] == pytest.approx(rows["tv-bart"]["nmse"], rel=1e-4)
    assert rows["tv"]["psnr"] == pytest.approx(rows["tv-bart"]["psnr"], abs=1e-3)
    provenance = results()["provenance"]
    assert provenance["bart"].startswith("v")
    assert set(provenance["bart_argv"]) == {"tv-bart", "wavelet-bart"}
    path = Path("comparison/recons") / rows["tv"]["details"]["recon"]
    energy = bart(["rss", "11"], read_cfl(path))
    assert energy.ravel().real == pytest.approx([np.linalg.norm(x) for x in from_bart(read_cfl(path))], rel=1e-5)


def test_weight_is_tuned_without_the_volume_it_is_used_for(without_report: list) -> None:
    paths = [save(f"{i}.npy", n_slices=1, seed=i) for i in range(3)]
    run(*paths, "--methods", "tv", "--acceleration", "4", "--tv-iterations", "10")
    (tuning,) = results()["provenance"]["tuning"].values()
    assert set(tuning["weights"]) == {"0.npy", "1.npy", "2.npy"}
    assert "always without the volume that is reported" in tuning["how"]
    assert sum(line["chosen"] for line in tuning["table"]) == 1
    best = min(tuning["table"], key=lambda line: line["nmse"])
    assert best["chosen"]
    for row in results()["rows"]:
        assert row["details"]["weight"] == tuning["weights"][row["volume"]]
        assert row["details"]["weight_grid"] == tuning["how"]


def test_tuned_weight_is_better_than_a_bad_one_and_resume_keeps_it(
    without_report: list, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save("a.npy")
    options = ["--methods", "tv", "--acceleration", "4", "--tv-iterations", "20"]
    run(path, *options)
    run(path, *options, "--tv-weight", "3", "--out", "bad")
    assert results()["rows"][0]["psnr"] > results("bad")["rows"][0]["psnr"]
    tuning = results()["provenance"]["tuning"]
    assert "optimistic" in next(iter(tuning.values()))["how"]
    run(path, *options, "--resume")
    assert results()["provenance"]["tuning"] == tuning


def test_weight_tuned_on_separate_data(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = save("a.npy"), save("b.npy", seed=1)
    run(path, "--methods", "tv", "--acceleration", "4", "--tv-iterations", "5", "--tune-on", other)
    (tuning,) = results()["provenance"]["tuning"].values()
    assert "separate validation data" in tuning["how"]
    assert set(tuning["weights"]) == {"a.npy"}
    np.save("under.npy", np.where(np.arange(32) % 3 == 0, fft2c(images()), 0))
    assert compare.main([path, "--tune-on", "under.npy", "--axes", "slice y x"]) == 2
    assert "cannot be tuned on it" in capsys.readouterr().err


def test_method_that_returns_nonsense_is_named(
    without_report: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    path = save("a.npy")
    methods.register(Method("cropped", lambda p: Reconstruction(np.zeros((2, 4, 4), np.complex64)), ""))
    methods.register(Method("nan", lambda p: Reconstruction(np.full((2, 32, 32), np.nan + 0j, np.complex64)), ""))
    for name, complaint in (("cropped", r"image (2, 4, 4), expected (2, 32, 32)"), ("nan", "NaN")):
        assert compare.main([path, "--methods", f"zero-filled,{name}", "--acceleration", "4", "--out", name]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {name} on a.npy: ")
        assert complaint in error
        assert [row["method"] for row in results(name)["rows"]] == ["zero-filled"]


def test_without_files_a_phantom_is_compared(
    without_report: list, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csmri_ext.recon.inputs.PHANTOM_SIZE", 64)
    run("--slices", "1", "--methods", "zero-filled", "--acceleration", "4")
    document = results()
    assert {row["volume"] for row in document["rows"]} == {"phantom_brain_0", "phantom_body_0"}
    assert all("procedural phantom" in entry["source"] for entry in document["provenance"]["inputs"])
    assert "procedural phantom" in capsys.readouterr().err


def test_help_lists_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        compare.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "methods: zero-filled, tv, tv-bart, wavelet-bart" in " ".join(out.split())
