"""What people pass in the place of complex tensors: NumPy's arrays, and real and imaginary parts along a last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from csmri_ext.nn import as_channels, as_complex
from csmri_ext.ops import data_consistency, encode
from csmri_ext.physics import (
    Encoding,
    cg_sense,
    estimate_sens_maps,
    fft2c,
    ifft2c,
    kspace_residual,
    low_resolution_phase,
    rss,
)

generator = torch.Generator().manual_seed(0)
MASK = torch.rand(12, generator=generator) < 0.5
IMAGE, KSPACE = torch.randn(2, 2, 8, 12, generator=generator, dtype=torch.complex64)
COILS = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.complex64)
MAPS = torch.randn(3, 8, 12, generator=generator, dtype=torch.complex64)
ONE, SEVERAL, PLAIN = Encoding(KSPACE, MASK), Encoding(COILS, MASK, MAPS), Encoding(None, MASK)

# name: a function, and what it takes
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], torch.Tensor]] = {
    "fft2c": (fft2c, IMAGE),
    "ifft2c": (ifft2c, KSPACE),
    "rss": (rss, COILS),
    "cg_sense": (lambda x: cg_sense(x, MASK, MAPS), COILS),
    "estimate_sens_maps": (lambda x: estimate_sens_maps(x, MASK), COILS),
    "low_resolution_phase": (low_resolution_phase, IMAGE),
    "kspace_residual": (lambda x: kspace_residual(x, IMAGE, MASK), KSPACE),
    "as_channels": (as_channels, IMAGE),
    "forward of plain operator": (PLAIN.forward, IMAGE),
    "normal of plain operator": (PLAIN.normal, IMAGE),
    **{
        f"{name}, {coils}": (function, x)
        for coils, encoding, kspace in (("one coil", ONE, KSPACE), ("several", SEVERAL, COILS))
        for name, function, x in (
            ("forward", encoding.forward, IMAGE),
            ("adjoint", encoding.adjoint, kspace),
            ("normal", encoding.normal, IMAGE),
            ("step", lambda x, e=encoding: e.step(x, 0.5), IMAGE),
            ("proximal", lambda x, e=encoding: e.proximal(x, 0.5), IMAGE),
        )
    },
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def refusal(function: Callable[[Any], Any], x: object) -> str:
    with pytest.raises(TypeError) as raised:
        function(x)
    message = str(raised.value)
    assert "\n" not in message
    return message


@every_function
def test_arrays(name: str) -> None:
    function, x = FUNCTIONS[name]
    assert "is a numpy.ndarray, expected a torch.Tensor" in refusal(function, x.numpy())


@every_function
def test_real_and_imaginary_parts_along_the_last_axis(name: str) -> None:
    """Transformed, or combined, as if they were an image of two columns, or refused for their shape alone."""
    function, x = FUNCTIONS[name]
    assert "torch.view_as_complex" in refusal(function, torch.view_as_real(x))


def test_phase_and_channels() -> None:
    assert "phase is a numpy.ndarray" in refusal(ONE.with_phase, IMAGE.numpy())
    assert "channels is a numpy.ndarray" in refusal(as_complex, torch.zeros(1, 2, 3, 4).numpy())


def test_images_of_two_columns_are_images() -> None:
    """Where the data say that there are two, and where real images have two axes."""
    narrow = torch.randn(2, 2, 8, 2, dtype=torch.complex64)
    maps = torch.ones(3, 8, 2, dtype=torch.complex64)
    for encoding in (Encoding(narrow[0], None), Encoding(narrow[0].unsqueeze(1).expand(2, 3, 8, 2), None, maps)):
        replicas = torch.randn(2, 4, 8, 2)
        assert encoding.step(replicas, 0.5).shape == replicas.shape
    assert fft2c(torch.ones(8, 2)).shape == (8, 2)


@pytest.mark.parametrize("shape", [(1, 12, 1), (1, 1, 12, 1), (1, 1, 1, 12, 1)], ids=str)
def test_masks_with_an_axis_for_real_and_imaginary_parts(shape: tuple[int, ...]) -> None:
    """As fastMRI has them: the message says what to do, and it works."""
    mask = MASK.reshape(shape)
    for refused in (
        lambda m: Encoding(COILS, m, MAPS).zero_filled,
        lambda m: encode(IMAGE[:, None], None, m),
        lambda m: data_consistency(COILS, COILS, m, 1.0),
    ):
        with pytest.raises(ValueError, match=r"does not broadcast .*; mask\.squeeze\(-1\)"):
            refused(mask)
        refused(mask.squeeze(-1))


def test_sensitivities_as_pairs() -> None:
    assert "torch.view_as_complex" in refusal(lambda maps: Encoding(COILS, MASK, maps), torch.view_as_real(MAPS))


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("transform", [fft2c, ifft2c])
def test_numbers_of_sixteen_bits_and_integers(transform: Callable[[Any], Any]) -> None:
    for dtype, wide in {
        torch.complex32: "torch.complex64", torch.float16: "torch.float32", torch.bfloat16: "torch.float32"
    }.items():  # fmt: skip
        said = refusal(transform, torch.zeros(4, 6, dtype=dtype))
        assert said == f"{transform.__name__}: x is {dtype}, expected complex64 or complex128: pass x.to({wide})"
    whole = torch.arange(24).reshape(4, 6)
    torch.testing.assert_close(transform(whole), transform(whole.to(torch.complex64)))


@pytest.mark.parametrize(
    ("kspace", "mask", "advice"),
    [
        ((2, 1, 8, 6), (2, 1, 1, 6, 1), "mask.squeeze(-1)"),
        ((2, 8, 6), (8, 6, 1), "mask.squeeze(-1)"),
        ((2, 8, 6), (1, 1, 6, 1), "mask.squeeze(-1)"),
        ((2, 8, 6), (2, 1, 1, 6, 1), "mask.reshape(2, 1, 6) fits"),
        ((2, 8, 6), (1, 1, 1, 6, 1), "mask.reshape(1, 6) fits"),
        ((2, 1, 8, 6), (2, 8, 6, 1), "mask.reshape(2, 1, 8, 6) fits"),
        ((2, 8, 6), (2, 1, 8, 6), "mask.reshape(2, 8, 6) fits"),
    ],
)
def test_masks_with_axes_that_k_space_lacks(kspace: tuple[int, ...], mask: tuple[int, ...], advice: str) -> None:
    with pytest.raises(ValueError) as raised:
        Encoding(torch.ones(kspace, dtype=torch.complex64), torch.ones(mask, dtype=torch.bool))
    assert str(raised.value).startswith(f"mask {mask} does not broadcast to kspace {kspace}; {advice}")
    if "reshape" in advice:
        form = advice.removeprefix("mask.reshape(").removesuffix(") fits")
        Encoding(
            torch.ones(kspace, dtype=torch.complex64),
            torch.ones(tuple(map(int, form.split(", "))), dtype=torch.bool),
        )
