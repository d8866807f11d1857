from __future__ import annotations

import io

from rich.console import Console

from baselines.results import Row
from baselines.table import print_tables


def row(method: str, volume: str, psnr: float | None, ssim: float | None = 0.9, acceleration: float = 4) -> Row:
    return Row(method, "random", acceleration, volume, 2, 0.1, 0.2, psnr, ssim, 1.0, 0, None)


def printed(rows: list[Row], *, color: bool = False) -> str:
    text = io.StringIO()
    print_tables(rows, "variant X", Console(file=text, width=150, force_terminal=color, color_system="standard"))
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
