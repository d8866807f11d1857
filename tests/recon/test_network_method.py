"""Networks as methods: registered in one line, refused without weights, run slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_comparisons import comparable, results, run, save
from torch import Tensor, nn

from csmri_ext.bridge import write_fastmri
from csmri_ext.commands import compare, recon
from csmri_ext.errors import InputError
from csmri_ext.phantom import phantom_acquisition
from csmri_ext.physics import Encoding, ifft2c
from csmri_ext.recon import methods
from csmri_ext.recon import network_method as network
from csmri_ext.recon.methods import choose, get, register_network
from csmri_ext.recon.problem import Problem


class Smoothing(nn.Module):
    """A convolution of the zero-filled image: not good, but of the shape of every network."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv2d(2, 2, 3, padding=1)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        self.shapes.append(tuple(kspace.shape))
        assert not torch.is_grad_enabled()
        assert not self.training
        image = ifft2c(kspace) if sens_maps is None else Encoding(None, mask, sens_maps).adjoint(kspace)
        smooth = self.filter(torch.view_as_real(image).movedim(-1, 1))
        return torch.view_as_complex(smooth.movedim(1, -1).contiguous())


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    (folder / "weights").mkdir(parents=True)
    monkeypatch.setattr(network, "files", lambda package: folder)
    return folder / "weights"


@pytest.fixture(autouse=True)
def smoothing(monkeypatch: pytest.MonkeyPatch, weights_folder: Path) -> Iterator[None]:
    def create(name: str, *, pretrained: bool = False) -> nn.Module:
        module = Smoothing()
        if pretrained:
            module.load_state_dict(load_file(weights_folder / f"{name}.safetensors"))
        return module

    methods.load_all()
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    register_network("smoothing", create, "a network for tests")
    yield


def train(weights_folder: Path, center: float = 0.5) -> None:
    module = Smoothing()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.filter.weight[(0, 1), (0, 1), 1, 1] = center
    save_file(module.state_dict(), weights_folder / "smoothing.safetensors")


def problem(slices: int = 3, coils: int = 1, ny: int = 9, nx: int = 12) -> Problem:
    rng = np.random.default_rng(0)

    def random() -> np.ndarray:
        return (rng.normal(size=(slices, coils, ny, nx)) + 1j * rng.normal(size=(slices, coils, ny, nx))).astype("c8")

    mask = np.arange(nx) % 2 == 0
    return Problem(random() * mask, mask, random() if coils > 1 else None)


def test_a_network_is_refused_without_weights_unless_random_ones_are_meant(weights_folder: Path) -> None:
    with pytest.raises(InputError, match=r"smoothing is not trained.*--untrained runs it with random weights"):
        choose("tv,smoothing", bart=False)
    assert [method.name for method in choose("smoothing", bart=False, untrained=True)] == ["smoothing"]
    assert "smoothing" not in {method.name for method in choose(None, bart=True)}
    train(weights_folder)
    assert [method.name for method in choose("smoothing", bart=False)] == ["smoothing"]
    assert "smoothing" in {method.name for method in choose(None, bart=False)}, "a trained network runs by default"


def test_untrained_alone_would_not_say_which_networks() -> None:
    with pytest.raises(InputError, match="--methods NAMES"):
        choose(None, bart=False, untrained=True)


@pytest.mark.parametrize("coils", [1, 4])
def test_a_volume_is_reconstructed_slice_by_slice_with_its_weights(weights_folder: Path, coils: int) -> None:
    train(weights_folder, center=0.5)
    task = problem(coils=coils)
    method = get("smoothing")
    method.load(task)
    result = method.reconstruct(task)
    np.testing.assert_allclose(result.image, 0.5 * get("zero-filled").reconstruct(task).image, atol=1e-6)
    assert result.image.dtype == np.complex64
    assert method.network is not None
    shape = (1, 9, 12) if coils == 1 else (1, 4, 9, 12)
    assert method.network.module.shapes == [shape] * 3
    assert result.details["weights"].startswith("smoothing.safetensors, sha256 ")


