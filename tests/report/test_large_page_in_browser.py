"""Opens reports in headless Chromium that are large, narrow or not whole, and turns window and level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browsing import every, one, opened, pixels, requested
from made_comparison import made_comparison
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from csmri_ext.report.page import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    comparison = made_comparison(slices=1, volumes=("a",), accelerations=(4.0,))
    return write_report(tmp_path_factory.mktemp("report"), comparison)


def press_button(browser: Chrome, method: str) -> None:
    next(b for b in every(browser, "#methods button") if b.get_attribute("data-method") == method).click()


def test_window_and_level(browser: Chrome, report: Path) -> None:
    def set_slider(name: str, value: int) -> None:
        browser.execute_script(
            "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
            "slider.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )

    with opened(browser, report) as page:
        press_button(page, "tv")
        stored = pixels(one(page, "#stage"))[40:].astype(float)
        assert not one(page, "#window-reset").is_enabled()
        set_slider("window", 50)
        set_slider("level", 25)
        shown = pixels(one(page, "#stage"))[40:].astype(float)
        np.testing.assert_allclose(shown, np.clip(2 * stored, 0, 255), atol=3)
        one(page, "#error").click()
        assert np.ptp(pixels(one(page, "#stage"))[40:].astype(int), axis=2).max() > 100, "error maps keep their scale"
        one(page, "#error").click()
        one(page, "#window-reset").click()
        np.testing.assert_array_equal(pixels(one(page, "#stage"))[40:], stored)


def test_images_beside_the_page_load_when_they_are_shown(browser: Chrome, tmp_path: Path) -> None:
    comparison = made_comparison(slices=2, accelerations=(4.0,))
    comparison.place = "beside"
    path = write_report(tmp_path, comparison)
    browser.get("about:blank")
    requested(browser)
    browser.get(path.as_uri())
    images = every(browser, ".tile img")
    WebDriverWait(browser, 20).until(lambda _: all(int(i.get_attribute("naturalWidth") or 0) > 0 for i in images))
    asked = {url for url in requested(browser) if url.endswith(".png")}
    files = list((tmp_path / "panels").glob("*.png"))
    assert len(asked) == 8, "reference, three images and three error maps of one slice, and its mask"
    assert len(files) > 2 * len(asked)
    Select(one(browser, "#volume")).select_by_visible_text("volume_b.h5")
    images = every(browser, ".tile img")
    WebDriverWait(browser, 20).until(lambda _: all(int(i.get_attribute("naturalWidth") or 0) > 0 for i in images))
    assert not {url for url in requested(browser) if url.endswith(".png")} <= asked
    assert "in the folder panels/ beside this page" in one(browser, "#viewer").text
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_a_full_table_is_never_clipped(browser: Chrome, tmp_path: Path, width: int) -> None:
    """Every column there is, seven volumes, long names: on a screen as a table, on a phone as cards."""
    comparison = made_comparison(
        slices=1,
        methods=("zero-filled", "a_network_of_ours_v2", "wavelet-bart"),
        volumes=tuple("abcdefg"),
        shape=(32, 32),
    )
    for row in comparison.rows:
        row.parameters, row.flops = 1_234_567, 82_500_000_000
        row.details["sens_maps"] = "bart ecalib -m 1 -r 24"
    with opened(browser, write_report(tmp_path, comparison), width=width) as page:
        wrap = one(page, "#results").find_element(By.XPATH, "..")
        assert page.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", wrap)
        for cell in every(page, "#results td"):
            assert cell.rect["x"] >= 0
            assert cell.rect["x"] + cell.rect["width"] <= width
        if width < 500:
            labels = page.execute_script(
                "return [...document.querySelectorAll('#results tbody tr:nth-child(2) td')].slice(0, 3)"
                ".map(cell => getComputedStyle(cell, '::before').content)"
            )
            assert labels[0].startswith('"PSNR (dB)')
            assert "↑" in labels[0]
            notes = every(page, "#results td .note")
            assert notes, "seven volumes: differences have an interval"
            cell = notes[0].find_element(By.XPATH, "..")
            assert cell.rect["height"] < 3 * notes[0].rect["height"], "the interval is close below its difference"


def test_a_partial_comparison_says_so_at_the_top(browser: Chrome, tmp_path: Path) -> None:
    comparison = made_comparison(slices=1, volumes=("a",), accelerations=(4.0,), shape=(32, 32))
    comparison.provenance["planned"] = [
        {"method": "net", "mask": "equispaced_fraction", "acceleration": 4.0, "volumes": ["a"]}
    ]
    comparison.provenance["stopped"] = {"at": "2026-01-31T12:00:05+00:00", "by": "SIGINT"}
    with opened(browser, write_report(tmp_path, comparison), width=390) as page:
        banner = one(page, "#partial")
        assert banner.text.startswith("Interrupted at 2026-01-31 12:00 UTC: 3 of 4 reconstructions finished")
        assert banner.rect["y"] < one(page, "#verdict").rect["y"]
