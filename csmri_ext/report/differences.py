"""In what two runs into one folder differ, in words: settings, inputs, masks."""

from __future__ import annotations

from typing import Any

from csmri_ext.bridge.file_marks import what_changed


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Compare the provenance of an earlier run with that of this one; empty where this one may go on.

    Raises
    ------
    KeyError, TypeError, AttributeError
        The earlier one is not the provenance of a run.
    """
    return [
        *_of_settings(then["settings"], now["settings"]),
        *_of_inputs(then["inputs"], now["inputs"]),
        *_of_masks(then["masks"], now["masks"]),
    ]


def _of_settings(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    keys = [*earlier, *(key for key in now if key not in earlier)]
    changed = None
    if "files" in keys:  # what is learnt from; an older version did not say it
        keys.remove("files")
        changed = what_changed(earlier["files"], now.get("files", {})) if "files" in earlier else None
    return ([f"of the data {changed}"] if changed else []) + [
        f"{key} {earlier.get(key)!r} then, {now.get(key)!r} now" for key in keys if earlier.get(key) != now.get(key)
    ]


def _of_inputs(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    then = {entry["volume"]: entry for entry in earlier}
    here = {entry["volume"]: entry for entry in now}
    differences = [f"input {name} is no longer given" for name in then if name not in here]
    differences += [f"input {name} is new" for name in here if name not in then]
    for name in then.keys() & here.keys():
        if then[name]["sha256"] != here[name]["sha256"]:
            differences.append(f"input {name} has changed")
        elif then[name]["slices"] != here[name]["slices"]:
            before, after = ("-".join(map(str, entry[name]["slices"])) for entry in (then, here))
            differences.append(f"input {name}: slices {before} then, {after} now")
        elif then[name].get("skipped") != here[name].get("skipped"):
            differences.append(f"input {name}: other empty slices are left out")
    return differences


def _of_masks(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    then = {(entry["setting"], entry["volume"]): entry["hash"] for entry in earlier}
    return [
        f"mask {entry['setting']} of {entry['volume']} has changed"
        for entry in now
        if then.get((entry["setting"], entry["volume"]), entry["hash"]) != entry["hash"]
    ]
