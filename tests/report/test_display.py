from __future__ import annotations

import io

import numpy as np
import pytest
from made_comparison import drawn_slice, made_comparison
from PIL import Image

from csmri_ext.report import display
from csmri_ext.report.rows import Panel


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_grey_png_maps_black_and_white() -> None:
    image = np.array([[0.0, 0.25, 0.5, 1.0]], dtype=np.float32)
    np.testing.assert_array_equal(decoded(display.grey_png(image, 0.5))[0, :, 0], [0, 128, 255, 255])


def test_not_finite_pixels_have_their_own_color() -> None:
    image = np.array([[0.0, np.nan, np.inf, 1.0]], dtype=np.float32)
    for png in (display.grey_png(image, 1.0), display.error_png(image, 1.0)):
        pixels = decoded(png)[0]
        assert tuple(pixels[1]) == tuple(pixels[2]) == display.NOT_FINITE
        assert tuple(pixels[0]) != display.NOT_FINITE
        assert tuple(pixels[3]) != display.NOT_FINITE


def test_error_png_uses_the_whole_scale_and_stops_at_its_end() -> None:
    pixels = decoded(display.error_png(np.array([[0.0, 0.1, 0.2, 5.0]], dtype=np.float32), 0.2))[0].astype(int)
    palette = display.error_palette()
    np.testing.assert_array_equal(pixels[0], palette[0])
    np.testing.assert_array_equal(pixels[2], palette[-1])
    np.testing.assert_array_equal(pixels[3], palette[-1])
    assert pixels[0].sum() < pixels[1].sum() < pixels[2].sum()


def test_mask_png_is_the_mask() -> None:
    mask = np.random.default_rng(0).random((5, 9)) < 0.3
    np.testing.assert_array_equal(decoded(display.mask_png(mask))[..., 0] > 0, mask)


@pytest.mark.parametrize("corner", [(10, 12), (60, 20), (40, 70)])
def test_detail_region_finds_the_textured_part(corner: tuple[int, int]) -> None:
    image = np.full((96, 112), 0.5, dtype=np.float32)
    texture = (np.indices((20, 24)).sum(axis=0) // 2 % 2).astype(np.float32)
    image[corner[0] : corner[0] + 20, corner[1] : corner[1] + 24] = texture
    top, left, height, width = display.detail_region(image)
    assert (height, width) == (24, 28)
    assert top - 1 <= corner[0]
    assert corner[0] + 20 <= top + height + 1
    assert left - 1 <= corner[1]
    assert corner[1] + 24 <= left + width + 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 200), (64, 64), (33, 5)])
@pytest.mark.parametrize("fill", [0.0, 1.0, np.nan])
def test_detail_region_stays_inside(shape: tuple[int, int], fill: float) -> None:
    top, left, height, width = display.detail_region(np.full(shape, fill, dtype=np.float32))
    assert min(top, left) >= 0
    assert min(height, width) >= 1
    assert top + height <= shape[0]
    assert left + width <= shape[1]


def panel(target: np.ndarray | None, **recons: np.ndarray) -> Panel:
    sampling = np.ones((4, 4), dtype=bool)
    return Panel(
        "v", 0, "random", 4.0, sampling, "0", target, {name.replace("_", "-"): r for name, r in recons.items()}
    )


def test_white_level_ignores_one_bright_spot() -> None:
    image = drawn_slice((64, 64), 0)
    spot = image.copy()
    spot[32, 32] = 1000
    assert display.white_level(panel(spot, tv=spot)) < 1.1


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_white_level_of_an_empty_image_is_usable(fill: float) -> None:
    image = np.full((8, 8), fill, dtype=np.float32)
    assert display.white_level(panel(image, tv=image)) == 1.0


@pytest.mark.parametrize(("error", "factor"), [(0.5, 2), (0.1, 10), (0.11, 10), (0.012, 80), (1e-9, 8000)])
def test_error_factor_brings_typical_errors_to_the_top(error: float, factor: int) -> None:
    target = np.ones((16, 16), dtype=np.float64)
    assert display.error_factor([panel(target, tv=target - error)]) == factor


def test_error_factor_without_errors() -> None:
    target = np.ones((16, 16), dtype=np.float32)
    assert display.error_factor([panel(target, tv=target)]) == 1
    assert display.error_factor([panel(target, tv=np.full_like(target, np.nan))]) == 1
    assert display.error_factor([panel(None, tv=target)]) == 1


def test_difference_needs_a_base_without_a_target() -> None:
    one, two = np.ones((4, 4), np.float32), np.full((4, 4), 3, np.float32)
    prospective = panel(None, zero_filled=one, tv=two)
    np.testing.assert_array_equal(display.difference(prospective, "zero-filled", "tv"), np.full((4, 4), 2))
    with pytest.raises(ValueError, match="has no target"):
        display.difference(prospective, "tv")
    assert display.base_method(prospective) == "tv"
    assert display.base_method(panel(None, zero_filled=one)) == "zero-filled"


def test_check_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"tv has shape \(5, 4\), expected \(4, 4\)"):
        display.check(panel(np.zeros((4, 4), np.float32), tv=np.zeros((5, 4), np.float32)))
    with pytest.raises(ValueError, match="no reconstruction"):
        display.check(panel(np.zeros((4, 4), np.float32)))
    with pytest.raises(ValueError, match=r"must be \(h, w\), got \(2, 4, 4\)"):
        display.check(panel(np.zeros((2, 4, 4), np.float32), tv=np.zeros((2, 4, 4), np.float32)))
    for good in made_comparison(slices=1).panels:
        display.check(good)


def test_screen_copy_halves_and_keeps_colors() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (40, 30, 1), dtype=np.uint8), 3, axis=2)
    colored = display.error_palette()[rng.integers(0, display.ERROR_LEVELS, (40, 30))]
    accent = np.broadcast_to(np.array([255, 176, 0], dtype=np.uint8), (40, 30, 3))
    original = np.concatenate([grey, colored, accent], axis=1).repeat(2, axis=0).repeat(2, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(original).save(buffer, "png")
    copy = display.screen_copy(buffer.getvalue(), ["#ffb000"])
    assert display.png_size(copy) == (90, 40)
    difference = np.abs(decoded(copy).astype(int) - original[::2, ::2].astype(int))
    assert difference.max() <= 6
    np.testing.assert_array_equal(decoded(copy)[:, 60:], accent)
