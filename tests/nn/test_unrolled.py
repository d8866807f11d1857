from __future__ import annotations

import pytest
import torch
from small_encodings import BATCH, COILS, NX, NY, maps, mask_of, noise
from torch import Tensor

from csmri_ext.nn import Reconstructor, as_channels, as_complex, pad_to_multiple
from csmri_ext.physics import Encoding


def test_channels_share_memory_with_the_image() -> None:
    image = noise(BATCH, NY, NX, dtype=torch.complex64)
    channels = as_channels(image)
    assert channels.shape == (BATCH, 2, NY, NX)
    assert channels.is_contiguous(memory_format=torch.channels_last)
    assert channels.data_ptr() == image.data_ptr() == as_complex(channels).data_ptr()
    assert torch.equal(as_complex(channels), image)
    assert torch.equal(as_complex(channels.contiguous()), image)
    assert torch.equal(as_complex(as_channels(image, 1)), image.real + 0j)
    assert torch.equal(as_channels(image.conj())[:, 1], -image.imag)
    for wrong in (image.real, image[0]):
        with pytest.raises(TypeError, match="expected complex"):
            as_channels(wrong)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\)"):
        as_complex(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (31, 33), (32, 64), (2, 65)])
def test_padding_reflects(size: tuple[int, int]) -> None:
    x = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, 1, *size)
    padded = pad_to_multiple(x, 32)
    assert all(n % 32 == 0 and n - small < 32 for n, small in zip(padded.shape[-2:], size, strict=True))
    for axis, n in zip((-2, -1), size, strict=True):
        period = max(2 * n - 2, 1)
        mirrored = (torch.arange(padded.shape[axis]) % period - (n - 1)).abs().sub(n - 1).abs()
        x = x.index_select(axis, mirrored)
    assert torch.equal(padded, x)


class Halver(Reconstructor):
    def reconstruct(self, encoding: Encoding, image: Tensor) -> Tensor:
        return encoding.step(image / (1 + image.abs()), 0.5)  # not linear: only the scaling makes it homogeneous


def test_reconstructor_scales_and_takes_every_shape() -> None:
    kspace, mask = noise(BATCH, NY, NX, dtype=torch.complex64), mask_of(BATCH, 1, NX)
    kspace[1] = 0
    for peak in (1.0, 6.0):
        model = Halver(peak=peak)
        image = model(kspace, mask)
        torch.testing.assert_close(model(1e-6 * kspace, mask), 1e-6 * image, rtol=1e-5, atol=1e-11)
        torch.testing.assert_close(model(kspace.unsqueeze(1), mask.unsqueeze(1)), image)
        assert not image[1].any()
        alone = model(kspace[:1], mask[0, 0])
        torch.testing.assert_close(alone, image[:1])
    unscaled = Halver(peak=None)
    assert (unscaled(1e-6 * kspace, mask) - 1e-6 * unscaled(kspace, mask)).abs().max() > 1e-8
    with pytest.raises(NotImplementedError, match="Reconstructor"):
        Reconstructor()(kspace, mask)
    with pytest.raises(ValueError, match="in_chans is 3"):
        Halver(in_chans=3)
    with pytest.raises(ValueError, match="peak is 0"):
        Halver(peak=0)


def test_misuse_names_both_shapes() -> None:
    kspace, mask = noise(BATCH, COILS, NY, NX), mask_of(NX)
    cases = [
        (ValueError, r"kspace \(2, 3, 9, 12\) has 3 coils, but sens_maps is None.*\(3, 9, 12\)", kspace, mask, None),
        (ValueError, r"mask \(13,\) does not broadcast to kspace \(2, 9, 12\)", kspace[:, 0], mask_of(13), None),
        (ValueError, r"mask \(2, 1, 12\) does not broadcast", kspace, mask_of(2, 1, NX), maps()),
        (ValueError, r"sens_maps \(2, 2, 9, 12\) do not fit kspace \(2, 3, 9, 12\)", kspace, mask, maps()[:, :2]),
        (
            ValueError,
            r"kspace \(2, 9, 12\) with sens_maps \(2, 3, 9, 12\): expected \(batch, coils, ny, nx\)",
            kspace[:, 0],
            mask,
            maps(),
        ),
        (ValueError, r"kspace \(9, 12\) with no sens_maps: expected \(batch, ny, nx\)", kspace[0, 0], mask, None),
        (ValueError, r"kspace \(12,\): expected", kspace[0, 0, 0], mask, None),
        (ValueError, r"kspace \(0, 9, 12\): expected", kspace[:0, 0], mask, None),
        (TypeError, r"mask \(12,\) is torch.float32, expected bool", kspace[:, 0], mask.float(), None),
        (TypeError, r"is torch.float64, expected complex", kspace[:, 0].real, mask, None),
        (TypeError, r"sens_maps \(2, 3, 9, 12\) is torch.float64", kspace, mask, maps().real),
    ]
    for error, message, *tensors in cases:
        with pytest.raises(error, match=message):
            Halver()(*tensors)


def test_the_support_is_where_any_coil_sees() -> None:
    sens_maps = maps(torch.complex64)
    sens_maps[:, 0, :4] = 0  # one coil does not see the upper rows
    sens_maps[:, :, :, 0] = 0  # and none the first column
    encoding = Encoding(None, mask_of(NX), sens_maps)
    expected = torch.ones(BATCH, NY, NX, dtype=torch.bool)
    expected[..., 0] = False
    assert torch.equal(encoding.support, expected)
    assert Encoding(None, mask_of(NX)).support is None
