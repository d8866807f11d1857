"""The provenance section of a report: versions, command lines, masks, and what each method chose."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from csmri_ext.report.rows import Comparison
from csmri_ext.report.summary import Group

LABELS = {
    "command": "Command",
    "date": "Date",
    "inputs": "Inputs",
    "metric": "Metrics",
    "seed": "Seed",
    "csmri_ext": "csmri_ext",
    "bart": "BART",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "python": "Python",
    "simd": "CPU kernels",
    "earlier_runs": "Other runs",
}
# shown in tables of their own, or at the top of the page
ELSEWHERE = {"bart_argv", "masks", "notes", "statistics", "planned", "completeness", "failed", "stopped"}
COMMAND_KEYS = {"argv", "bart_argv", "command"}
DETAIL_LABELS = {
    "weight_grid": "chosen from",
    "argv": "command",
    "bart_argv": "command",
    "sens_maps": "coil sensitivities",
    "sens_maps_zero": "share of pixels where they are 0",
}
FILES = {"recon"}  # details that name output, and say nothing about the method


def provenance_context(comparison: Comparison, groups: Sequence[Group]) -> dict[str, Any]:
    """Gather the section for the template.

    Returns
    -------
        ``entries``: (label, value, is a command); ``choices``: what each method chose at each setting; ``commands``:
        (method, command line) of those whose rows did not record one; ``tuned``: what every regularization weight was
        chosen by; ``masks``: one entry per different mask.
    """
    tuned = _tuned(comparison.provenance.get("tuning"))
    choices = _choices(groups, {entry["how"] for entry in tuned})
    shown = {choice["method"] for choice in choices if any(is_command for _, _, is_command in choice["entries"])}
    commands = comparison.provenance.get("bart_argv") or {}
    return {
        "entries": _entries(comparison.provenance, any(group.has_reference for group in groups)),
        "choices": choices,
        "tuned": tuned,
        "commands": [(method, _command(argv)) for method, argv in commands.items() if method not in shown],
        "masks": _masks(comparison),
    }


def _entries(provenance: dict[str, Any], judged: bool) -> list[tuple[str, Any, bool]]:
    """(label, value, is a command) in a fixed order, unknown entries last."""
    shown = dict(provenance)
    if "bart" in shown and shown["bart"] is None:
        shown["bart"] = "not used"
    if "metric" in shown and not judged:
        shown["metric"] = "none: there is no fully sampled reference"
    if are_records(shown.get("inputs")) and "kspace" in shown["inputs"][0]:
        shown["inputs"] = [_input(entry) for entry in shown["inputs"]]
    hidden = ELSEWHERE | ({"tuning"} if _tuned(shown.get("tuning")) else set())
    known = [key for key in LABELS if key in shown]
    unknown = [key for key in shown if key not in LABELS and key not in hidden]
    return [(LABELS.get(key, _title(key)), shown[key], key == "command") for key in known + unknown]


def _title(key: str) -> str:
    plain = key.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def _input(entry: dict[str, Any]) -> dict[str, Any]:
    """Write an entry of `Volume.describe` for people: extents with crosses, slices by their first and last number."""
    first, end = entry["slices"]
    slices, coils, ny, nx = entry["kspace"]
    empty = f", {len(entry['skipped'])} empty left out" if entry.get("skipped") else ""
    return {
        "volume": entry["volume"],
        "source": entry["source"],
        "SHA-256": f"{entry['sha256'][:16]}…",
        "slices": (f"{first}" if end == first + 1 else f"{first}–{end - 1}") + f" (of {slices}{empty})",
        "coils": coils,
        "ny × nx": f"{ny} × {nx}",
        "image": " × ".join(map(str, entry["image_size"])),
        "fully sampled": entry["fully_sampled"],
    }


def _tuned(tuning: Any) -> list[dict[str, Any]]:
    """List every search of a weight: its title, the weights chosen, the errors of all that were tried, and how."""
    if not isinstance(tuning, dict) or not all(
        isinstance(entry, dict) and "table" in entry for entry in tuning.values()
    ):
        return []
    entries = []
    for title, entry in tuning.items():
        (metric,) = set(entry["table"][0]) - {"weight", "chosen"}
        entries.append(
            {
                "title": title,
                "chosen": _by_volume({label: f"{weight:g}" for label, weight in entry["weights"].items()}),
                "metric": metric.upper(),
                "tried": [
                    (f"{row['weight']:g}", "–" if row[metric] is None else f"{row[metric]:.4g}", row["chosen"])
                    for row in entry["table"]
                ],
                "how": entry["how"],
            }
        )
    return entries


def _choices(groups: Sequence[Group], said: set[str]) -> list[dict[str, Any]]:
    """List what the methods chose (`Row.details`): one entry per method and setting, volumes named if they differ.

    Texts in `said` stand elsewhere on the page and are left out.
    """
    choices = []
    for group in groups:
        for line in group.lines:
            rows = [row for row in group.rows if row.method == line.method]
            items = []
            for key in dict.fromkeys(key for row in rows for key in row.details if key not in FILES):
                texts = {row.volume: _detail(key, row.details[key]) for row in rows if key in row.details}
                line_of_all = _by_volume(texts)
                if line_of_all in said:
                    continue
                items.append((DETAIL_LABELS.get(key, key.replace("_", " ")), line_of_all, key in COMMAND_KEYS))
            if items:
                choices.append({"method": line.method, "setting": group.setting.title, "entries": items})
    return choices


def _by_volume(texts: dict[str, str]) -> str:
    """Say once what most volumes share, and name the others: ``0.02; for b.png, c.png: 0.05``."""
    volumes: dict[str, list[str]] = {}
    for name, text in texts.items():
        volumes.setdefault(text, []).append(name)
    usual = max(volumes, key=lambda text: len(volumes[text]))
    if len(volumes[usual]) == 1 and len(volumes) > 1:  # nothing is usual
        return "; ".join(f"{name}: {text}" for name, text in texts.items())
    others = [f"for {', '.join(names)}: {text}" for text, names in volumes.items() if text != usual]
    return "; ".join([usual, *others])


def _detail(key: str, value: Any) -> str:
    return _command(value) if key in COMMAND_KEYS else words(value)


def _command(argv: Any) -> str:
    return shlex.join(map(str, argv)) if isinstance(argv, (list, tuple)) else str(argv)


def words(value: Any) -> str:
    """Write a value of the provenance in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {words(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def are_records(value: Any) -> bool:
    """Whether a value is a list of mappings with the same keys, which reads best as a table."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(entry, dict) and list(entry) == list(value[0]) for entry in value)
    )


def are_texts(value: Any) -> bool:
    """Whether a value is a list of sentences rather than of names or numbers."""
    return isinstance(value, list) and any(isinstance(entry, str) and len(entry) > 40 for entry in value)


def _masks(comparison: Comparison) -> list[dict[str, Any]]:
    """Every different mask with its volumes, from the provenance, or from the panels where that lists none."""
    entries = comparison.provenance.get("masks") or [
        {
            "kind": panel.mask,
            "volume": panel.volume,
            "acceleration": panel.acceleration,
            "shape": panel.sampling.shape,
            "hash": panel.mask_hash,
            "sampled": float(panel.sampling.mean()) if panel.sampling.size else None,
        }
        for panel in comparison.panels
    ]
    masks: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries:
        sampled = entry.get("sampled")
        acceleration = entry.get("acceleration")
        mask = {
            "kind": str(entry.get("kind", "")),
            "acceleration": "–" if acceleration is None else f"{acceleration:g}",
            "effective": f"{1 / sampled:.2f}" if sampled else "–",
            "sampled": "–" if sampled is None else f"{100 * sampled:.1f} %",
            "shape": " × ".join(map(str, entry.get("shape") or ())),
            "hash": str(entry.get("hash", "")),
        }
        known = masks.setdefault(tuple(mask.values()), mask | {"volumes": []})
        if entry.get("volume") is not None and entry["volume"] not in known["volumes"]:
            known["volumes"].append(str(entry["volume"]))
    return list(masks.values())
