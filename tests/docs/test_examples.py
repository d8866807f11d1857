"""Every python block of README.md and docs/*.md runs, the blocks of a page one after another in one namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import csmri_ext
from csmri_ext.physics import fft2c, ifft2c

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line numbers and texts of the page's python blocks."""
    text = page.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [(text[: match.start()].count("\n") + 1, match[1]) for match in found]


def run(page: Path, **given: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": page.stem, **given}
    for line, source in blocks(page):
        exec(compile("\n" * line + source, str(page), "exec"), namespace)  # errors show the line of the page
    return namespace


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image, kspace = torch.randn(2, 2, 8, 12, dtype=torch.complex64)
    run(ROOT / "README.md", csmri_ext=csmri_ext, image=image, kspace=kspace, mask=torch.rand(12) < 0.5, eta=0.5)


def test_readme_states_what_the_op_computes() -> None:
    """The comment of the first block is an expression, and equal to the call that it comments."""
    call, formula = re.search(
        r"^(csmri_ext\.ops\.data_consistency\(.*\))  # == (.*)$", PAGES[0].read_text(), re.M
    ).groups()
    image, kspace = torch.randn(2, 2, 8, 12, dtype=torch.complex64)
    names = {"csmri_ext": csmri_ext, "fft2c": fft2c, "ifft2c": ifft2c, "image": image, "kspace": kspace}
    names |= {"mask": torch.rand(12) < 0.5, "eta": 0.5}
    torch.testing.assert_close(eval(call, names), eval(formula, names))


def test_drop_in() -> None:
    page = run(ROOT / "docs" / "drop_in.md")
    assert float(page["difference"]) < 5e-6
    # Ratios of the test machine, which may be busy, are printed and not judged.
    assert min(page["gain"], page["chain_gain"], page["layer_gain"]) > 0


@pytest.mark.parametrize("page", [p for p in PAGES[1:] if blocks(p) and p.name != "drop_in.md"], ids=lambda p: p.name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "csrc" / "README.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_paths_named_by_the_guides_exist() -> None:
    """What CONTRIBUTING.md and csrc/README.md call by name is there, under that name."""
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "csrc" / "README.md"):
        for name in re.findall(r"`((?:csrc|csmri_ext|tests|benchmarks|core)/[\w/.]+\.\w+)`", page.read_text()):
            assert (ROOT / name).exists() or (ROOT / "csrc" / name).exists(), f"{page.name} names {name}"
