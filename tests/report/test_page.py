from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_comparison import made_comparison
from PIL import Image

from csmri_ext.report import sheet, viewer
from csmri_ext.report.page import write_report
from csmri_ext.report.report_files import remove_report, report_files
from csmri_ext.report.rows import Comparison
from csmri_ext.report.sheet import png


class Page(HTMLParser):
    """Text of a page, its addresses, and the cells of its results table."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.data: dict = {}
        self._inside = ""
        self._script = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.text += " "
        self.addresses += [value for key, value in attrs if key in {"src", "href", "srcset", "action"} and value]
        self._inside = tag if values.get("id") != "viewer-data" else "viewer-data"

    def handle_endtag(self, tag: str) -> None:
        if self._inside == "viewer-data":
            self.data = json.loads(self._script)
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "viewer-data":
            self._script += data
        elif self._inside not in {"script", "style"}:
            self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), made_comparison())


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written)


@pytest.fixture(autouse=True)
def coarse_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures at 40 dpi, since these tests look at the page around them."""
    if request.node.name != "test_size_of_a_typical_report":
        monkeypatch.setattr(sheet, "png", lambda figure, dpi: png(figure, 40))
    if request.node.name != "test_files":
        monkeypatch.setattr(sheet, "vector", lambda figure, kind: b"")


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_files(written: Path) -> None:
    assert written.name == "report.html"
    figures = ("boxplots", "recon-equispaced_fraction-R4", "recon-equispaced_fraction-R8")
    assert sorted(path.name for path in written.parent.rglob("*") if path.is_file()) == sorted(
        [f"{figure}.{kind}" for figure in figures for kind in ("png", "pdf", "svg")]
        + ["report.html", "table.csv", "table.tex"]
    )
    assert (written.parent / "images" / "boxplots.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in (written.parent / "images" / "boxplots.svg").read_bytes()
    with Image.open(written.parent / "images" / "boxplots.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=1)


def test_page_loads_nothing(written: Path, page: Page) -> None:
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    source = written.read_text()
    assert "http://" not in source
    assert "https://" not in source
    assert "@import" not in source
    assert "default-src 'none'" in source


def test_page_says_what_was_measured(page: Page) -> None:
    text = squeezed(page.text)
    assert "tv-bart leads in PSNR" in text
    assert "PSNR and SSIM per volume as fastMRI defines them" in text
    assert "Mean ± standard deviation over volumes" in text
    assert "effective acceleration" in text
    assert "s / slice" in text
    assert "FLOPs" not in text  # nobody has any
    assert "3 methods, 2 volumes, 4 slices, 2 sampling settings" in text


def test_table_holds_the_means(page: Page) -> None:
    rows = [row for row in made_comparison().rows if row.method == "tv" and row.acceleration == 4]
    psnr = [row.psnr for row in rows if row.psnr is not None]
    assert f"{np.mean(psnr):.2f} ± {np.std(psnr, ddof=1):.2f}" in squeezed(page.text)


def test_provenance(page: Page) -> None:
    text = squeezed(page.text)
    provenance = made_comparison().provenance
    for key in ("command", "csmri_ext", "python", "torch", "numpy", "simd", "bart", "date"):
        assert str(provenance[key]) in text, key
    assert "pics -S -i 200 -R T:3:0:0.003 -p pattern 'k space' out" in text  # quoted as a shell would need it
    assert "weight: 0.003" in text
    assert "chosen from: 0.001, 0.003, 0.01" in text
    for mask in provenance["masks"]:
        assert mask["hash"] in text


def test_inputs_and_tuning_are_tables(tmp_path: Path) -> None:
    comparison = made_comparison()
    comparison.provenance["inputs"] = [
        {
            "volume": "volume_a.h5",
            "source": "folder/volume_a.h5",
            "sha256": "0123456789abcdef" * 4,
            "slices": [2, 5],
            "kspace": [9, 4, 640, 368],
            "image_size": [320, 320],
            "fully_sampled": True,
        }
    ]
    table = [{"weight": 0.01, "nmse": 0.25, "chosen": False}, {"weight": 0.02, "nmse": 0.125, "chosen": True}]
    comparison.provenance["tuning"] = {
        "tv, random 4x": {"weights": {"a": 0.02, "b": 0.02}, "how": "least mean NMSE", "table": table},
        "tv, random 8x": {"weights": {"a": 0.02, "b": 0.01, "c": 0.02}, "how": "least mean NMSE", "table": table},
    }
    for row in comparison.rows:
        row.details = {"weight": 0.02, "weight_grid": "least mean NMSE"}
    text = squeezed(Page(write_report(tmp_path, comparison)).text)
    assert "volume_a.h5 folder/volume_a.h5 0123456789abcdef… 2–4 (of 9) 4 640 × 368 320 × 320 yes" in text
    assert "tv, random 4x 0.02 weight 0.01 0.02 NMSE 0.25 0.125 least mean NMSE" in text
    assert "tv, random 8x 0.02; for b: 0.01 weight" in text
    assert text.count("least mean NMSE") == 2, "said once for each search, not again for each method"


def test_unknown_provenance_and_missing_provenance(tmp_path: Path) -> None:
    comparison = made_comparison(slices=1, volumes=("a",))
    comparison.provenance["machine"] = {"cpu": "Some <CPU>", "cores": 2}
    comparison.provenance["tuning"] = [{"weight": 0.01, "chosen": False}, {"weight": 0.05, "chosen": True}]
    comparison.provenance["notes"] = ["a sentence about the data that is quite long", "and another one"]
    comparison.provenance["bart"] = None
    text = squeezed(Page(write_report(tmp_path, comparison)).text)
    assert "Machine cpu Some <CPU> cores 2 " in text
    assert "weight chosen 0.01 no 0.05 yes" in text
    assert "a sentence about the data that is quite long and another one" in text
    assert "BART not used" in text
    comparison.provenance = {}
    text = squeezed(Page(write_report(tmp_path, comparison)).text)
    assert comparison.panels[0].mask_hash in text  # masks fall back to the panels


def test_details_that_differ_name_their_volumes(tmp_path: Path) -> None:
    comparison = made_comparison(slices=1)
    for row in comparison.rows:
        row.details = {"weight": 0.1 if row.volume == "volume_a.h5" else 0.2, "recon": "some_file.cfl"}
    text = squeezed(Page(write_report(tmp_path, comparison)).text)
    assert "weight: volume_a.h5: 0.1; volume_b.h5: 0.2" in text
    assert "some_file" not in text


def test_viewer_points_to_the_right_images(page: Page) -> None:
    comparison = made_comparison()
    assert len(page.data["panels"]) == len(comparison.panels)
    for entry, panel in zip(page.data["panels"], comparison.panels, strict=True):
        assert page.data["volumes"][entry["volume"]] == panel.volume
        assert entry["slice"] == panel.slice
        assert [method["name"] for method in entry["methods"]] == list(panel.recons)
        assert entry["methods"][1]["scores"][0]["text"] == f"{panel.scores['tv']['psnr']:.2f} dB"
        assert [method["scores"][0]["best"] for method in entry["methods"]] == [False, False, True]
        assert set(entry["maps"][""]) == set(panel.recons)
    references = [entry["reference"] for entry in page.data["panels"]]
    assert references[:4] == references[4:]  # the same slices at R = 4 and R = 8 are embedded once
    assert len(set(page.data["images"])) == len(page.data["images"])


def test_without_reference_there_is_no_metric(tmp_path: Path) -> None:
    comparison = made_comparison(reference=False, accelerations=(4.0,), mask="acquired")
    written = write_report(tmp_path, comparison)
    found = Page(written)
    text = squeezed(found.text)
    for word in ("PSNR", "SSIM", "NMSE", "NaN", "dB", "None"):
        assert word not in text, word
    assert "no method can be called best" in text
    assert "no fully sampled reference, hence no metric" in text
    assert "k-space residual" in text
    assert "difference to tv" in text
    assert [path.name for path in (tmp_path / "images").glob("*.png")] == ["recon-acquired-no-reference.png"]
    for entry in found.data["panels"]:
        assert entry["reference"] is None
        for base, others in entry["maps"].items():
            assert set(others) == {"zero-filled", "tv", "tv-bart"} - {base}
        assert entry["maps"]["tv"]["tv-bart"] == entry["maps"]["tv-bart"]["tv"]


def test_with_and_without_reference_in_one_report(tmp_path: Path) -> None:
    known, unknown = made_comparison(slices=1), made_comparison(slices=1, reference=False, volumes=("p",))
    for row in unknown.rows:
        row.acceleration = 4.0  # the same setting as the other volumes
    for panel in unknown.panels:
        panel.acceleration = 4.0
    both = Comparison(known.rows + unknown.rows, known.panels + unknown.panels, known.provenance)
    text = squeezed(Page(write_report(tmp_path, both)).text)
    assert "tv-bart leads" in text
    assert "where no fully sampled reference exists no method can be called best" in text
    assert (tmp_path / "images" / "recon-equispaced_fraction-R4-no-reference.png").exists()


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    comparison = made_comparison(
        slices=1, methods=("zero-filled", evil, "</script><img src=x>"), volumes=('"><b>vol</b>', "脳 & Gehirn.h5")
    )
    comparison.provenance["command"] = "compare '</code><i>'"
    comparison.rows[0].details = {"<u>key</u>": "<u>value</u>"}
    written = write_report(tmp_path, comparison)
    found = Page(written)
    plain = Page(write_report(tmp_path / "plain", made_comparison(slices=1)))
    assert set(found.tags) == set(plain.tags)  # no tag came in by a name
    assert found.tags.count("script") == plain.tags.count("script") == 2
    assert all(address.startswith("data:") for address in found.addresses)
    for name in (evil, '"><b>vol</b>', "脳 & Gehirn.h5", "</code><i>", "<u>value</u>"):
        assert name in found.text
    assert evil in found.data["methods"]


def test_mask_names_make_safe_and_different_files(tmp_path: Path) -> None:
    first, second = (made_comparison(slices=1, accelerations=(4.0,), mask=name) for name in ("../a b", "../a?b"))
    both = Comparison(first.rows + second.rows, first.panels + second.panels, first.provenance)
    write_report(tmp_path / "out", both)
    names = sorted(path.name for path in (tmp_path / "out" / "images").glob("*.png"))
    assert names == ["boxplots.png", "recon-..-a-b-R4-2.png", "recon-..-a-b-R4.png"]


def test_not_finite_values(tmp_path: Path) -> None:
    comparison = made_comparison(slices=1, volumes=("a",))
    panel, row = comparison.panels[0], comparison.rows[0]
    panel.recons["zero-filled"][3:5, 7:10] = np.nan
    panel.scores["zero-filled"]["psnr"] = math.nan
    row.psnr, row.slice_psnr, row.kspace_residual = math.nan, [math.nan], math.inf
    found = Page(write_report(tmp_path, comparison))
    assert "NaN" in found.text
    method = found.data["panels"][0]["methods"][0]
    assert method["notFinite"] == 6
    assert method["scores"][0] == {"label": "PSNR", "text": "NaN", "best": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ("tv",), "volumes": ("one.png",), "slices": 1, "accelerations": (4.0,)},
        {"shape": (40, 96), "slices": 1},
        {"shape": (65, 33), "slices": 1},
    ],
)
def test_other_sizes(tmp_path: Path, changes: dict) -> None:
    comparison = made_comparison(**changes)
    found = Page(write_report(tmp_path, comparison))
    height, width = changes.get("shape", (64, 64))
    assert found.data["aspect"] == pytest.approx(width / height)
    assert "(best)" not in found.text or len(changes.get("methods", "ab")) > 1


