from __future__ import annotations

import math

from csmri_ext.report.rows import Row
from csmri_ext.report.summary import summarise
from csmri_ext.report.verdict import verdict


def rows(
    scores: dict[str, tuple[float, float]],
    *,
    acceleration: float | None = 4.0,
    volume: str = "a",
    reference: bool = True,
) -> list[Row]:
    """One row per method; ``scores`` is method -> (psnr, ssim), or (residual, _) without a reference."""
    return [
        Row(
            method=method,
            mask="random" if reference else "acquired",
            acceleration=acceleration if reference else None,
            volume=volume,
            slices=1,
            mse=0.1 if reference else None,
            nmse=0.1 if reference else None,
            psnr=psnr if reference else None,
            ssim=ssim if reference else None,
            seconds=1.0,
            parameters=0,
            flops=None,
            kspace_residual=None if reference else psnr,
        )
        for method, (psnr, ssim) in scores.items()
    ]


def say(*parts: list[Row]) -> str:
    return verdict(summarise([row for part in parts for row in part]))


def test_one_winner_and_by_how_much() -> None:
    assert say(rows({"zero-filled": (25.0, 0.7), "tv": (30.0, 0.85), "wavelet": (29.0, 0.8)})) == (
        "With random sampling at R = 4, tv leads in PSNR (30.00 dB, 1.00 dB above wavelet) "
        "and in SSIM (0.850, 0.050 above wavelet)."
    )


def test_twins_are_level() -> None:
    text = say(rows({"zero-filled": (25.0, 0.7), "tv": (30.0, 0.85), "tv-bart": (30.0001, 0.8501)}))
    assert "tv and tv-bart are level in the lead in PSNR (30.00 dB, 5.00 dB above zero-filled)" in text


def test_all_level_claims_no_margin() -> None:
    assert "above" not in say(rows({"tv": (30.0, 0.85), "tv-bart": (30.0, 0.85)}))


def test_metrics_that_disagree() -> None:
    text = say(rows({"tv": (30.0, 0.80), "wavelet": (29.0, 0.85)}))
    assert "tv leads in PSNR (30.00 dB, 1.00 dB above wavelet), but wavelet in SSIM (0.850, 0.050 above tv)" in text


def test_a_lead_on_the_mean_only() -> None:
    text = say(
        rows({"tv": (30.0, 0.85), "wavelet": (25.0, 0.8)}, volume="a"),
        rows({"tv": (28.0, 0.83), "wavelet": (29.0, 0.8)}, volume="b"),
    )
    assert "2.00 dB above wavelet, though on only 1 of 2 volumes" in text
    assert text.count("though") == 1  # the lead in SSIM holds on both


def test_two_settings_do_not_repeat_the_mask() -> None:
    scores = {"tv": (30.0, 0.85), "zero-filled": (25.0, 0.8)}
    text = say(rows(scores, acceleration=4), rows(scores, acceleration=8))
    assert text.count("random") == 1
    assert "; at R = 8, tv leads" in text


def test_many_settings_are_counted() -> None:
    tv_wins = [rows({"tv": (30.0 + r, 0.85), "net": (29.0, 0.8)}, acceleration=r) for r in (2, 3, 4, 5)]
    net_wins = rows({"tv": (30.0, 0.85), "net": (31.0, 0.8)}, acceleration=6)
    assert say(*tv_wins, net_wins) == (
        "In PSNR, tv leads at 4 of 5 settings (by 3.00 dB to 6.00 dB) and net leads at 1 of 5 settings (by 1.00 dB); "
        "in SSIM, tv leads at all 5 settings (by 0.050)."
    )


def test_one_method_has_nothing_to_beat() -> None:
    text = say(rows({"tv": (30.0, 0.85)}))
    assert "only tv was run (PSNR 30.00 dB, SSIM 0.850)" in text
    assert "leads" not in text


