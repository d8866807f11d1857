"""The tables of `gpu_all` from its JSON."""

from __future__ import annotations

from typing import Any


def markdown(results: dict[str, Any]) -> str:
    """Card, checks, cases, models."""
    fast = results["variants"]["fast"]
    rates = fast["ceilings"]
    head = (
        f"{fast['gpu']}, torch {fast['torch']}. Ceilings of this run: copy {rates['copy'] / 1e9:.0f} GB/s, products "
        f"fp32 {rates['fp32'] / 1e12:.0f}, tf32 {rates['tf32'] / 1e12:.0f}, bf16 {rates['bf16'] / 1e12:.0f} Tflop/s. "
        "Microseconds per call; as a CUDA graph, in brackets eager."
    )
    checks = [f"- {name}: {'passed' if check['exit'] == 0 else 'FAILED'}" for name, check in results["checks"].items()]
    return "\n\n".join([head, "\n".join(checks), _cases(results), _models(fast)]) + "\n"


def _cases(results: dict[str, Any]) -> str:
    fast, portable = results["variants"]["fast"], results["variants"].get("portable")
    rates = fast["ceilings"]
    lines = [
        "| case | ours | of the floor | GB/s, Tflop/s | portable bodies | against | its time | faster | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for i, row in enumerate(fast["cases"]):
        ours = row["ways"]["ours"]
        if "graph_us" not in ours:
            lines.append(f"| {row['case']} | {ours.get('error', 'failed')} | | | | | | | |")
            continue
        floor = 1e6 * max(row["bytes"] / rates["copy"], row["flops"] / rates["fp32"])
        rate = f"{row['bytes'] / ours['graph_us'] / 1e3:.0f}, {row['flops'] / ours['graph_us'] / 1e6:.1f}"
        first = [row["case"], _times(ours), f"{100 * floor / ours['graph_us']:.0f} %", rate]
        first.append(_times(portable["cases"][i]["ways"]["ours"]) if portable else "")
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        rivals = [name for name in row["ways"] if name != "ours"] or [""]
        for j, rival in enumerate(rivals):
            way = row["ways"].get(rival, {})
            ratio = f"{way['graph_us'] / ours['graph_us']:.1f}" if "graph_us" in way else ""
            lead = first if j == 0 else [""] * len(first)
            lines.append("| " + " | ".join([*lead, rival, _times(way), ratio, error if j == 0 else ""]) + " |")
    return "\n".join(lines)


def _models(fast: dict[str, Any]) -> str:
    lines = ["| network | batch | ours | twins | torch.compile of the twins | peak MB |", "|---|---|---|---|---|---|"]
    for row in fast["models"]:
        if "failed" in row:
            lines.append(f"| {row['name']} | {row['batch']} | {row['failed']} | | | |")
            continue
        cells = [_times(row["ways"][way]) for way in ("ours", "twins", "torch.compile of the twins")]
        lines.append(f"| {row['name']} | {row['batch']} | {' | '.join(cells)} | {row['peak_bytes'] / 1e6:.0f} |")
    return "\n".join(lines) if fast["models"] else ""


def _times(way: dict[str, Any]) -> str:
    if "graph_us" in way:
        return f"{way['graph_us']:.1f} ({way['eager_us']:.1f})"
    return str(way.get("error", ""))
