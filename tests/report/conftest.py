from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from csmri_ext.report import page as report

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@pytest.fixture(scope="module")
def browser(chromium_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromedriver = shutil.which("chromedriver")
    if chromedriver is None:
        message = "chromedriver is not installed (Debian: apt-get install chromium-driver)"
        if "chromium" in os.environ.get("CSMRI_REQUIRE", "").split():
            pytest.fail(message)
        pytest.skip(message)
    options = ChromeOptions()
    options.binary_location = chromium_binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> list:
    """Keep the comparison instead of drawing it: most tests look at the numbers."""
    reports: list = []

    def keep(folder: Path, comparison: object) -> Path:
        reports.append(comparison)
        return folder / "report.html"

    monkeypatch.setattr(report, "write_report", keep)
    return reports
