"""The provenance section of a report: versions, command lines, masks, and what each method chose."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from baselines.results import Comparison
from baselines.summary import Group

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
}
TABULATED = {"bart_argv", "masks"}  # shown in tables of their own
COMMAND_KEYS = {"argv", "bart_argv", "command"}
DETAIL_LABELS = {
    "weight_grid": "chosen from",
    "argv": "command",
    "bart_argv": "command",
    "sens_maps": "coil sensitivities",
}
FILES = {"recon"}  # details that name output, and say nothing about the method


def provenance_context(comparison: Comparison, groups: Sequence[Group]) -> dict[str, Any]:
    """Everything of the section as text, ready for the template.

    Returns
    -------
        ``entries``: (label, text, is a command); ``choices``: what each method chose at each setting; ``commands``:
        (method, command line) of those whose rows did not record one; ``masks``: one entry per different mask.
    """
    choices = _choices(groups)
    shown = {choice["method"] for choice in choices if any(is_command for _, _, is_command in choice["entries"])}
    commands = comparison.provenance.get("bart_argv") or {}
    return {
        "entries": _entries(comparison.provenance, any(group.has_reference for group in groups)),
        "choices": choices,
        "commands": [(method, _command(argv)) for method, argv in commands.items() if method not in shown],
        "masks": _masks(comparison),
    }


def _entries(provenance: dict[str, Any], judged: bool) -> list[tuple[str, str, bool]]:
    """(label, text, is a command) in a fixed order, unknown entries last."""
    known = [key for key in LABELS if key in provenance]
    unknown = [key for key in provenance if key not in LABELS]
    items = []
    for key in known + unknown:
        if key in TABULATED:
            continue
        value = provenance[key]
        text = _words(value)
        if key == "bart" and value is None:
            text = "not used"
        if key == "metric" and not judged:
            text = "none: there is no fully sampled reference"
        items.append((LABELS.get(key, key.replace("_", " ")), text, key == "command"))
    return items


def _choices(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """List what the methods chose (`Row.details`): one entry per method and setting, volumes named if they differ."""
    choices = []
    for group in groups:
        for line in group.lines:
            rows = [row for row in group.rows if row.method == line.method]
            items = []
            for key in dict.fromkeys(key for row in rows for key in row.details if key not in FILES):
                texts = {row.volume: _detail(key, row.details[key]) for row in rows if key in row.details}
                words = "; ".join(f"{name}: {text}" for name, text in texts.items())
                if len(set(texts.values())) == 1:
                    words = next(iter(texts.values()))
                items.append((DETAIL_LABELS.get(key, key.replace("_", " ")), words, key in COMMAND_KEYS))
            if items:
                choices.append({"method": line.method, "setting": group.setting.title, "entries": items})
    return choices


def _detail(key: str, value: Any) -> str:
    return _command(value) if key in COMMAND_KEYS else _words(value)


def _command(argv: Any) -> str:
    return shlex.join(map(str, argv)) if isinstance(argv, (list, tuple)) else str(argv)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


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
