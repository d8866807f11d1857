"""Looks at pages through Selenium: open, find, take pictures; a page must not complain or ask the network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement


@contextmanager
def opened(
    browser: Chrome, path: Path, *, width: int = 1280, height: int = 1000, dark: bool = False, media: str = ""
) -> Iterator[Chrome]:
    """Open a page; on leaving, fail if it wrote to the console or asked the network for anything."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    browser.execute_script("document.getElementById('viewer')?.scrollIntoView()")
    yield browser
    assert browser.get_log("browser") == []
    assert [url for url in requested(browser) if not url.startswith("data:")] == [path.as_uri()]


def requested(browser: Chrome) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def one(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser: Chrome, selector: str) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def pixels(element: WebElement) -> NDArray[np.uint8]:
    """What the element shows, without its rounded corners and the focus ring."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB"))[8:-8, 8:-8]


def screenshot(browser: Chrome, path: Path) -> NDArray[np.uint8]:
    """The whole page, not only the window."""
    height, width = browser.execute_script(
        "const page = document.documentElement; return [page.scrollHeight, page.clientWidth]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(taken["data"]))
    return np.asarray(Image.open(path).convert("RGB"))
