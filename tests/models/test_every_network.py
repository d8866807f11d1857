"""What every network must do beyond its image: 16 bits, any size in one compiled graph, one line for a wrong input."""

from __future__ import annotations

import pytest
import torch
from small_networks import KINDS, NAMES, problem, small
from torch._dynamo.testing import CompileCounter

from csmri_ext.phantom import coil_maps, phantom
from csmri_ext.physics import fft2c, make_mask

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "coils"),
    [(name, coils) for coils, listed in ((0, KINDS), (3, NAMES)) for name in listed if name != "e2e_varnet"],
)
@torch.no_grad()
def test_an_echo_beside_the_centre_means_nothing(name: str, coils: int) -> None:
    """K-space that lies some samples off with its mask is the same image under a phase that rises linearly."""
    size, shift = 48, (3, -7)
    clean = torch.from_numpy(phantom(size, 3, n_coils=max(coils, 1), noise=0)).reshape(-1, size, size)
    maps = torch.from_numpy(coil_maps(size, coils, 3)) if coils else None
    mask = make_mask("random", (size,), 3, 0.2, seed=0).expand(size, size)
    kspace = fft2c(clean if coils else clean[0])[None] * mask
    network = small(name).eval()
    for parameter in network.parameters():
        if not parameter.any():  # where a start hides what lies before it
            parameter.normal_(std=0.05)
    centred = network(kspace, mask, maps)
    shifted = network(kspace.roll(shift, (-2, -1)), mask.roll(shift, (-2, -1)), maps)
    position = (torch.arange(size) - size // 2) / size
    turns = shift[0] * position[:, None] + shift[1] * position
    expected = centred * torch.exp(2j * torch.pi * turns)
    assert ((shifted - expected).norm() / expected.norm()).item() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_autocast(name: str, coils: int, dtype: torch.dtype) -> None:
    """Close to float32, with gradients for everything."""
    inputs, image = problem(coils)
    network = small(name).train()
    with torch.autocast("cpu", dtype):
        rounded = network(*inputs)
    assert rounded.dtype == torch.complex64
    (rounded - image).abs().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        exact = small(name).train()(*inputs)
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("name", KINDS)
def test_one_graph_for_all_sizes_and_batches(name: str, coils: int) -> None:
    """Compiled with dynamic shapes: messages of checks, formatted on each call, had fixed every size.

    The sizes are alike modulo 16: networks that halve an image have a graph for each way in which halves are completed.
    Neither the batch nor its product with the coils crosses 8 or 16, where torch chooses another convolution.
    """
    network, counter = small(name).eval(), CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend=counter)
    for batch, ny, nx in ((9, 34, 37), (10, 50, 53), (11, 66, 69)):
        with torch.no_grad():
            compiled(*problem(coils, batch, ny, nx)[0])
    assert counter.frame_count == 1


def in_batch(n: int, coils: int) -> tuple[torch.Tensor, ...]:
    kspace, mask, *maps = problem(coils, batch=n)[0]
    return (kspace, mask, *(m.expand(n, *m.shape).contiguous() for m in maps))


@pytest.mark.slow
@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("name", ["ga_hqs", "nasn_knee", "dccnn3"])
def test_exports_with_a_dynamic_batch(name: str, coils: int) -> None:
    network = small(name).eval()
    batch, inputs = torch.export.Dim("batch", min=2, max=64), in_batch(3, coils)
    with torch.no_grad():
        program = torch.export.export(network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
        for n in (2, 5):
            given = in_batch(n, coils)
            torch.testing.assert_close(program.module()(*given), network(*given))


def test_wrong_inputs_are_one_line() -> None:
    (kspace, mask), _ = problem()
    network = small("dccnn3")
    for wrong, says in (
        ((kspace.to(torch.complex128), mask), r"complex128.*torch\.float32.*kspace\.to\(torch\.complex64\)"),
        ((kspace.numpy(), mask), r"kspace is a numpy\.ndarray, expected a torch\.Tensor"),
        ((kspace, mask.numpy()), r"mask is a .*ndarray, expected"),
        ((torch.view_as_real(kspace), mask), r"float32, expected complex; torch\.view_as_complex"),
    ):
        with pytest.raises(TypeError, match=says) as raised:
            network(*wrong)
        assert "\n" not in str(raised.value)
    (kspace, mask, maps), _ = problem(coils=3)
    with pytest.raises(TypeError, match=r"sens_maps is a numpy\.ndarray"):
        network(kspace, mask, maps.numpy())
    with pytest.raises(
        TypeError, match=r"sens_maps is torch\.complex128.*torch\.float32.*sens_maps\.to\(torch\.complex64"
    ):
        network(kspace, mask, maps.to(torch.complex128))


def test_a_network_in_double_precision_takes_double_precision() -> None:
    (kspace, mask), _ = problem()
    network = small("dccnn3").double()
    assert network(kspace.to(torch.complex128), mask).dtype == torch.complex128
    with pytest.raises(TypeError, match=r"complex64.*torch\.float64.*complex128"):
        network(kspace, mask)
