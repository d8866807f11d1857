from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

REQUIRED = os.environ.get("CSMRI_REQUIRE", "").split()


def _program(name: str, *candidates: str) -> str:
    for candidate in candidates:
        found = shutil.which(candidate)
        if found:
            return found
    message = f"{name} is not installed (Debian: apt-get install {name})"
    if name in REQUIRED:
        pytest.fail(f"{message}, but CSMRI_REQUIRE names it")
    pytest.skip(message)


@pytest.fixture(scope="session")
def bart_binary() -> str:
    return _program("bart", "bart")


@pytest.fixture(scope="session")
def chromium_binary() -> str:
    return _program("chromium", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the checkout, when they are there. The project must not need them."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: real images are not part of the project")
    return folder


@pytest.fixture(scope="session")
def vectors() -> Path:
    return Path(__file__).parent / "vectors"


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

    monkeypatch.setattr("csmri_ext.report.page.write_report", keep)
    return reports


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Layers this small lose more by waiting for a second thread than it does for them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
