"""What a file of weights says of itself: enough to build the network again, and to know where the weights are from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from csmri_ext.errors import InputError
from csmri_ext.models.foreign_files import what_it_is
from csmri_ext.models.torch_files import read_checkpoint


@dataclass(frozen=True)
class Description:
    """The metadata of a safetensors file, as values; what a file does not say is empty.

    Attributes
    ----------
    architecture
        Name of the network, as `csmri_ext.models.build` knows it.
    overrides
        Parameters of its constructor that differ from what the name stands for.
    genotype
        Of a NasN: its cell, also where the name implies it.
    in_chans, scaling
        Channels of an image, and the maximum magnitude that zero-filled images are scaled to (None: they are not).
    recipe
        How it was trained, see `csmri_ext.training.Recipe`.
    data
        On what, in words.
    run
        Seed, steps, precision and the like.
    version
        Of csmri_ext.
    """

    architecture: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    genotype: list[Any] | None = None
    in_chans: int | None = None
    scaling: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @classmethod
    def of(
        cls, model: nn.Module, architecture: str, overrides: Mapping[str, Any] | None = None, **known: Any
    ) -> Description:
        """Describe a network; what can be read off it need not be told."""
        import csmri_ext

        return cls(
            architecture=architecture,
            overrides=dict(overrides or {}),
            genotype=getattr(model, "genotype", None),
            in_chans=getattr(model, "in_chans", None),
            scaling=getattr(model, "peak", None),
            version=csmri_ext.__version__,
            **known,
        )

    def metadata(self) -> dict[str, str]:
        """As safetensors keeps it: strings, those of numbers and lists in JSON, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for name, value in sorted(values.items())
        }


def read_description(path: str | PathLike[str]) -> Description:
    """Read what a file of weights says of itself; earlier files of the package say less, those of others nothing.

    A checkpoint of a run has its network alone; recipe and data stand in the ``run.json`` beside it.

    Raises
    ------
    InputError
        Not a whole safetensors file, metadata that cannot be what they should; or another file that is no state dict.
    OSError
        No such file.
    """
    if Path(path).suffix != ".safetensors":
        settings, _ = read_checkpoint(path)
        overrides = {key: value for key, value in settings.items() if key != "name"}
        return Description(architecture=str(settings.get("name", "")), overrides=overrides)
    try:
        with safe_open(path, "pt") as file:
            found: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}){what_it_is(path)}") from error
    try:
        return _from_metadata(found)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: its metadata cannot be read ({error})") from error


def _from_metadata(found: Mapping[str, str]) -> Description:
    if "architecture" not in found and "run" in found:  # written before files described themselves
        run = json.loads(found["run"])
        rest = {key: value for key, value in run.items() if key not in ("name", "overrides", "recipe", "data")}
        return Description(
            architecture=run["name"],
            overrides=dict(run.get("overrides") or {}),
            recipe=dict(run.get("recipe") or {}),
            data=str(run.get("data", "")),
            run=rest,
        )
    texts = {"architecture", "data", "version"}
    values: dict[str, Any] = {
        item.name: found[item.name] if item.name in texts else json.loads(found[item.name])
        for item in fields(Description)
        if item.name in found
    }
    for name in ("overrides", "recipe", "run"):
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(f"{name} is no mapping")
    return Description(**values)
