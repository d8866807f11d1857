"""Loss and validation PSNR of several training runs over their steps: ``python -m benchmarks.learning_curves RUN...``.

Each RUN is a folder of `csmri train`; ``--table`` prints the validation PSNR at every thousandth step as Markdown too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from csmri_ext.bridge.atomic import replacing
from csmri_ext.outputs import require_writable_file
from csmri_ext.training.curves import read_curves

SMOOTHED = 10  # epochs of the loss: masks and sizes differ from one to the next


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves of several runs in one figure.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of csmri train")
    parser.add_argument("--out", type=Path, default=Path("learning_curves.svg"), help="figure (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="print the validation PSNR as Markdown")
    args = parser.parse_args()
    require_writable_file(args.out)
    names = [json.loads((run / "run.json").read_text())["name"] for run in args.runs]
    curves = [read_curves(run) for run in args.runs]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in zip(names, curves, strict=True):
        loss = [value for _, value in found["loss_epoch"]]
        means = [sum(loss[i : i + SMOOTHED]) / SMOOTHED for i in range(len(loss) - SMOOTHED + 1)]
        left.plot([step for step, _ in found["loss_epoch"]][SMOOTHED - 1 :], means, lw=1.2, label=name)
        right.plot(*zip(*found["val_psnr"], strict=True), lw=1.2, label=name)
    left.set(title=f"training loss, mean of {SMOOTHED} epochs", xlabel="step", yscale="log")
    right.set(title="validation PSNR (dB)", xlabel="step")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as temporary:
        figure.savefig(temporary, format=args.out.suffix.removeprefix(".") or "svg")
    if args.table:
        # Counted from 0 or, once resumed, from 1.
        print(table(names, [{10 * round(step / 10): value for step, value in found["val_psnr"]} for found in curves]))


def table(names: list[str], psnr: list[dict[int, float]]) -> str:
    """Write the validation PSNR of each run at the steps where any was validated."""
    lines = [f"| step | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
    for step in sorted(set().union(*psnr)):
        cells = [f"{found[step]:.2f}" if step in found else "" for found in psnr]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
