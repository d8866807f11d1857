"""Opens a written report in headless Chromium and uses it as a reader would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import every, one, opened, pixels, screenshot
from made_comparison import made_comparison
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from csmri_ext.report.page import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), made_comparison(slices=3))


@pytest.fixture(scope="module")
def prospective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    comparison = made_comparison(reference=False, accelerations=(4.0,), volumes=("scan",), slices=1, mask="acquired")
    return write_report(tmp_path_factory.mktemp("prospective"), comparison)


def choose(browser: Chrome, method: str) -> None:
    next(b for b in every(browser, "#methods button") if b.get_attribute("data-method") == method).click()


def current(browser: Chrome) -> str | None:
    """Name of the tile on top; empty for the reference."""
    (tile,) = every(browser, ".tile.current")
    return tile.get_attribute("data-name")


def slice_shown(browser: Chrome) -> tuple[str, str, str]:
    chosen = [Select(one(browser, f"#{name}")).first_selected_option.text for name in ("setting", "volume")]
    return chosen[0], chosen[1], one(browser, "#slice-number").text


def press(browser: Chrome, key: str) -> None:
    ActionChains(browser).send_keys(key).perform()


def column(browser: Chrome, heading: str) -> list[list[str]]:
    """Texts of a column of the results table, one list per setting."""
    names = [cell.text for cell in every(browser, "#results thead th")]
    index = names.index(heading)
    return browser.execute_script(
        "return [...document.querySelectorAll('#results tbody')].map("
        "body => [...body.rows].slice(1).map(row => row.cells[arguments[0]].textContent.trim()))",
        index,
    )


def test_opens_without_complaint_or_request(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        assert "tv-bart leads in PSNR" in one(page, "#verdict").text
        assert [image.get_attribute("complete") for image in every(page, ".plate img")] == ["true"] * 3
        for image in every(page, ".plate img, .tile img"):
            assert int(image.get_attribute("naturalWidth") or 0) > 0


def test_buttons_flip_the_method_in_place(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        stage = one(page, "#stage")
        seen = []
        where = slice_shown(page)
        box = stage.rect
        for method in ("zero-filled", "tv", "tv-bart"):
            choose(page, method)
            assert current(page) == method
            assert slice_shown(page) == where
            assert stage.rect == box
            seen.append(pixels(stage))
            pressed = [b.get_attribute("data-method") for b in every(page, "#methods [aria-pressed=true]")]
            assert pressed == [method]
        lower = [image[40:] for image in seen]  # below the caption
        assert not np.array_equal(lower[0], lower[1])
        assert not np.array_equal(lower[1], lower[2])
        choose(page, "zero-filled")
        np.testing.assert_array_equal(pixels(stage), seen[0])


def test_keys_flip_the_method_and_the_slice(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        one(page, "#stage").click()
        where = slice_shown(page)
        assert where[2] == "0 (1 of 3)"
        for key, method in (
            ("2", "tv"),
            ("3", "tv-bart"),
            (Keys.ARROW_RIGHT, "zero-filled"),
            (Keys.ARROW_LEFT, "tv-bart"),
            ("1", "zero-filled"),
            ("9", "zero-filled"),
        ):
            press(page, key)
            assert current(page) == method
            assert slice_shown(page) == where
        press(page, "2")
        before = pixels(one(page, "#stage"))
        press(page, Keys.ARROW_DOWN)
        assert slice_shown(page) == (*where[:2], "1 (2 of 3)")
        assert current(page) == "tv"
        assert not np.array_equal(pixels(one(page, "#stage")), before)
        press(page, Keys.ARROW_UP)
        np.testing.assert_array_equal(pixels(one(page, "#stage")), before)


def test_keys_are_left_alone_outside_the_viewer(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        ActionChains(page).move_to_element(one(page, "h1")).perform()
        press(page, "2")
        assert current(page) == "zero-filled"
        one(page, "#volume").click()
        press(page, Keys.ESCAPE)
        press(page, "2")  # a list has keys of its own
        assert current(page) == "zero-filled"


def test_setting_and_volume_change_and_the_slice_stays(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        one(page, "#stage").click()
        press(page, Keys.ARROW_DOWN)
        choose(page, "tv")
        scores = one(page, ".tile.current figcaption").text
        mask = one(page, "#mask").get_attribute("src")
        Select(one(page, "#setting")).select_by_visible_text("equispaced_fraction, R = 8")
        assert slice_shown(page) == ("equispaced_fraction, R = 8", "volume_a.h5", "1 (2 of 3)")
        assert current(page) == "tv"
        assert one(page, ".tile.current figcaption").text != scores
        assert one(page, "#mask").get_attribute("src") != mask
        Select(one(page, "#volume")).select_by_visible_text("volume_b.h5")
        assert slice_shown(page) == ("equispaced_fraction, R = 8", "volume_b.h5", "1 (2 of 3)")


def test_scores_are_those_of_the_slice(browser: Chrome, report: Path) -> None:
    panel = made_comparison(slices=3).panels[0]
    with opened(browser, report) as page:
        choose(page, "tv")
        expected = f"{panel.scores['tv']['psnr']:.2f} dB / {panel.scores['tv']['ssim']:.4f}"
        assert expected in one(page, ".tile.current figcaption").text
        assert expected in one(page, "#methods [aria-pressed=true]").text
        assert f"PSNR {panel.scores['tv']['psnr']:.2f} dB" in (one(page, "#readout").get_attribute("textContent") or "")
        assert panel.mask_hash in one(page, ".mask").text


def test_holding_shows_the_reference(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        choose(page, "tv")
        before = pixels(one(page, "#stage"))
        ActionChains(page).key_down("r").perform()
        assert current(page) == ""
        assert not np.array_equal(pixels(one(page, "#stage")), before)
        ActionChains(page).key_up("r").perform()
        assert current(page) == "tv"
        ActionChains(page).click_and_hold(one(page, "#hold")).perform()
        assert current(page) == ""
        ActionChains(page).release().perform()
        assert current(page) == "tv"


def test_error_map(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        choose(page, "zero-filled")
        grey = pixels(one(page, "#stage"))[40:].astype(int)
        assert np.ptp(grey, axis=2).max() == 0
        one(page, "#error").click()
        colored = pixels(one(page, "#stage"))[40:].astype(int)
        assert np.ptp(colored, axis=2).max() > 100
        assert one(page, "#error").get_attribute("aria-pressed") == "true"
        assert "one scale for all methods" in one(page, "#scale-words").text
        scale = one(page, "#scale").text
        choose(page, "tv-bart")
        better = pixels(one(page, "#stage"))[40:].astype(int)
        assert better.sum() < colored.sum()  # a better method is darker on the same scale
        assert one(page, "#scale").text == scale
        press(page, "e")
        assert one(page, "#error").get_attribute("aria-pressed") == "false"


def transforms(page: Chrome) -> set[str]:
    return {image.value_of_css_property("transform") for image in every(page, ".tile img")}


def test_zoom_and_pan_stay_while_flipping(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        stage = one(page, "#stage")
        before = pixels(stage)
        one(page, "#zoom-in").click()
        assert one(page, "#zoom").text == "150 %"
        (zoomed,) = transforms(page)
        assert not np.array_equal(pixels(stage), before)
        ActionChains(page).drag_and_drop_by_offset(stage, 60, 40).perform()
        (moved,) = transforms(page)  # one transform for all tiles: zoom and pan are synchronised
        assert moved != zoomed
        choose(page, "tv")
        assert transforms(page) == {moved}
        press(page, "z")
        assert one(page, "#zoom").text == "400 %"
        assert one(page, "#detail").get_attribute("aria-pressed") == "true"
        press(page, "0")
        assert one(page, "#zoom").text == "100 %"
        choose(page, "zero-filled")
        np.testing.assert_array_equal(pixels(stage), before)


def test_wheel_scrolls_the_page_and_zooms_only_with_ctrl(browser: Chrome, report: Path) -> None:
    wheel = "document.querySelector('.tile.current img').dispatchEvent(new WheelEvent('wheel', arguments[0]))"
    event: dict[str, Any] = {"deltaY": -200, "bubbles": True, "cancelable": True, "clientX": 300, "clientY": 300}
    with opened(browser, report) as page:
        page.execute_script(wheel, event)
        assert one(page, "#zoom").text == "100 %"
        page.execute_script(wheel, {**event, "ctrlKey": True})
        assert one(page, "#zoom").text == "195 %"


def test_side_by_side(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        one(page, "#all").click()
        tiles = every(page, ".tile")
        assert len(tiles) == 4
        assert all(tile.is_displayed() for tile in tiles)
        assert len({(tile.rect["x"], tile.rect["y"]) for tile in tiles}) == 4
        tiles[2].click()
        assert current(page) == "tv"
        press(page, "+")
        assert len(transforms(page)) == 1
        press(page, "a")
        assert sum(tile.value_of_css_property("visibility") == "visible" for tile in tiles) == 1


def test_table_sorts_both_ways_by_click_and_by_key(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        best_first, best_last = ["tv-bart", "tv", "zero-filled"], ["zero-filled", "tv", "tv-bart"]
        assert column(page, "Method") == [best_first, best_first], "before any click, too"
        heading = next(cell for cell in every(page, "#results thead th") if cell.text == "PSNR (dB)")
        button = heading.find_element(By.TAG_NAME, "button")
        button.click()
        assert heading.get_attribute("aria-sort") == "descending"  # the best first
        assert column(page, "Method") == [best_first, best_first]
        button.send_keys(Keys.ENTER)
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column(page, "Method") == [best_last, best_last]
        seconds = next(cell for cell in every(page, "#results thead th") if cell.text == "s / slice")
        seconds.find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
        assert seconds.get_attribute("aria-sort") == "ascending"
        assert heading.get_attribute("aria-sort") == "none"
        assert column(page, "s / slice")[0] == ["0.250", "0.500", "0.750"]
        name = one(page, "#results thead th")
        name.find_element(By.TAG_NAME, "button").click()
        name.find_element(By.TAG_NAME, "button").click()
        assert column(page, "Method")[0] == ["zero-filled", "tv-bart", "tv"]
        titles = [row.text for row in every(page, "#results tbody tr:first-child")]
        assert [title.split(" effective")[0] for title in titles] == [
            "equispaced_fraction, R = 4",
            "equispaced_fraction, R = 8",
        ]


def test_values_that_are_not_numbers_sort_last(browser: Chrome, tmp_path: Path) -> None:
    comparison = made_comparison(slices=1, volumes=("a",), accelerations=(4.0,))
    comparison.rows[1].psnr = float("nan")
    with opened(browser, write_report(tmp_path, comparison)) as page:
        heading = next(cell for cell in every(page, "#results thead th") if cell.text == "PSNR (dB)")
        for order in (["tv-bart", "zero-filled", "tv"], ["zero-filled", "tv-bart", "tv"]):
            heading.find_element(By.TAG_NAME, "button").click()
            assert column(page, "Method") == [order]


def test_provenance_is_visible(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        section = one(page, "#provenance")
        assert section.is_displayed()
        for words in ("python -m baselines.compare --bart", "v0.8.00", "pics -S -i 200", "weight: 0.003"):
            assert words in section.text
        assert made_comparison().panels[0].mask_hash in section.text


def test_prospective_data(browser: Chrome, prospective: Path) -> None:
    with opened(browser, prospective) as page:
        assert [cell.text for cell in every(page, "#results thead th")] == ["Method", "k-space residual", "s / slice"]
        assert one(page, "#error").text == "Difference map"
        one(page, "#error").click()
        assert "|difference to tv|" in one(page, "#scale-words").text
        to_tv = pixels(one(page, "#stage"))[40:]
        Select(one(page, "#base")).select_by_visible_text("tv-bart")
        assert "|difference to tv-bart|" in one(page, "#scale-words").text
        assert current(page) == "zero-filled"
        assert not np.array_equal(pixels(one(page, "#stage"))[40:], to_tv)
        assert one(page, "#hold").text == "Hold: tv-bart"
        choose(page, "tv-bart")
        assert "the others are compared with this" in one(page, ".tile.current figcaption").text


def test_names_do_no_harm(browser: Chrome, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    comparison = made_comparison(
        methods=("zero-filled", evil), volumes=("<script>alert(2)</script>", "脳.h5"), slices=1
    )
    comparison.panels[0].recons[evil][5:9, 5:9] = np.nan
    with opened(browser, write_report(tmp_path, comparison)) as page:
        choose(page, evil)
        assert current(page) == evil
        assert one(page, ".tile.current .warning").text == "16 pixels are NaN or infinite"
        assert (pixels(one(page, "#stage")) == [0, 190, 220]).all(axis=2).any()
        assert Select(one(page, "#volume")).first_selected_option.text == "<script>alert(2)</script>"


def test_nothing_moves_after_the_first_paint(browser: Chrome, report: Path) -> None:
    with opened(browser, report) as page:
        shifts = page.execute_async_script(
            "const done = arguments[0]; let sum = 0;"
            "new PerformanceObserver(list => list.getEntries().forEach(entry => { sum += entry.value; }))"
            ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 300);"
        )
        assert shifts < 0.01


@pytest.mark.parametrize("width", [1280, 768, 380])
@pytest.mark.parametrize("dark", [False, True])
def test_fits_every_width_and_scheme(browser: Chrome, report: Path, tmp_path: Path, width: int, dark: bool) -> None:
    with opened(browser, report, width=width, dark=dark) as page:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        image = screenshot(page, tmp_path / "page.png")
        assert image.shape[1] == width
        corner = int(image[2, 2].astype(int).sum())
        assert corner < 150 if dark else corner > 700
        for selector in ("#verdict", "#results", "#stage", "#methods", "#mask", "#provenance"):
            assert one(page, selector).is_displayed()
        for figure in every(page, ".plate img"):
            natural = [int(figure.get_attribute(key) or 0) for key in ("naturalWidth", "naturalHeight")]
            assert figure.rect["width"] / figure.rect["height"] == pytest.approx(natural[0] / natural[1], rel=0.01)
        stage = one(page, "#stage").rect
        assert stage["width"] > 0.5 * min(width, 700)
        assert stage["x"] + stage["width"] <= width


def test_without_scripts_tables_and_figures_are_there(browser: Chrome, report: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        with opened(browser, report) as page:
            text = one(page, "body").text
            assert "tv-bart leads" in text
            assert "zero-filled" in one(page, "#results").text
            assert "Hold: reference" not in text  # the viewer is away
            assert one(page, ".plate img").rect["height"] > 100
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_print_leaves_the_viewer_out(browser: Chrome, report: Path) -> None:
    with opened(browser, report, width=690, dark=True, media="print") as page:  # A4 less its margins
        assert page.execute_script("return document.documentElement.scrollWidth") <= 690
        assert not one(page, "#viewer").is_displayed()
        assert one(page, ".plate img").is_displayed()
        assert one(page, "body").value_of_css_property("background-color") in {
            "rgb(255, 255, 255)",
            "rgba(255, 255, 255, 1)",
        }
