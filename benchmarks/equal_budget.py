"""Networks of an equal budget side by side: the means of several judgements, and paired differences.

    python -m benchmarks.equal_budget NAME=quality.json ... [--against ga_hqs]

Each quality.json comes from `python -m benchmarks.quality --out`. A slice counts once: the mean over its masks. The
difference to one network is paired slice by slice, with the two-sided p of Wilcoxon's signed-rank test, which cannot
be below 0.06 with five slices.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from csmri_ext.errors import InputError

Slices = dict[str, NDArray[np.float64]]  # network -> (PSNR and SSIM, slices), means over the masks


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("judged", nargs="+", metavar="NAME=FILE", help="what was judged, and its quality.json")
    parser.add_argument("--against", default="ga_hqs", metavar="NETWORK", help="of paired differences")
    args = parser.parse_args()
    try:
        print(table(read(args.judged, args.against), args.against))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def read(words: Sequence[str], against: str) -> dict[str, Slices]:
    """Read what ``NAME=FILE`` name; InputError unless each has all networks of the first one."""
    judged: dict[str, Slices] = {}
    for word in words:
        name, _, file = word.partition("=")
        if not name or not file:
            raise InputError(f"{word}: expected NAME=FILE")
        if name in judged:
            raise InputError(f"{word}: {name} was named before")
        try:
            of = per_slice(json.loads(Path(file).read_text()))
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise InputError(f"{file} is not what benchmarks.quality --out writes") from None
        if against not in of:
            raise InputError(f"{file} has no {against}, but {', '.join(of)}: --against one of them")
        if lacking := [network for network in next(iter(judged.values()), of) if network not in of]:
            raise InputError(f"{file} has no {', '.join(lacking)}, which the first file has")
        judged[name] = of
    return judged


def per_slice(found: dict[str, Any]) -> Slices:
    """Mean over the mask settings of PSNR and SSIM of each slice."""
    settings = [setting["scores"] for setting in found.values()]
    means = {name: np.mean([scores[name] for scores in settings], axis=0) for name in settings[0]}
    if any(mean.ndim != 2 or len(mean) != 2 or not mean.size for mean in means.values()):
        raise ValueError("expected PSNR and SSIM of each slice")
    return means


def table(judged: dict[str, Slices], against: str) -> str:
    """Markdown: a row for each network, best mean PSNR first; a column for what was judged, one for the differences."""
    names = sorted(
        next(iter(judged.values())), key=lambda name: -np.mean([of[name][0].mean() for of in judged.values()])
    )
    head = [cell for data in judged for cell in (data, f"dB to {against}")]
    lines = [f"| network | {' | '.join(head)} |", f"|{'---|' * (len(head) + 1)}"]
    for name in names:
        cells = []
        for of in judged.values():
            psnr, ssim = of[name].mean(axis=1)
            cells += [f"{psnr:.2f} / {ssim:.4f}", "" if name == against else difference(of[name][0], of[against][0])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(psnr: NDArray[np.float64], of_other: NDArray[np.float64]) -> str:
    """Mean of the paired differences, on how many slices the other is better, and p."""
    by = psnr - of_other
    p = 1.0 if not by.any() else float(wilcoxon(by).pvalue)
    return f"{by.mean():+.2f}, behind on {int((by < 0).sum())} of {len(by)}, p {p:.2g}"


if __name__ == "__main__":
    main()
