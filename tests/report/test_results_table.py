"""The table of the page, and its copies for a paper and for a spreadsheet."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from made_comparison import made_comparison

from csmri_ext.report.results_table import as_latex, table_as_csv, table_context
from csmri_ext.report.rows import Comparison
from csmri_ext.report.rows_as_csv import as_csv, cell
from csmri_ext.report.statistics import paired_differences
from csmri_ext.report.summary import summarise


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made_comparison()


def latex(comparison: Comparison, headline: str = "") -> str:
    groups = summarise(comparison.rows)
    return as_latex(comparison, groups, paired_differences(groups), headline)


def records(comparison: Comparison, folder: Path) -> list[dict[str, str]]:
    groups = summarise(comparison.rows)
    (folder / "table.csv").write_bytes(table_as_csv(comparison, groups, paired_differences(groups)))
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_latex_has_one_cell_per_column(comparison: Comparison) -> None:
    text = latex(comparison)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert r"PSNR (dB) $\uparrow$" in text
    assert r"NMSE $\downarrow$" in text
    assert r"\textit{equispaced\_fraction, R = 4}" in text
    assert text.count(r"\textbf{") == 6, "the best of three metrics at two settings"
    body = [line for line in text.splitlines() if " & " in line]
    assert {line.count(" & ") for line in body} == {body[0].count(" & ")}
    assert text.index("tv-bart &") < text.index("tv &") < text.index("zero-filled &"), "best first"


def test_names_cannot_break_latex() -> None:
    text = latex(made_comparison(slices=1, methods=("zero-filled", r"100%_\evil{#&$~^}")))
    for name in ("[a]", "*"):  # after the end of a line they would be arguments
        assert f"\n{{{name[0]}}}{name[1:]} & " in latex(made_comparison(slices=1, methods=("zero-filled", name)))
    assert r"100\%\_\textbackslash{}evil\{\#\&\$\textasciitilde{}\textasciicircum{}\}" in text


def test_latex_of_a_partial_comparison_says_so(comparison: Comparison) -> None:
    assert latex(comparison, "Interrupted").startswith("% Interrupted\n\\begin{tabular}")


def test_csv_has_full_precision(comparison: Comparison, tmp_path: Path) -> None:
    lines = records(comparison, tmp_path)
    assert len(lines) == 6
    psnr = [row.psnr for row in comparison.rows if row.method == "tv" and row.acceleration == 4]
    (line,) = (one for one in lines if one["method"] == "tv" and one["acceleration"] == "4.0")
    assert float(line["psnr_mean"]) == pytest.approx(np.mean(psnr), rel=1e-12)
    assert line["baseline"] == "tv-bart"
    assert float(line["psnr_difference"]) < 0
    assert line["psnr_p_holm"] == "", "two volumes are too few for a test"


def test_differences_and_sensitivities_have_columns() -> None:
    comparison = made_comparison(slices=1, volumes=tuple("abcdefg"), accelerations=(4.0,))
    for row in comparison.rows:
        row.details["sens_maps"] = "bart ecalib -m 1 -r 24"
        row.psnr = (row.psnr or 0) + 0.001 * (ord(row.volume) - 90) * len(row.method)
    groups = summarise(comparison.rows)
    table = table_context(comparison, groups, paired_differences(groups))
    assert [column["heading"] for column in table["columns"]][-2:] == ["PSNR to baseline", "Coil maps"]
    lines = {line["method"]: line["cells"][-2:] for line in table["groups"][0]["lines"]}
    assert list(lines) == ["tv-bart", "tv", "zero-filled"]
    assert {maps["text"] for _, maps in lines.values()} == {"ESPIRiT (bart ecalib)"}
    assert lines["tv-bart"][0]["text"] == "baseline"
    assert re.fullmatch(r"−\d+\.\d\d dB", lines["tv"][0]["text"])
    assert re.fullmatch(r"\[−\d+\.\d\d, −\d+\.\d\d\], p = 0\.031", lines["tv"][0]["note"])
    text = latex(comparison)
    assert r"& PSNR to baseline & Coil maps \\" in text
    assert re.search(
        r"\ntv & .* & \$-\$\d\.\d\d dB \{\\small \{\[\}\$-\$.*\], p = 0\.031\} & ESPIRiT \(bart ecalib\) ", text
    )
    assert re.search(r"\ntv-bart & .* & baseline & ESPIRiT", text)
    head, *body = [line for line in text.splitlines() if " & " in line]
    (shape,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert {head.count(" & "), len(shape) - 1} == {line.count(" & ") for line in body}


def test_single_coil_without_a_test_has_none_of_them(comparison: Comparison) -> None:
    one = made_comparison(slices=1, methods=("tv",), volumes=("a",))
    table = table_context(one, summarise(one.rows), [])
    assert {"PSNR to baseline", "Coil maps"} & {column["heading"] for column in table["columns"]} == set()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", " =1", "\t=1", "\r=1"])
def test_cells_are_never_formulas(text: str) -> None:
    assert str(cell(text))[0] not in "=+-@\t\r"
    written = as_csv(["volume", "psnr"], [{"volume": text, "psnr": -1.5}]).decode()
    (line,) = csv.DictReader(written.splitlines())
    assert line["volume"].lstrip(" ")[0] not in "=+-@"
    assert line["psnr"] == "-1.5", "numbers stay numbers"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x00b", "a\x1b[31mb", "a\u2028b", "a\x85b"])
def test_cells_hold_no_control_characters(text: str) -> None:
    written = as_csv(["volume"], [{"volume": text}]).decode()
    assert written.count("\n") == 2
    assert all(character.isprintable() for character in written.replace("\n", ""))


def test_names_that_are_not_utf8_can_be_written() -> None:
    name = b"scan-\xff.h5".decode("utf-8", "surrogateescape")
    assert as_csv(["volume"], [{"volume": name}]) == b"volume\nscan-\\udcff.h5\n"
