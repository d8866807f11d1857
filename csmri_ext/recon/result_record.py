"""What is recorded with a reconstruction, and whether a finished one is what the same command would make again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csmri_ext.bridge import reading
from csmri_ext.bridge.bart_files.cfl import data_file
from csmri_ext.bridge.result_records import read_record
from csmri_ext.recon.methods import Method
from csmri_ext.recon.sampling import Sampling
from csmri_ext.recon.shared_setup import Setup
from csmri_ext.recon.volumes import Volume
from csmri_ext.report.provenance import file_sha256

Settings = Mapping[str, Any]


def settings_of(method: Method, options: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what decides the pixels of a result besides its input.

    Parameters
    ----------
    method
        Its name and, for a network, its weights.
    options
        Words of the command line by name, those left out that decide nothing (where results lie, how many workers).
    """
    weights = None if method.network is None else method.network.weights
    return {"method": method.name, "weights": weights, **options}


def make_record(
    command: str,
    version: str,
    method: Method,
    settings: Settings,
    source: Path,
    volume: Volume,
    sampling: Sampling,
    setup: Setup,
) -> dict[str, Any]:
    """Describe one result.

    Returns
    -------
        ``command, version, method, weights`` (hash of the file, None for methods without any), ``untrained`` (true
        for random weights), ``mask`` (kind, acceleration, hash, sampled fraction...), ``sens_maps`` (where coil
        sensitivities come from; None for one coil), ``sens_maps_zero`` (the share of pixels where all that a file gives
        are 0, if there are such), ``input``, ``slices`` (first and end), ``reading`` (how the
        input's axes were read), ``warnings`` (what its reader had to decide, such as the first of two sets of
        sensitivities), ``settings``.
    """
    maps = setup.maps_source(volume, sampling, method)
    return {
        "command": command,
        "version": version,
        "method": method.name,
        "weights": settings["weights"],
        "untrained": not method.trained,
        "mask": sampling.describe(volume, setup.seed, read=True),
        "sens_maps": maps,
        **({"sens_maps_zero": volume.unseen_share} if volume.unseen_share else {}),
        "input": describe_input(source, hashed=True),
        "slices": [volume.slices[0], volume.slices[-1] + 1],
        "reading": reading(volume.acquisition),
        "warnings": list(volume.acquisition.attrs.get("warnings", [])),
        "settings": dict(settings),
    }


def describe_input(source: Path, *, hashed: bool) -> dict[str, Any]:
    """Identify a file by name, size, time of change and, where asked for, sha256; of BART's pair, the data."""
    data = data_file(source)
    status = data.stat()
    entry: dict[str, Any] = {"name": source.name, "bytes": status.st_size, "modified": status.st_mtime_ns}
    return {**entry, "sha256": file_sha256(data)} if hashed else entry


def what_differs(source: Path, result: Path, settings: Settings) -> str | None:
    """Say why a finished result is not what these settings would make of `source`; None where it is.

    An input of the same size and time of change is taken for the same; otherwise its hash decides.

    Raises
    ------
    FileFormatError
        The result is not whole.
    """
    record = read_record(result)
    if record is None or not isinstance(record.get("settings"), dict) or not isinstance(record.get("input"), dict):
        return "how it was made is not recorded in it"
    then = record["settings"]
    for key in (*then, *(key for key in settings if key not in then)):
        if then.get(key) != _as_stored(settings.get(key)):
            return f"{key.replace('_', ' ')} {_word(then.get(key))} then, {_word(settings.get(key))} now"
    before, now = record["input"], describe_input(source, hashed=False)
    if any(before.get(key) != now[key] for key in ("bytes", "modified")) and (
        before.get("bytes") != now["bytes"] or before.get("sha256") != file_sha256(data_file(source))
    ):
        return f"{source.name} has changed since"
    return None


def _as_stored(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    return "none" if value is None else str(value)