def test_random_weights_are_the_same_in_every_run_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    images = []
    for _ in range(2):
        fresh = network.Network("smoothing", lambda name: Smoothing())
        images.append(fresh.reconstruct(problem()))
    np.testing.assert_array_equal(images[0], images[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert fresh.weights == "untrained: random, seed 0"


def test_parameters_and_operations_are_counted() -> None:
    method = get("smoothing")
    assert method.parameters == 2 * 2 * 9 + 2
    assert method.flops((9, 12)) == (2 * 2 * 9 + 2) * 9 * 12
    tv = get("tv")
    assert (tv.parameters, tv.flops((9, 12))) == (0, None)


@pytest.mark.usefixtures("in_empty_folder")
def test_comparison_with_an_untrained_network(capsys: pytest.CaptureFixture[str]) -> None:
    words = [save("a.npy"), "--methods", "zero-filled,smoothing", "--acceleration", "4"]
    assert compare.main(words) == 2
    assert capsys.readouterr().err.startswith("error: smoothing is not trained")
    assert not Path("comparison").exists()

    run(*words, "--untrained")
    row = results()["rows"][1]
    assert (row["parameters"], row["flops"]) == (38, 38 * 32 * 32)
    assert row["details"]["weights"] == "untrained: random, seed 0"
    printed = capsys.readouterr()
    assert "smoothing: untrained, its weights are random" in printed.err
    assert "Parameters" in printed.out
    assert "smoothing (untrained)" in printed.out
    page = Path("comparison/report.html").read_text()
    assert "smoothing: untrained, its weights are random" in page
    assert "smoothing <small>untrained</small>" in page
    assert "38" in Path("comparison/results.csv").read_text()


@pytest.mark.usefixtures("in_empty_folder")
def test_resume_notices_other_weights(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [save("a.npy"), "--methods", "smoothing", "--acceleration", "4", "--resume"]
    train(weights_folder)
    run(*words)
    rows = results()["rows"]
    run(*words)
    assert comparable(results()["rows"]) == comparable(rows)
    train(weights_folder, center=0.7)
    del get("smoothing").network.__dict__["weights"]  # a new process would read the file again
    capsys.readouterr()
    assert compare.main(words) == 2
    assert "smoothing has other weights now" in capsys.readouterr().err
    assert results()["rows"] == rows, "what an earlier run wrote is untouched"


@pytest.mark.usefixtures("in_empty_folder")
def test_recon_with_a_network(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [save("a.npy"), "out.npy", "--model", "smoothing"]
    assert recon.main(words) == 2
    assert "smoothing is not trained" in capsys.readouterr().err
    assert not Path("out.npy").exists()
    assert recon.main([*words, "--untrained"]) == 0
    random = np.load("out.npy")
    train(weights_folder, center=1.0)
    network_of_method = get("smoothing").network
    assert network_of_method is not None
    del network_of_method.__dict__["module"]
    assert recon.main(words) == 2
    assert "out.npy is there already" in capsys.readouterr().err
    assert recon.main([*words, "--overwrite"]) == 0
    assert np.load("out.npy").shape == random.shape
    assert not np.allclose(np.load("out.npy"), random)


def test_a_gpu_without_memory_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    task = problem()
    module = get("smoothing").network
    assert module is not None

    def exhausted(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "_slice", exhausted)
    with pytest.raises(InputError, match=r"too little memory for one slice of 1 x 9 x 12; use --device cpu"):
        module.reconstruct(task)


class FindsItsOwn(Smoothing):
    """Combines coils by itself where it is given nothing."""

    needs_sens_maps = False

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        if sens_maps is None and kspace.ndim == 4:
            image = super().forward(kspace.flatten(0, 1), mask)
            return image.reshape(*kspace.shape).mean(1)
        return super().forward(kspace, mask, sens_maps)


def test_a_network_that_needs_no_sensitivities_runs_where_there_are_none(
    in_empty_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two columns in the middle of three coils: nothing to estimate maps from, and no residual to compute."""
    register_network("own", lambda name, pretrained=False: FindsItsOwn(), "finds its own")
    write_fastmri("coils.h5", phantom_acquisition(1, 32, seed=1, n_coils=3))
    words = ["--mask", "random", "--seed", "0", "--untrained"]
    run("coils.h5", "--acceleration", "2", "16", "--methods", "smoothing,own,zero-filled", *words)
    document = results()
    rows = {(row["method"], row["acceleration"]): row for row in document["rows"]}
    assert set(rows) == {("smoothing", 2), ("own", 2), ("zero-filled", 2), ("own", 16)}
    alone = rows["own", 16]
    assert alone["details"]["sens_maps"] == "the network's own"
    assert alone["kspace_residual"] is None and alone["psnr"] > 0
    assert "espirit" in rows["own", 2]["details"]["sens_maps"] and rows["own", 2]["kspace_residual"] > 0
    (note,) = [note for note in document["provenance"]["notes"] if note.startswith("left out: ")]
    assert note.endswith("need at least 4 x 4; --sens-maps FILE gives them; reconstructed by own alone, without any")
    capsys.readouterr()
    single = ["coils.h5", "own.npy", "--acceleration", "16", *words]
    assert recon.main([*single, "--method", "own"]) == 0
    assert "sensitivities: the network's own" in capsys.readouterr().out
    assert recon.main([*single, "--method", "own", "--adapt", "--overwrite"]) == 2
    assert "--adapt needs coil sensitivities" in capsys.readouterr().err
    assert recon.main([*single, "--method", "smoothing", "--overwrite"]) == 2
    assert "need at least 4 x 4; --sens-maps FILE gives them" in capsys.readouterr().err
