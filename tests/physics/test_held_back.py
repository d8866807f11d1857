from __future__ import annotations

import pytest
import torch

from csmri_ext.physics import Encoding, make_mask
from csmri_ext.physics.held_back import CENTER, hold_back, kspace_error


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_split_is_disjoint_complete_and_keeps_the_centre() -> None:
    mask = make_mask("random", (60, 64), 3, seed=1).expand(60, 64)
    seen, held = hold_back(mask, 0.3, generator())
    assert not (seen & held).any()
    assert torch.equal(seen | held, mask)
    assert held.sum() / mask.sum() == pytest.approx(0.3, abs=0.05)
    half = CENTER // 2
    middle = (slice(30 - half, 30 + half), slice(32 - half, 32 + half))
    assert torch.equal(seen[middle], mask[middle])
    again, other = hold_back(mask, 0.3, generator())[1], hold_back(mask, 0.3, generator(1))[1]
    assert torch.equal(again, held)
    assert not torch.equal(other, held)
    with pytest.raises(ValueError, match=r"mask \(64,\), share 0\.3"):
        hold_back(mask[0], 0.3, generator())
    with pytest.raises(ValueError, match="share 1"):
        hold_back(mask, 1.0, generator())


def test_what_is_kept_lies_around_the_echoes() -> None:
    mask = torch.ones(60, 64, dtype=torch.bool)
    _, middle = hold_back(mask, 0.9, generator(), [(30, 32)])
    assert torch.equal(middle, hold_back(mask, 0.9, generator())[1])
    _, held = hold_back(mask, 0.9, generator(), [(37, 25), (1, 63)])
    assert not held[35:39, 23:27].any() and not held[:3, 61:].any()
    assert held[28:32, 30:34].any(), "the middle is as good as any other place"


@pytest.mark.parametrize("coils", [0, 3])
def test_errors_of_samples(coils: int) -> None:
    image = torch.randn(2, 12, 10, dtype=torch.complex64, generator=generator())
    maps = torch.randn(2, coils, 12, 10, dtype=torch.complex64, generator=generator(1)) if coils else None
    mask = torch.rand(2, *([1] if coils else []), 12, 10, generator=generator(2)) < 0.5
    kspace = Encoding(None, None, maps).forward(image)
    assert all(float(error) < 1e-5 for error in kspace_error(image, kspace, mask, maps))
    assert all(float(error) == pytest.approx(1) for error in kspace_error(0 * image, kspace, mask, maps))
    wrong = torch.where(mask, kspace, 1e6)  # what is not judged does not matter
    assert all(float(error) < 1e-5 for error in kspace_error(image, wrong, mask, maps))
    image.requires_grad_()
    sum(kspace_error(1.1 * image, kspace, mask, maps)).backward()  # type: ignore[union-attr]
    assert image.grad is not None
    assert image.grad.abs().max() > 0
