"""The blocks of docs/drop_in.md for packages of others give what the package gives; each where it is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peers import peer
from torch import Tensor

from csmri_ext.physics import fft2c

PAGE = Path(__file__).parents[2] / "docs" / "drop_in.md"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages


def block(package: str) -> dict[str, Any]:
    """Run the page's block that imports the package; its names."""
    (source,) = [text for text in re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.M | re.S) if package in text]
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace


def columns(n: int) -> Tensor:
    """Acquired columns, among them the central eight."""
    chosen = torch.rand(n) < 0.4
    chosen[n // 2 - 4 : n // 2 + 4] = True
    return chosen


@torch.no_grad()
def test_fastmri() -> None:
    """The subclass has the weights of fastMRI's network and its magnitude, for each slice of a batch."""
    varnet = peer("fastmri.models.varnet")
    sizes = {"num_cascades": 3, "sens_chans": 4, "sens_pools": 2, "chans": 4, "pools": 2}
    torch.manual_seed(0)
    theirs, ours = varnet.VarNet(**sizes).eval(), block("fastmri")["FusedVarNet"](**sizes).eval()
    theirs.cascades[1].dc_weight.fill_(0.4)
    ours.load_state_dict(theirs.state_dict())
    acquired = columns(48)
    kspace = torch.view_as_real(fft2c(torch.randn(2, 4, 40, 48, dtype=torch.complex64)) * acquired)
    mask = acquired.reshape(1, 1, 1, -1, 1).expand(2, 1, 1, -1, 1)
    torch.testing.assert_close(ours(kspace, mask), theirs(kspace, mask), **CLOSE)


@torch.no_grad()
def test_direct() -> None:
    """The subclass has the weights of DIRECT's network and its k-space; a mask of columns for each slice."""
    varnet, transforms = peer("direct.nn.varnet.varnet"), peer("direct.data.transforms")
    sizes = {"num_layers": 3, "regularizer_num_filters": 4, "regularizer_num_pull_layers": 2}
    torch.manual_seed(0)
    theirs = varnet.EndToEndVarNet(transforms.fft2, transforms.ifft2, **sizes).eval()
    ours = block("direct.nn")["FusedEndToEndVarNet"](transforms.fft2, transforms.ifft2, **sizes).eval()
    theirs.layers_list[1].learning_rate.fill_(0.4)
    ours.load_state_dict(theirs.state_dict())
    acquired = torch.stack([columns(48), columns(48)]).reshape(2, 1, 1, 48)
    kspace = torch.view_as_real(fft2c(torch.randn(2, 4, 40, 48, dtype=torch.complex64)) * acquired)
    maps = torch.view_as_real(torch.randn(2, 4, 40, 48, dtype=torch.complex64) / 2)
    mask = acquired.expand(2, 1, 40, 48).unsqueeze(-1)
    torch.testing.assert_close(ours(kspace, mask, maps), theirs(kspace, mask, maps), **CLOSE)


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("each", [False, True], ids=["one mask", "a mask for each slice"])
def test_deepinv(coils: int, each: bool) -> None:
    """Its MoDL, called with our physics: the images, and the gradients of all that it learns, in double precision."""
    models, physics = peer("deepinv.models"), peer("deepinv.physics")
    torch.manual_seed(0)
    network = models.MoDL(models.DnCNN(2, 2, depth=3, nf=8, pretrained=None)).double()
    parameters = dict(network.named_parameters())
    mask = torch.stack([columns(24) for _ in range(2 if each else 1)])[:, None, None].expand(-1, 1, 20, -1).double()
    maps = torch.randn(2, coils, 20, 24, dtype=torch.complex128)
    name, given = ("MRI", (mask,)) if coils == 1 else ("MultiCoilMRI", (mask, maps))
    theirs, ours = getattr(physics, name)(*given), block("deepinv")[f"Fused{name}"](*given)
    y = theirs(torch.randn(2, 2, 20, 24, dtype=torch.float64))
    images, gradients = [], []
    for operator in (ours, theirs):
        images.append(network(y, operator))
        derivatives = torch.autograd.grad(images[-1].square().sum(), list(parameters.values()), allow_unused=True)
        gradients.append({name: g for name, g in zip(parameters, derivatives, strict=True) if g is not None})
    torch.testing.assert_close(*images)
    assert sum("stepsize" in learned for learned in gradients[1]) == 3  # one for each stage
    torch.testing.assert_close(*gradients)  # to rounding, as those of the first step of one coil are 0


def test_mrpro() -> None:
    """The Gram operator of rows out of order and of several slices, its conjugate gradients, and a learned weight."""
    data, operators, optimizers = (peer(f"mrpro.{name}") for name in ("data", "operators", "algorithms.optimizers"))
    torch.manual_seed(0)
    coils, ny, nx = 4, 20, 24
    rows = torch.nonzero(columns(ny))[:, 0].flip(0) - ny // 2
    k1 = rows.float().reshape(1, 1, 1, -1, 1)
    k0 = (torch.arange(nx) - nx // 2).float().reshape(1, 1, 1, 1, -1)
    trajectory = data.KTrajectory(torch.zeros(1, 1, 1, 1, 1), k1, k0)
    matrix = data.SpatialDimension(1, ny, nx)
    maps = torch.randn(2, coils, 1, ny, nx, dtype=torch.complex64)
    acquisition = operators.FourierOp(matrix, matrix, trajectory) @ operators.SensitivityOp(maps)
    mask = operators.CartesianSamplingOp(matrix, trajectory).gram.mask
    ours, theirs = block("mrpro")["FusedGram"](maps, mask), acquisition.gram
    image = torch.randn(2, 1, 1, ny, nx, dtype=torch.complex64)
    samples = acquisition(image)[0]
    assert samples.shape == (2, coils, 1, len(rows), nx)
    (right,) = acquisition.H(samples)
    torch.testing.assert_close(ours(image), theirs(image), **CLOSE)
    torch.testing.assert_close(ours.H(image), theirs(image), **CLOSE)
    solved = [optimizers.cg(gram, right, max_iterations=6, tolerance=0)[0] for gram in (ours, theirs)]
    torch.testing.assert_close(*solved, **CLOSE)
    derivatives = []
    for gram in (ours, theirs):
        weight = torch.tensor(3.0, requires_grad=True)
        solver = operators.ConjugateGradientOp(lambda w, b, gram=gram: gram + w, lambda w, b: (b + w,))
        derivatives.append(torch.autograd.grad(solver(weight, right)[0].abs().square().sum(), weight)[0])
    torch.testing.assert_close(*derivatives, rtol=1e-3, atol=1e-3)
