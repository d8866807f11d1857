from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from csmri_ext.errors import InputError
from csmri_ext.models import NasN
from csmri_ext.models.adapt import adapt
from csmri_ext.phantom import phantom_volume
from csmri_ext.physics import fft2c, ifft2c, make_mask

MASK = make_mask("random", (48, 48), 2, seed=0)
IMAGES = torch.from_numpy(phantom_volume(2, 48, 1, noise=0.003, processed=False))


def network(seed: int = 0) -> NasN:
    torch.manual_seed(seed)
    return NasN("2nodes", cascades=2, cells=1, channels=8)


def test_what_is_held_back_is_predicted_better_and_the_seed_decides() -> None:
    start = network()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    fitted, told = adapt(start, fft2c(IMAGES) * MASK, MASK, steps=20, learning_rate=3e-3)
    assert told.end < 0.99 * told.start
    assert 0 < told.kept <= told.steps <= 20
    assert f"{told.start:.4f} -> {told.end:.4f}" in str(told)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, before[name]), "the network given is left alone"
    again, _ = adapt(network(), fft2c(IMAGES) * MASK, MASK, steps=20, learning_rate=3e-3)
    for a, b in zip(fitted.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    other, _ = adapt(network(), fft2c(IMAGES) * MASK, MASK, steps=20, learning_rate=3e-3, seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(fitted.parameters(), other.parameters(), strict=True))


def test_never_worse_than_the_start() -> None:
    start = network()
    fitted, told = adapt(start, fft2c(IMAGES) * MASK, MASK, steps=10, learning_rate=10.0)
    assert told.end <= told.start
    assert (told.kept, "stay as they were" in str(told)) == (0, True)
    for a, b in zip(fitted.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_it_stops_early_and_in_time() -> None:
    _, told = adapt(network(), fft2c(IMAGES) * MASK, MASK, steps=200, learning_rate=1e-12, patience=1, check_every=2)
    assert told.steps < 200
    assert "nothing better" in told.why
    _, told = adapt(network(), fft2c(IMAGES) * MASK, MASK, steps=200, learning_rate=1e-3, seconds=1e-6)
    assert (told.steps, told.why) == (1, "time is up")


def test_several_coils() -> None:
    maps = torch.full((2, 3, 48, 48), 3**-0.5, dtype=torch.complex64)
    kspace = fft2c(maps * IMAGES[:, None]) * MASK
    _, told = adapt(network(), kspace, MASK, maps, steps=5, learning_rate=3e-3)
    assert told.end < told.start


def test_the_terms_of_the_network_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has nothing to do with the data moves the network where it pulls."""
    start = network()
    pulled = start.reconstructions[0]
    monkeypatch.setattr(NasN, "extra_loss", lambda self: 1e3 * sum(p.square().sum() for p in self.parameters()))
    steps: list[int] = []
    fitted, told = adapt(
        start, fft2c(IMAGES) * MASK, MASK, steps=3, learning_rate=1e-4, check_every=1, progress=lambda: steps.append(1)
    )
    assert len(steps) == told.steps
    with torch.no_grad():
        moved = [b - a for a, b in zip(pulled.parameters(), fitted.reconstructions[0].parameters(), strict=True)]
        towards = [-(a.sign() * change).mean() for a, change in zip(pulled.parameters(), moved, strict=True) if a.any()]
    assert told.kept
    assert all(float(part) > 0 for part in towards)


def test_what_cannot_learn_is_told() -> None:
    class Fixed(nn.Module):
        def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
            return kspace

    with pytest.raises(InputError, match="cannot adapt"):
        adapt(Fixed(), fft2c(IMAGES) * MASK, MASK)


class Watched(nn.Module):
    """Keeps the masks that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor | None = None) -> Tensor:
        SEEN.append(mask.clone())
        return self.scale * ifft2c(kspace)


SEEN: list[Tensor] = []


def test_the_echo_of_every_slice_is_always_seen() -> None:
    """Shifted echoes, as measured data have them: nothing else tells a network what lies there."""
    SEEN.clear()
    kspace = fft2c(IMAGES)
    kspace = torch.stack([kspace[0].roll((5, 9), (0, 1)), kspace[1].roll(-11, 1)])
    mask = torch.ones(48, 48, dtype=torch.bool)
    adapt(Watched(), kspace, mask, steps=30, patience=100)
    around = torch.zeros_like(mask)
    around[27:31, 31:35] = around[22:26, 11:15] = True
    assert len(SEEN) > 30
    assert all(seen[around].all() for seen in SEEN)
    assert not all(seen[22:26, 22:26].all() for seen in SEEN)
