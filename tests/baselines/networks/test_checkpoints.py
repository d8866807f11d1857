"""Published weights: loaded without unpickling objects, explained when wrong, and as good as published."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published_weights import STAGE_SHAPES, ista_state
from torch import Tensor
from torch.nn import functional

from baselines import networks
from baselines.networks.checkpoints import load_ista_net_plus, load_unet_fastmri
from csmri_ext.errors import InputError
from csmri_ext.models.torch_files import read_state_dict
from csmri_ext.physics import fft2c, ifft2c
from csmri_ext.physics.masks.radial import line_mask


def published_forward(state: dict[str, Tensor], image: Tensor, corner: Tensor) -> Tensor:
    """ISTA-Net+ as its authors run it: real images ``(batch, 1, ny, nx)``, zero frequency at index 0."""

    def measured(x: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(x) * corner).real

    def conv(x: Tensor, name: str) -> Tensor:
        return functional.conv2d(x, state[f"module.fcs.{stage}.{name}"], padding=1)

    start = x = measured(image)
    for stage in range(len(state) // len(STAGE_SHAPES)):
        step, threshold = (state[f"module.fcs.{stage}.{name}"] for name in ("lambda_step", "soft_thr"))
        r = x - step * measured(x) + step * start
        features = conv(conv(r, "conv_D"), "conv1_forward").relu()
        features = conv(features, "conv2_forward")
        features = features.sign() * (features.abs() - threshold).relu()
        x = r + conv(conv(conv(features, "conv1_backward").relu(), "conv2_backward"), "conv_G")
    return x[:, 0]


@torch.no_grad()
def test_ista_net_plus_computes_what_was_published(tmp_path: Path) -> None:
    """Another FFT convention and other names, the same numbers; asymmetric mask and odd size on purpose."""
    torch.save(ista_state(), tmp_path / "weights.pkl")
    model = load_ista_net_plus(tmp_path / "weights.pkl")
    image, corner = torch.rand(2, 27, 20), torch.rand(27, 20) < 0.4
    expected = published_forward(ista_state(), image[:, None], corner)
    mask = torch.fft.fftshift(corner, (-2, -1))
    recon = model(fft2c(image.to(torch.complex64)) * mask, mask)
    torch.testing.assert_close(recon.real, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert not recon.imag.any()
    assert not model.training


@torch.no_grad()
@pytest.mark.parametrize(
    ("ratio", "lines", "decibel", "zero_filled"), [(20, 55, 38.64, 30.79), (50, 152, 43.88, 37.16)]
)
def test_published_quality(shared_data: Path, ratio: int, lines: int, decibel: float, zero_filled: float) -> None:
    path = shared_data / "public_weights" / f"ista_net_plus_mri_ratio{ratio}.pkl"
    images = sorted((shared_data / "brain").glob("*.png"))
    if not path.is_file() or len(images) != 5:
        pytest.skip(f"{path} or the five brain slices are not there: public weights are not part of the project")
    target = torch.stack([torch.from_numpy(np.array(Image.open(file), dtype=np.float32)) for file in images])
    mask = torch.from_numpy(line_mask((256, 256), lines))
    kspace = fft2c((target / 255).to(torch.complex64)) * mask
    model = load_ista_net_plus(path)
    recon = torch.cat([model(kspace[i : i + 1], mask) for i in range(5)])

    def psnr(images: Tensor) -> float:
        errors = (255 * images.clamp(0, 1) - target).double().square().mean((-2, -1))
        return float((20 * math.log10(255) - 10 * errors.log10()).mean())

    assert psnr(ifft2c(kspace).real) == pytest.approx(zero_filled, abs=0.01)
    assert psnr(recon.abs()) == pytest.approx(decibel, abs=0.02)


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "unet."])
def test_unet_of_fastmri(tmp_path: Path, prefix: str) -> None:
    """Names and levels of fastMRI, also inside a checkpoint; magnitude, normalized and back."""
    torch.manual_seed(0)
    layers = networks.create("unet_fastmri", 1, chans=4, pools=3).layers.eval()
    state = {f"{prefix}{name}": value for name, value in layers.state_dict().items()}
    names = {"down_sample_layers.0.layers.4.weight", "conv.layers.0.weight", "up_conv.2.1.bias"}
    assert {prefix + name for name in names | {"up_transpose_conv.1.layers.0.weight"}} <= state.keys()
    torch.save({"state_dict": state, "epoch": 3} if prefix else state, tmp_path / "unet.pt")
    model = load_unet_fastmri(tmp_path / "unet.pt")

    kspace, mask = fft2c(torch.randn(1, 32, 40, dtype=torch.complex64)), torch.arange(40) % 3 == 0
    x = ifft2c(kspace * mask).abs()[:, None]
    mean, deviation = x.mean(), x.std()
    expected = layers(((x - mean) / (deviation + 1e-11)).clamp(-6, 6)) * deviation + mean
    torch.testing.assert_close(model(kspace * mask, mask).real, expected[:, 0], rtol=1e-4, atol=1e-5)


def save(tmp_path: Path, state: object) -> Path:
    torch.save(state, tmp_path / "weights.pkl")
    return tmp_path / "weights.pkl"


def test_wrong_weights_name_the_first_difference_and_both_shapes(tmp_path: Path) -> None:
    state = ista_state()
    del state["module.fcs.1.conv_G"]
    with pytest.raises(InputError, match=r"module\.fcs\.1\.conv_G \(1, 4, 3, 3\) is missing"):
        load_ista_net_plus(save(tmp_path, state))
    state = ista_state() | {"module.fcs.1.conv1_forward": torch.zeros(4, 5, 3, 3)}
    message = r"module\.fcs\.1\.conv1_forward has shape \(4, 5, 3, 3\), the model's has \(4, 4, 3, 3\)"
    with pytest.raises(InputError, match=message):
        load_ista_net_plus(save(tmp_path, state))
    state = ista_state() | {"module.extra": torch.zeros(3)}
    with pytest.raises(InputError, match=r"module\.extra \(3,\) is not in the model"):
        load_ista_net_plus(save(tmp_path, state))
    with pytest.raises(InputError, match=r"down_sample_layers.0.* is missing; the first one is module\.fcs\.0\.lambda"):
        load_unet_fastmri(save(tmp_path, ista_state()))
    with pytest.raises(InputError, match=r"module\.fcs\.0\.conv_D has shape \(4,\), expected 4 axes"):
        load_ista_net_plus(save(tmp_path, {"module.fcs.0.conv_D": torch.zeros(4)}))
    with pytest.raises(InputError, match="no state dict"):
        read_state_dict(save(tmp_path, [1, 2]))


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_file(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "weights.pkl"
    torch.save(ista_state(), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"weights\.pkl: cannot read weights, it is truncated"):
        load_ista_net_plus(path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_objects_are_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.chdir(tmp_path)
    if by == "torch":
        torch.save({"module.fcs.0.conv_D": Malicious()}, "weights.pkl")
    else:
        Path("weights.pkl").write_bytes(pickle.dumps({"module.fcs.0.conv_D": Malicious()}))
    with pytest.raises(InputError, match=r"objects other than tensors|no file of torch\.save"):
        load_ista_net_plus("weights.pkl")
    assert not Path("touched").exists()