def test_nothing_finished(tmp_path: Path) -> None:
    text = squeezed(Page(write_report(tmp_path, Comparison([], [], {}))).text)
    assert "No reconstruction finished" in text
    assert list((tmp_path / "images").iterdir()) == []


def test_rows_without_panels_and_panels_without_rows(tmp_path: Path) -> None:
    comparison = made_comparison(slices=1)
    assert "tv-bart leads" in Page(write_report(tmp_path, Comparison(comparison.rows, [], {}))).text
    assert Page(write_report(tmp_path, Comparison([], comparison.panels, {}))).data["panels"]


def test_many_slices_are_thinned_evenly_and_this_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "MAX_PIXELS", 40 * 7 * 64 * 64)
    found = Page(write_report(tmp_path, made_comparison(slices=40, volumes=("a",))))
    slices = [entry["slice"] for entry in found.data["panels"] if entry["setting"] == 0]
    assert len(slices) == 20
    assert slices[0] == 0
    assert slices[-1] == 39
    assert set(np.diff(slices)) <= {2, 3}
    assert [entry["slice"] for entry in found.data["panels"] if entry["setting"] == 1] == slices
    assert "The viewer holds 20 of 40 slices, evenly spaced; the table" in squeezed(found.text)


def test_slices_of_the_rows_are_counted_too(tmp_path: Path) -> None:
    """A volume of 20 slices of which a panel shows one: the reader must not take it for all."""
    comparison = made_comparison(slices=1, volumes=("a",))
    for row in comparison.rows:
        row.slices = 20
    text = squeezed(Page(write_report(tmp_path, comparison)).text)
    assert "The viewer holds 1 of 20 slices;" in text
    assert "images, 0.0 MB in this page" in text


