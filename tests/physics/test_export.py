"""Programs of `torch.export` over the encoding operator hold for any batch."""

from __future__ import annotations

import torch
from small_encodings import BATCH, NX, maps, mask_of, noise
from torch import Tensor, nn

from csmri_ext.physics import Encoding


class ZeroFilled(nn.Module):
    def forward(self, kspace: Tensor, mask: Tensor, sens_maps: Tensor) -> Tensor:
        return Encoding(kspace, mask, sens_maps).zero_filled


def test_maps_of_each_slice() -> None:
    """A check that asked for the length of k-space, not for its shape, had fixed the batch."""
    sens_maps, mask = maps(), mask_of(NX)
    kspace = noise(*sens_maps.shape)
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = ({0: batch}, None, {0: batch})
    program = torch.export.export(ZeroFilled(), (kspace, mask, sens_maps), dynamic_shapes=shapes)
    more = [torch.cat([x, x.flip(0), x]) for x in (kspace, sens_maps)]
    assert len(more[0]) == 3 * BATCH
    torch.testing.assert_close(program.module()(more[0], mask, more[1]), Encoding(more[0], mask, more[1]).zero_filled)
