"""A term of GA-HQS that is the same in all replicas is convolved once for each of the finest groups."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from csmri_ext.models import create, ga_hqs
from csmri_ext.models.fusion import ChannelFusion, can_share, fuse_with_shared, replica_major
from csmri_ext.nn import PGSA
from csmri_ext.physics import fft2c, make_mask


@pytest.mark.parametrize(("replicas", "groups"), [(16, (1, 2, 4, 8)), (8, (1, 2, 4, 4)), (8, (1, 1, 2, 2))])
@pytest.mark.parametrize("shared", [0, 1, 2])
def test_equals_the_whole_with_gradients(replicas: int, groups: tuple[int, ...], shared: int) -> None:
    torch.manual_seed(0)
    fusion = PGSA(6 * replicas, 2 * replicas, groups=groups).double()
    terms = [torch.randn(2, 2 * replicas, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    scales = torch.randn(3, dtype=torch.float64, requires_grad=True)
    equal = [t if k != shared else t[:, ::replicas].repeat_interleave(replicas, 1) for k, t in enumerate(terms)]
    inputs = [*terms, scales, *fusion.parameters()]
    assert can_share(fusion, replicas)
    whole = fusion(replica_major(equal, scales, 2, replicas))
    folded = fuse_with_shared(fusion, equal, scales, shared, 2, replicas)
    torch.testing.assert_close(folded, whole)
    grads = [torch.autograd.grad(y.square().sum(), inputs) for y in (whole, folded)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_the_network_convolves_fewer_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    network = create("ga_hqs", stages=1, replicas=16).eval()
    network.fuse_data[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    kspace, mask = fft2c(torch.randn(1, 16, 16, dtype=torch.complex64)), make_mask("random", (16, 16), 2, seed=0)
    results: list[Tensor] = []
    with torch.no_grad():
        results.append(network(kspace, mask))
        monkeypatch.setattr(ga_hqs, "can_share", lambda *_: False)
        results.append(network(kspace, mask))
    assert seen == [80, 96]
    torch.testing.assert_close(*results)


def test_where_nothing_is_gained() -> None:
    assert not can_share(PGSA(96, 32), 8)  # a replica in each of the finest groups
    assert not can_share(PGSA(96, 48, groups=(1, 2, 3, 6)), 16)
    assert not can_share(PGSA(36, 24, groups=(1, 2, 3, 2)), 12)
    assert not can_share(ChannelFusion(96, 32), 16)