def test_panels_beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = made_comparison(slices=3, volumes=("a",), accelerations=(4.0,), shape=(32, 32))
    monkeypatch.setattr(viewer, "MAX_PIXELS", 1000)
    comparison.place = "auto"
    found = Page(write_report(tmp_path, comparison))
    files = sorted(path.name for path in (tmp_path / "panels").iterdir())
    assert sorted(found.data["images"]) == [f"panels/{name}" for name in files]
    assert found.data["shown"] == 3, "none is left out"
    assert f"{len(files)} images" in found.data["size"]
    inside = Page(write_report(tmp_path / "inside", replace(comparison, place="inside")))
    assert inside.data["shown"] < 3
    for address in found.data["images"]:
        with Image.open(tmp_path / address) as image:
            image.verify()
    monkeypatch.undo()
    write_report(tmp_path, comparison)
    assert not (tmp_path / "panels").exists(), "nothing of the older report is left"


def test_a_new_report_removes_the_figures_of_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    write_report(tmp_path, made_comparison(slices=1))
    mine = tmp_path / "images" / "recon-mine.png"
    mine.write_text("keep")
    write_report(tmp_path, made_comparison(slices=1, accelerations=(4.0,)))
    assert sorted(path.name for path in (tmp_path / "images").glob("*.png")) == [
        "boxplots.png",
        "recon-equispaced_fraction-R4.png",
        "recon-mine.png",
    ]
    remove_report(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


def test_a_page_cannot_have_files_elsewhere_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim.png"
    victim.write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("../victim.png", "/etc/passwd", "images/../../victim.png", "..", "a/b/victim.png"):
        (out / "report.html").write_text(f'<meta name="files" content="{name}">')
        assert [path for path in report_files(out) if not path.parent.samefile(out)] == []
        remove_report(out)
    assert victim.exists()


def test_rows_are_best_first(page: Page) -> None:
    text = squeezed(page.text)
    table = text[text.index("equispaced_fraction, R = 4") :]
    assert table.index("tv-bart ") < table.index(" tv ") < table.index("zero-filled")


@pytest.mark.slow
def test_size_of_a_typical_report(tmp_path: Path) -> None:
    """Noise compresses worst: five slices, six methods, two settings at 256 x 256 stay near 8 MB even then."""
    comparison = made_comparison(
        methods=("zero-filled", "tv", "tv-bart", "wavelet-bart", "modl", "ga_hqs"),
        volumes=("a",),
        slices=5,
        shape=(256, 256),
    )
    assert write_report(tmp_path, comparison).stat().st_size < 8e6


def test_shapes_that_differ_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    comparison = made_comparison(slices=1)
    comparison.panels[0].recons["tv"] = np.zeros((3, 4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"volume_a.h5 slice 0: tv has shape \(3, 4\), expected \(64, 64\)"):
        write_report(tmp_path / "out", comparison)
    assert not (tmp_path / "out").exists()


def test_failure_leaves_the_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = made_comparison(slices=1, accelerations=(4.0,))
    written = write_report(tmp_path, comparison)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    real = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        if "report.html" in path.name:
            real(path, content[:100])
            raise OSError(28, "No space left on device", str(path))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, comparison)
    assert written.read_bytes() == before[written]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(before)  # no temporary file is left


def test_equal_comparisons_give_equal_pages(tmp_path: Path) -> None:
    one, two = (write_report(tmp_path / name, made_comparison(slices=1)) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
