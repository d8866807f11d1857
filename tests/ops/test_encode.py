from __future__ import annotations

import math

import pytest
import torch
from properties import assert_adjoint
from tolerance import assert_as_accurate, relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.ops import encode, encode_adjoint, reference
from csmri_ext.physics import Encoding, fft2c, ifft2c


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128).to(dtype)


def make_mask(kind: str, ny: int, nx: int) -> Tensor | None:
    shapes = {"columns": (nx,), "rows": (ny, 1), "plane": (ny, nx), "none": (0,)}
    mask = torch.rand(shapes[kind], generator=torch.Generator().manual_seed(5)) < 0.5
    return None if kind == "none" else mask


MASKS = ["columns", "rows", "plane", "none"]
SIZES = [(16, 24), (37, 70), (1, 9), (9, 1), (127, 131), (320, 40)]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_values_and_adjoint(kind: str, size: tuple[int, int]) -> None:
    image, maps, kspace = random(2, *size), random(2, 3, *size, seed=1), random(2, 3, *size, seed=2)
    mask = make_mask(kind, *size)
    wide = [x.to(torch.complex128) for x in (image, maps, kspace)]
    there = encode(image, maps, mask), reference.encode(image, maps, mask), reference.encode(*wide[:2], mask)
    back = (
        encode_adjoint(kspace, maps, mask),
        reference.encode_adjoint(kspace, maps, mask),
        reference.encode_adjoint(wide[2], wide[1], mask),
    )
    assert_as_accurate(*there, "encode")
    assert_as_accurate(*back, "encode_adjoint")
    assert_adjoint(lambda x: encode(x, maps, mask), lambda y: encode_adjoint(y, maps, mask), image, kspace)


@pytest.mark.parametrize("size", SIZES)
def test_without_coils_and_mask_it_is_the_fourier_transform(size: tuple[int, int]) -> None:
    x = random(2, *size, dtype=torch.complex128)
    assert relative_error(fft2c(x), reference.fft2c(x)) < 1e-14
    assert relative_error(ifft2c(x), reference.ifft2c(x)) < 1e-14
    assert torch.equal(fft2c(x), encode(x, None, None))


def test_what_the_mask_excludes_does_not_matter() -> None:
    kspace, maps, mask = random(3, 8, 12), random(3, 8, 12, seed=1), make_mask("columns", 8, 12)
    assert mask is not None
    dirty = torch.where(mask, kspace, math.nan)
    assert torch.equal(encode_adjoint(dirty, maps, mask), encode_adjoint(kspace, maps, mask))
    assert not encode(random(8, 12) * math.nan, maps, mask)[..., ~mask].any()


def test_weights_and_masks_of_each_image() -> None:
    image, maps = random(2, 9, 12), random(3, 9, 12, seed=1)
    kspace = random(2, 3, 9, 12, seed=2)
    for shape in [(2, 1, 1, 12), (2, 3, 1, 12), (2, 3, 9, 1), (2, 1, 9, 12), (3, 9, 12)]:
        generator = torch.Generator().manual_seed(3)
        weights = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.6)
        assert relative_error(encode(image, maps, weights), reference.encode(image, maps, weights)) < 1e-6
        ours, twin = encode_adjoint(kspace, maps, weights), reference.encode_adjoint(kspace, maps, weights)
        assert relative_error(ours, twin) < 1e-6


def test_empty() -> None:
    for shape, coils in (((0, 8, 12), 3), ((2, 0, 12), 3), ((2, 8, 0), 3), ((2, 8, 12), 0)):
        image, maps = random(*shape).requires_grad_(), random(coils, *shape[-2:]).requires_grad_()
        mask = torch.ones(shape[-2:])
        there = encode(image, maps, mask)
        assert there.shape == (shape[0], coils, *shape[-2:])
        back = encode_adjoint(there, maps, mask)
        assert back.shape == shape
        back.abs().sum().backward()


def test_a_length_with_a_large_prime_factor_is_planned_quickly() -> None:
    """Within the time limit of the suite: 16381 took 42 s."""
    x = random(1, 16381)
    assert relative_error(fft2c(x), reference.fft2c(x.to(torch.complex128))) < 1e-6


def test_encoding_takes_the_kernels() -> None:
    image, maps, mask = random(2, 8, 12), random(3, 8, 12, seed=1), make_mask("columns", 8, 12)
    encoding = Encoding(None, mask, maps)
    assert torch.equal(encoding.forward(image), encode(image, maps, mask))
    assert torch.equal(
        encoding.adjoint(encode(image, maps, mask)), encode_adjoint(encode(image, maps, mask), maps, mask)
    )
    with csmri_ext.reference_ops():
        assert torch.equal(encoding.forward(image), reference.encode(image, maps, mask))


def test_errors() -> None:
    image, maps, mask = random(2, 8, 12), random(3, 8, 12), torch.ones(12)
    with pytest.raises(TypeError, match="view_as_complex"):
        encode(torch.view_as_real(image), maps, mask)
    with pytest.raises(ValueError, match=r"numbers of coils"):
        encode_adjoint(random(2, 2, 8, 12), maps, mask)
    with pytest.raises(ValueError, match=r"\(12,\).*\(\.\.\., coils"):
        encode_adjoint(image[0, 0], maps, mask)
    with pytest.raises(ValueError, match="no gradient with respect to the mask"):
        encode(image, maps, mask.requires_grad_())


@pytest.mark.parametrize("n", [127, 173, 251, 346])
def test_long_primes_are_as_accurate_as_other_lengths(n: int) -> None:
    """They are convolutions of a longer length, which must not be so short that its ends meet."""
    for size in ((3, n), (n, 3)):
        x = random(1, *size)
        for ours, twin in ((fft2c, reference.fft2c), (ifft2c, reference.ifft2c)):
            assert_as_accurate(ours(x), twin(x), twin(x.to(torch.complex128)), f"{ours.__name__} of {size}")


def test_coil_images_in_groups() -> None:
    """Two of this size fit into what goes through both passes together; the third is a group of its own."""
    x, maps = random(3, 256, 256), random(3, 256, 256, seed=1)
    for kind in ("columns", "plane"):
        mask = make_mask(kind, 256, 256)
        for op in (encode, encode_adjoint):
            assert torch.equal(op(x, None, mask), torch.stack([op(one, None, mask) for one in x]))
        kspace = encode(x[0], maps, mask)
        assert torch.equal(kspace, torch.cat([encode(x[0], one[None], mask) for one in maps]))
        image = encode_adjoint(kspace, maps, mask)
        assert relative_error(image, reference.encode_adjoint(kspace, maps, mask)) < 1e-6


@pytest.mark.parametrize("n", [1, 3, 4])
def test_threads_share_images_that_are_too_few_for_each(n: int) -> None:
    x, maps = random(n, 20, 24), random(2, 20, 24, seed=1)
    calls = [lambda: fft2c(x), lambda: ifft2c(x), lambda: encode(x, maps, make_mask("plane", 20, 24))]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [call() for call in calls]
        torch.set_num_threads(2)
        assert all(torch.equal(call(), one) for call, one in zip(calls, alone, strict=True))
    finally:
        torch.set_num_threads(before)
