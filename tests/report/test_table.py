from __future__ import annotations

import io
import re

from rich.console import Console

from csmri_ext.report.rows import Row
from csmri_ext.report.table import print_tables


def row(method: str, volume: str, psnr: float | None, ssim: float | None = 0.9, acceleration: float = 4) -> Row:
    return Row(method, "random", acceleration, volume, 2, 0.1, 0.2, psnr, ssim, 1.0, 0, None)


def printed(rows: list[Row], *, color: bool = False, width: int = 150) -> str:
    text = io.StringIO()
    print_tables(rows, "variant X", Console(file=text, width=width, force_terminal=color, color_system="standard"))
    return text.getvalue()


def test_best_method_comes_first_and_its_values_are_bold() -> None:
    rows = [row("poor", "a", 20.0, 0.95), row("good", "a", 30.0, 0.85)]
    plain = printed(rows)
    assert plain.index("good") < plain.index("poor")
    colored = printed(rows, color=True)
    assert "\x1b[1m30.00\x1b[0m" in colored
    assert "\x1b[1m0.9500\x1b[0m" in colored, "the best SSIM is bold in whichever line it is"
    assert "\x1b[1m20.00" not in colored


def test_one_block_per_setting_with_mean_and_standard_deviation() -> None:
    rows = [row("m", "a", 20.0), row("m", "b", 24.0), row("m", "a", 10.0, acceleration=8)]
    text = printed(rows)
    assert "random, R = 4 (2 volumes, mean ± standard deviation over volumes)" in text
    assert "22.00 ± 2.83" in text
    assert "random, R = 8 (1 volume)" in text
    assert text.count("variant X") == 1


def test_without_reference_no_metric_is_shown() -> None:
    text = printed([Row("m", "acquired", None, "a", 1, None, None, None, None, 1.0, 0, None, 0.05)])
    assert "no fully sampled reference" in text
    assert "PSNR" not in text
    assert "variant X" not in text
    assert "0.05" in text


def test_method_that_lacks_volumes_says_so() -> None:
    text = printed([row("m", "a", 20.0), row("m", "b", 24.0), row("n", "a", 30.0)])
    assert "n (1 of 2 volumes)" in text


def test_a_narrow_terminal_gets_fewer_columns_never_cut_numbers() -> None:
    rows = [row(method, volume, psnr) for method, psnr in (("a", 20.0), ("b", 21.0)) for volume in ("v", "w")]
    for one in rows:
        one.parameters, one.flops = 1_234_567, 82_500_000_000
    wide, narrow, narrower = (printed(rows, width=width) for width in (150, 80, 60))
    assert all(heading in wide for heading in ("NMSE", "Parameters", "FLOPs / slice"))
    for text, width in ((narrow, 80), (narrower, 60)):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        table = [line for line in plain.splitlines() if not line.startswith(("random", "metrics"))]
        assert max(map(len, table)) <= width
        assert "…" not in text
        assert "PSNR (dB)" in text
        assert "SSIM" in text
    assert "NMSE" not in narrow
    assert "Parameters" in narrow
