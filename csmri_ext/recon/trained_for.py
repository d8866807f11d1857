"""What a network was trained for, as its file of weights tells, against what it is run on."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

from csmri_ext.recon.methods import Method

_LONGEST_HEADER = 2**24  # bytes of a safetensors header


def training_of(method: Method) -> dict[str, Any] | None:
    """Read how the weights of a method were made, from the metadata that ``csmri train`` stores with them.

    Returns
    -------
        The settings of the training run, among them ``recipe`` (``masks``, ``accelerations``...) and ``data``; None for
        methods without weights, and for weights that say nothing.
    """
    if method.network is None or not method.trained:
        return None
    try:
        with method.network.weights_file.open("rb") as file:
            run = json.loads(safetensors_metadata(file).get("run", "null"))
    except (OSError, ValueError, struct.error):
        return None
    return run if isinstance(run, dict) else None


def safetensors_metadata(file: IO[bytes]) -> dict[str, str]:
    """Read the texts stored with weights: eight bytes of length, then a JSON header with ``__metadata__``.

    Raises
    ------
    ValueError, struct.error
        The file is not a safetensors file.
    """
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(file.read(length))
    metadata = header.get("__metadata__", {})
    return metadata if isinstance(metadata, dict) else {}


def unfamiliar(run: Mapping[str, Any], kinds: Sequence[str], accelerations: Sequence[float], n_coils: int) -> list[str]:
    """List in what the data differ from those of the training.

    Parameters
    ----------
    run
        From `training_of`; what it does not say is not judged, but for coils: training is on one unless it says more.
    kinds, accelerations
        Mask settings that the network is run on.
    n_coils
        The largest number of coils.
    """
    recipe = run.get("recipe")
    if not isinstance(recipe, Mapping):
        return []
    found = []
    coils = recipe.get("coils", 1)
    if n_coils > 1 and (max(coils, default=1) if isinstance(coils, Sequence) else coils) == 1:
        found.append(f"trained on single-coil data, run on {n_coils} coils")
    known_kinds = recipe.get("masks")
    if known_kinds:
        new = [kind for kind in kinds if kind not in known_kinds]
        if new:
            found.append(f"masks never seen in training: {', '.join(new)} (trained on {_listed(known_kinds)})")
    known = [float(value) for value in recipe.get("accelerations") or ()]
    if known:
        beyond = [value for value in accelerations if not min(known) <= value <= max(known)]
        if beyond:
            words = ", ".join(f"{value:g}" for value in beyond)
            found.append(f"acceleration {words} is outside of the trained {min(known):g} to {max(known):g}")
    return found


def training_note(methods: Sequence[Method], kinds: Sequence[str], accelerations: Sequence[float], n_coils: int) -> str:
    """Say in one note which networks are run on what they were not trained for; empty where none is."""
    parts = []
    for method in methods:
        run = training_of(method)
        if run is None:
            continue
        differences = unfamiliar(run, kinds, accelerations, n_coils)
        if differences:
            data = f"trained on: {run['data']}; " if isinstance(run.get("data"), str) else ""
            parts.append(f"{method.name} ({data}{'; '.join(differences)})")
    return f"run on what they were not trained for: {'. '.join(parts)}" if parts else ""


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(values))
