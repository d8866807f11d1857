from __future__ import annotations

import io

import numpy as np
import pytest
from made_comparison import made_comparison
from matplotlib.figure import Figure
from PIL import Image

from csmri_ext.report.box_plots import box_plots
from csmri_ext.report.figures import recon_figure
from csmri_ext.report.sheet import png
from csmri_ext.report.summary import summarise


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def test_figure_of_a_slice() -> None:
    panel = made_comparison(slices=1).panels[0]
    figure = recon_figure(panel, 5)
    shown = words(figure)
    assert {"reference", "zero-filled", "tv", "tv-bart", "|error|"} <= set(shown)
    for scores in panel.scores.values():
        assert f"{scores['psnr']:.2f} dB" in shown
        assert f"{scores['ssim']:.3f}" in shown
    assert panel.target is not None
    drawn = images(figure)
    np.testing.assert_array_equal(drawn[0], panel.target)
    np.testing.assert_array_equal(drawn[2], panel.sampling)
    np.testing.assert_allclose(drawn[5], np.abs(panel.recons["zero-filled"] - panel.target))


def test_error_maps_share_one_scale() -> None:
    figure = recon_figure(made_comparison(slices=1).panels[0], 5)
    maps = [image for axes in figure.axes for image in axes.get_images() if image.get_cmap().name == "inferno"]
    assert len(maps) == 3
    assert len({image.get_clim() for image in maps}) == 1
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "% of white level")
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0", "10", "20"]


def test_best_scores_are_bold() -> None:
    panel = made_comparison(slices=1).panels[0]
    bold = {text.get_text() for text in recon_figure(panel, 5).texts if text.get_fontweight() == "bold"}
    best = panel.scores["tv-bart"]
    assert {f"{best['psnr']:.2f} dB", f"{best['ssim']:.3f}"} <= bold
    assert f"{panel.scores['tv']['psnr']:.2f} dB" not in bold


def test_without_reference_it_shows_differences_and_calls_them_so() -> None:
    panel = made_comparison(slices=1, reference=False).panels[0]
    figure = recon_figure(panel, 5)
    shown = words(figure)
    assert "|difference to tv|" in shown
    assert not any("error" in text or "dB" in text or text == "reference" for text in shown)
    np.testing.assert_allclose(images(figure)[5], np.abs(panel.recons["zero-filled"] - panel.recons["tv"]))


def test_a_method_may_be_called_reference() -> None:
    panel = made_comparison(slices=1, methods=("zero-filled", "reference")).panels[0]
    np.testing.assert_array_equal(images(recon_figure(panel, 5))[6], panel.recons["reference"])


def test_title_says_mask_acceleration_and_effective_acceleration() -> None:
    panel = made_comparison(slices=1).panels[0]
    fraction = panel.sampling.mean()
    title = words(recon_figure(panel, 5))[0]
    assert title == (
        f"equispaced_fraction, R = 4  "
        f"(effective acceleration {1 / fraction:.2f}, {100 * fraction:.1f} % of k-space sampled)"
    )


@pytest.mark.parametrize("shape", [(48, 48), (96, 24), (24, 96), (5, 3)])
@pytest.mark.parametrize("methods", [("tv",), tuple(f"method {i} with a long name" for i in range(8))])
def test_every_word_lies_inside_the_figure(shape: tuple[int, int], methods: tuple[str, ...]) -> None:
    panel = made_comparison(slices=1, shape=(48, 48), methods=methods).panels[0]
    assert panel.target is not None
    panel.target = panel.target[:5, :3] if shape == (5, 3) else np.resize(panel.target, shape)
    panel.recons = {name: np.resize(recon, shape) for name, recon in panel.recons.items()}
    figure = recon_figure(panel, 10)
    rendered = png(figure, dpi=50)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
    with Image.open(io.BytesIO(rendered)) as image:
        assert image.size == tuple(np.floor(figure.get_size_inches() * 50 + 1e-6).astype(int))


def test_not_finite_pixels_are_drawn_not_fatal() -> None:
    panel = made_comparison(slices=1).panels[0]
    panel.recons["tv"] = np.full_like(panel.recons["tv"], np.nan)
    panel.scores["tv"] = {"psnr": float("nan"), "ssim": float("nan")}
    figure = recon_figure(panel, 5)
    assert words(figure).count("NaN") == 2
    with Image.open(io.BytesIO(png(figure, dpi=50))) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 20) or []}
    assert (0, 190, 220) in colors


def test_names_are_drawn_as_they_are() -> None:
    name = "<b>$x_2$</b> Überraschung 重建"
    panel = made_comparison(slices=1, methods=("zero-filled", name)).panels[0]
    figure = recon_figure(panel, 5)
    png(figure, dpi=50)
    assert name in words(figure)


def test_equal_panels_give_equal_bytes() -> None:
    first, second = (png(recon_figure(made_comparison(slices=1).panels[0], 5), dpi=50) for _ in range(2))
    assert first == second


def test_box_plots_hold_every_slice() -> None:
    groups = summarise(made_comparison(slices=3).rows)
    figure = box_plots(groups)
    assert figure is not None
    assert len(figure.axes) == 4  # two settings, two metrics
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    expected = [value for row in groups[0].rows if row.method == "tv" for value in row.slice_psnr]
    assert list(np.asarray(points[1].get_xdata())) == pytest.approx(expected)
    assert figure.axes[0].get_xlim() == figure.axes[2].get_xlim()
    png(figure, dpi=50)


def test_box_plots_leave_out_what_is_not_finite() -> None:
    comparison = made_comparison(slices=1)
    comparison.rows[0].slice_psnr = [float("nan")]
    comparison.rows[1].slice_ssim = [float("inf")]
    figure = box_plots(summarise(comparison.rows))
    assert figure is not None
    assert np.isfinite(figure.axes[0].get_xlim()).all()
    png(figure, dpi=50)


def test_no_box_plots_without_scores() -> None:
    assert box_plots(summarise(made_comparison(reference=False).rows)) is None
    assert box_plots([]) is None
