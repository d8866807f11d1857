from __future__ import annotations

import torch

from csmri_ext.physics.coils import align_phase, rss


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(sum(shape)))


def test_virtual_coil_is_real_and_positive() -> None:
    maps, reference = draw(2, 4, 7, 9), draw(2, 4, 5, 6)
    aligned = align_phase(maps, reference)
    assert torch.allclose(aligned.abs(), maps.abs())
    for one, images in zip(aligned, reference, strict=True):
        principal = torch.linalg.svd(images.flatten(1), full_matrices=False).U[:, 0]
        virtual = torch.einsum("c,cyx->yx", principal.conj(), one)
        # the singular vector has a phase of its own, the same at all pixels
        virtual = virtual * virtual[0, 0].conj().sgn()
        assert torch.allclose(virtual.imag, torch.zeros_like(virtual.imag), atol=1e-12)
        assert (virtual.real > 0).all()


def test_phase_of_each_pixel_does_not_matter_and_zeros_stay() -> None:
    maps, reference = draw(1, 3, 4, 5), draw(1, 3, 8, 8)
    maps[..., 0] = 0
    turned = maps * draw(4, 5).sgn()
    aligned = align_phase(maps, reference)
    assert torch.allclose(align_phase(turned, reference), aligned)
    assert not aligned[..., 0].any()


def test_rss() -> None:
    x = draw(2, 3, 4, 5)
    assert torch.allclose(rss(x), (x.abs() ** 2).sum(1).sqrt())
    assert torch.allclose(rss(x, 0), (x.abs() ** 2).sum(0).sqrt())
