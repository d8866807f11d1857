"""The speed tables of the README, from the numbers of `ops_speed`."""

from __future__ import annotations

from typing import Any

BEGIN, END = "<!-- speed -->", "<!-- end of speed -->"


def markdown(results: dict[str, Any]) -> str:
    """Machine, cases, call overhead, instruction sets, alternation with torch."""
    tuned = [run for run in results["runs"] if run["allocator"] == "tuned"]
    default = {run["threads"]: run for run in results["runs"] if run["allocator"] == "default"}
    paragraphs = [_machine(results, tuned), _cases(tuned, default), _overhead(tuned)]
    paragraphs += [_levels(results["levels"])] if results["levels"] else []
    paragraphs += [_alternation(results["alternation"])] if results["alternation"] else []
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _machine(results: dict[str, Any], tuned: list[dict[str, Any]]) -> str:
    threads = " / ".join(str(run["threads"]) for run in tuned)
    fma = " / ".join(f"{run['fma_gflops']:.0f}" for run in tuned)
    copy = " / ".join(f"{run['copy_gbytes']:.1f}" for run in tuned)
    return (
        f"{tuned[0]['machine']}; {threads} thread(s) throughout. Ceilings of the same run: {fma} Gflop/s, copy "
        f"{copy} GB/s. Median of {results['repetitions']} alternating repetitions, float32. Of the floor: larger of "
        "bytes / copy rate and flops / peak, over our time. Times faster: above 1 we win; in brackets with glibc's "
        "default allocator, which gives memory back after every call, so that torch pays for page faults."
    )


def _is_overhead(row: dict[str, Any]) -> bool:
    return "overhead" in row["name"]


def _cases(tuned: list[dict[str, Any]], default: dict[int, dict[str, Any]]) -> str:
    lines = ["| case | ours, ms | of the floor | against | times faster | target |", "|---|---|---|---|---|---|"]
    for i, row in enumerate(tuned[0]["rows"]):
        if _is_overhead(row):
            continue
        each = [run["rows"][i] for run in tuned]
        ours = " / ".join(f"{r['ms']['ours']:.3g}" for r in each)
        floor = " / ".join(f"{100 * r['floor_ms'] / r['ms']['ours']:.0f}" for r in each) + f" % of {row['bound']}"
        for j, rival in enumerate(row["ratio"]):
            ratios = " / ".join(f"{r['ratio'][rival]:.1f}" for r in each)
            others = [default[run["threads"]]["rows"][i]["ratio"].get(rival) for run in tuned if default]
            ratios += f" ({' / '.join(f'{r:.1f}' for r in others)})" if others and None not in others else ""
            ratios += " **we lose**" if min(r["ratio"][rival] for r in each) < 1 else ""
            first = [row["case"], ours, floor] if j == 0 else ["", "", ""]
            lines.append("| " + " | ".join([*first, rival, ratios, row["target"] if j == 0 else ""]) + " |")
    return "\n".join(lines)


def _overhead(tuned: list[dict[str, Any]]) -> str:
    rows = [row for row in tuned[0]["rows"] if _is_overhead(row)]
    if not rows:
        return ""
    lines = ["| cost of a call: batch 1, 16 x 16 | ours, us | torch, us |", "|---|---|---|"]
    for row in rows:
        rivals = ", ".join(f"{1e3 * ms:.0f} ({name})" for name, ms in row["ms"].items() if name != "ours")
        lines.append(f"| {row['case'].split(',')[0]} | {1e3 * row['ms']['ours']:.0f} | {rivals} |")
    return "\n".join(lines)


def _levels(levels: list[dict[str, Any]]) -> str:
    names = [level["simd"] for level in levels]
    lines = [f"| ours, 1 thread, ms (of the floor) | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for i, row in enumerate(levels[0]["rows"]):
        each = [level["rows"][i] for level in levels]
        cells = [f"{r['ms']['ours']:.3g} ({100 * r['floor_ms'] / r['ms']['ours']:.0f} %)" for r in each]
        lines.append(f"| {row['case']} | {' | '.join(cells)} |")
    peaks = ", ".join(f"{level['simd']} {level['fma_gflops']:.0f}" for level in levels)
    return "\n".join([*lines, "", f"Measured peaks, Gflop/s: {peaks}."])


def _alternation(measured: list[dict[str, Any]]) -> str:
    threads = " / ".join(str(m["threads"]) for m in measured)
    lines = [f"| {threads} thread(s), ms | repeated | alternating with the others |", "|---|---|---|"]
    for name in measured[0]["alone_ms"]:
        alone = " / ".join(f"{m['alone_ms'][name]:.3g}" for m in measured)
        mixed = " / ".join(f"{m['alternating_ms'][name]:.3g}" for m in measured)
        lines.append(f"| {name} | {alone} | {mixed} |")
    return "\n".join(lines)


def put_after_marker(text: str, table: str) -> str:
    """Replace what stands between the markers, or put it after the first one.

    Raises
    ------
    ValueError
        If `text` does not contain the marker.
    """
    if BEGIN not in text:
        raise ValueError(f"no line {BEGIN} to put the table after")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1] if END in rest else rest
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