def test_no_reference_no_winner() -> None:
    text = say(rows({"tv": (0.02, 0), "tv-bart": (0.03, 0)}, reference=False))
    assert text == (
        "Without a fully sampled reference no method can be called best: the k-space residual is 0.02 for tv and 0.03 "
        "for tv-bart, which is agreement with the samples, not image quality."
    )


def test_with_and_without_reference() -> None:
    text = say(rows({"tv": (30.0, 0.85), "net": (31.0, 0.9)}), rows({"tv": (0.02, 0)}, volume="b", reference=False))
    assert "net leads" in text
    assert "where no fully sampled reference exists no method can be called best" in text


def test_a_method_that_lacks_a_volume_is_ranked_on_the_common_ones_and_this_is_said() -> None:
    """Volume b is easy for everybody: whoever lacks it must not look worse for that."""
    a = rows({"tv": (30.0, 0.85), "zero-filled": (25.0, 0.7), "net": (32.0, 0.9)}, volume="a")
    b = rows({"tv": (44.0, 0.99), "zero-filled": (40.0, 0.95)}, volume="b")
    assert say(a, b) == (
        "With random sampling at R = 4, net leads in PSNR (32.00 dB, 2.00 dB above tv) and in SSIM (0.900, 0.050 above "
        "tv), on the 1 of 2 volumes that all of them have."
    )


def test_a_method_without_a_common_volume_is_not_ranked_and_this_is_said() -> None:
    both = [rows({"tv": (30.0, 0.85), "zero-filled": (25.0, 0.7)}, volume=volume) for volume in ("a", "b")]
    text = say(*both, rows({"net": (40.0, 0.95)}, volume="c"))
    assert "tv leads in PSNR (30.00 dB" in text
    assert "on the 2 of 3 volumes that all of them have" in text
    assert "net not ranked for want of some volumes or numbers" in text


def test_counted_settings_keep_every_reservation() -> None:
    """From four settings up leads are counted; who is not ranked and who is ahead on some volumes only stays said."""
    parts = []
    for acceleration in (2, 3, 4, 5):
        parts.append(rows({"tv": (34.0, 0.85), "net": (30.0, 0.8)}, acceleration=acceleration, volume="a"))
        parts.append(rows({"tv": (30.0, 0.85), "net": (31.0, 0.8)}, acceleration=acceleration, volume="b"))
    parts.append(rows({"far": (50.0, 0.99)}, acceleration=2, volume="c"))
    text = say(*parts)
    assert "though on only 1 of 2 volumes at 4 settings" in text
    assert "far not ranked for want of some volumes or numbers at random, R = 2" in text
    assert "compared on the 2 of 3 volumes that all of them have at random, R = 2" in text
    missing = rows({"tv": (34.0, 0.85)}, acceleration=5, volume="z")
    assert "compared on the 2 of 3 volumes that all of them have at random, R = 5" in say(*parts[:-1], missing)


def test_nan_and_infinity() -> None:
    text = say(rows({"tv": (math.nan, math.nan), "exact": (math.inf, 1.0), "zero-filled": (25.0, 0.7)}))
    assert "exact leads in PSNR (inf dB" in text
    assert "tv not ranked" in text
    assert "none can be called best" in say(rows({"a": (math.nan, math.nan), "b": (math.nan, math.nan)}))


def test_nothing_finished() -> None:
    assert verdict([]) == "No reconstruction finished, so there is nothing to compare."


def test_a_tie_is_no_win() -> None:
    text = say(
        rows({"tv": (30.0, 0.85), "wavelet": (25.0, 0.8)}, volume="a"),
        rows({"tv": (28.0, 0.83), "wavelet": (28.0, 0.8)}, volume="b"),
    )
    assert "2.50 dB above wavelet, though on only 1 of 2 volumes" in text


def test_a_fifth_of_a_decibel_is_a_lead() -> None:
    text = say(rows({"tv": (30.0, 0.85), "wavelet": (29.8, 0.848)}))
    assert "tv leads in PSNR (30.00 dB, 0.20 dB above wavelet) and in SSIM (0.850, 0.002 above wavelet)" in text
