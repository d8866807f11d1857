"""The mean over mirror images: exact mirrors, an invariant result, and less error than the network alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_comparisons import save
from torch import Tensor, nn

from baselines import networks
from csmri_ext.commands.cli import main
from csmri_ext.models.mirrored import MIRRORS, Mirrored, mirror
from csmri_ext.physics import fft2c, ifft2c, make_mask


def complex_noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (6, 5), (1, 4)])
@pytest.mark.parametrize("axes", MIRRORS)
def test_a_mirrored_spectrum_is_the_spectrum_of_the_mirrored_image(
    shape: tuple[int, int], axes: tuple[int, ...]
) -> None:
    image = complex_noise(*shape)
    torch.testing.assert_close(fft2c(mirror(image, axes)), mirror(fft2c(image), axes))
    assert torch.equal(mirror(mirror(image, axes), axes), image)


def test_the_centre_stays() -> None:
    for n in (8, 7):
        delta = torch.zeros(n, n)
        delta[n // 2, n // 2] = 1
        assert torch.equal(mirror(delta, (-2, -1)), delta)


@pytest.mark.parametrize("coils", [None, 3])
@pytest.mark.parametrize("kind", ["random", "radial_golden"])
@pytest.mark.parametrize("shape", [(32, 24), (33, 27)])
def test_mirrored_data_give_the_mirrored_image(coils: int | None, kind: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = networks.create("dccnn3").eval()
    mask = make_mask(kind, shape, 2, seed=1)
    lead = (1,) if coils is None else (1, coils)
    kspace = complex_noise(*lead, *shape) * mask
    maps = None if coils is None else complex_noise(*lead, *shape, seed=1)
    with torch.inference_mode():
        whole = Mirrored(network)(kspace, mask, maps)
        for axes in MIRRORS:
            other = None if maps is None else mirror(maps, axes)
            turned = Mirrored(network)(mirror(kspace, axes), mirror(mask, axes), other)
            torch.testing.assert_close(turned, mirror(whole, axes), rtol=1e-4, atol=1e-4 * whole.abs().max().item())
        assert not torch.allclose(whole, network(kspace, mask, maps), rtol=1e-2, atol=0)


def test_errors_that_the_mirrors_do_not_share_get_smaller() -> None:
    class Noisy(nn.Module):
        def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None) -> Tensor:
            return ifft2c(kspace) + complex_noise(*kspace.shape, seed=int(kspace.real.sum() * 1e3) % 1000)

    kspace, mask = complex_noise(1, 32, 32), torch.ones(32, dtype=torch.bool)
    error = (Mirrored(Noisy())(kspace, mask) - ifft2c(kspace)).abs().square().mean()
    assert 0.1 < error < 0.5


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--method", "nasn_knee", "--mask", "random", "--seed", "0"]
    source = save("a.npy", n_slices=1)
    assert main(["recon", source, "alone.cfl", *words]) == 0
    assert "mirror" not in capsys.readouterr().out
    assert main(["recon", source, "mean.cfl", *words, "--mirrored"]) == 0
    assert f"; mean over {len(MIRRORS)} mirror images; weights: nasn_knee" in capsys.readouterr().out
    alone, mean = (np.abs(np.fromfile(f"{name}.cfl", np.complex64)) for name in ("alone", "mean"))
    assert 1e-4 < np.linalg.norm(alone - mean) / np.linalg.norm(alone) < 0.2
    assert main(["recon", source, "alone.cfl", *words, "--mirrored"]) == 2, "other settings"
    assert "--overwrite" in capsys.readouterr().err
    assert main(["recon", source, "tv.cfl", "--method", "tv", "--mirrored"]) == 2
    assert "--mirrored is for networks of PyTorch, and tv learns nothing" in capsys.readouterr().err
