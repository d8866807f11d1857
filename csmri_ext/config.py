"""What this installation is made of: versions, how the kernels were built, what the machine offers."""

from __future__ import annotations

import platform
import warnings
from importlib import metadata
from typing import Any

OPTIONAL = ("nibabel", "lightning", "cupy-cuda12x")


def configuration() -> dict[str, dict[str, str]]:
    """Collect the configuration as sections of names and values, all strings.

    Returns
    -------
        ``{"csmri_ext": ..., "kernels": ..., "torch": ..., "BART": ..., "packages": ...}``
    """
    return {
        "csmri_ext": {
            "version": _package_version(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "kernels": _kernels(),
        "torch": _torch(),
        "BART": _bart(),
        "packages": _packages(),
    }


def show_config() -> str:
    """Describe the installation in plain text, for a bug report or a first look.

    Returns
    -------
        One section per part (package, kernels, torch, BART, packages), one line ``name: value`` per fact.
    """
    sections = configuration()
    width = max(len(name) for facts in sections.values() for name in facts)
    lines = []
    for title, facts in sections.items():
        lines.append(title)
        lines += [f"  {name:<{width}}  {value}" for name, value in facts.items()]
    return "\n".join(lines)


def _package_version() -> str:
    import csmri_ext

    return csmri_ext.__version__


def build_info() -> dict[str, Any] | None:
    """Return what the compiled core says about its own build, or None where it was not built."""
    try:
        from csmri_ext import _core
    except ImportError:
        return None
    try:
        simd = _core.simd_level()
    except RuntimeError as error:
        simd = f"none, {error}"
    return {**_core.build_info(), "simd": simd}


def _kernels() -> dict[str, str]:
    info = build_info()
    if info is None:
        return {"compiled core": "not built (pip install .): only reference_ops() works"}
    return {
        "compiled core": f"version {info['version']}",
        "SIMD level": f"{info['simd']} (built: {', '.join(info['simd_levels'])}; machine: {info['simd_of_machine']})",
        "OpenMP": f"yes ({info['openmp']})" if info["openmp"] else "no: one thread",
        "CUDA build": cuda_version(info["cuda"]) if info["cuda"] else "no: built without nvcc, or with CSMRI_CUDA=OFF",
    }


def cuda_version(number: int) -> str:
    """Write CUDA's ``1000 major + 10 minor`` as ``major.minor``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _torch() -> dict[str, str]:
    try:
        import torch
    except ImportError:
        return {"version": "not installed"}
    facts = {
        "version": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "CUDA of torch": torch.version.cuda or "none (CPU build)",
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            capability = f"compute capability {device.major}.{device.minor}"
            facts[f"GPU {index}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {capability}"
    else:
        facts["GPU"] = "none that torch can use"
    return facts


def _bart() -> dict[str, str]:
    from csmri_ext.bridge import BartError, find_bart
    from csmri_ext.bridge import bart_version as ask

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            path = find_bart()
        except BartError as error:
            return {"path": f"not found. {error}"}
    facts = {"path": path}
    if told:
        facts["warning"] = "; ".join(str(warning.message) for warning in told)
    try:
        return {**facts, "version": ask(path)}
    except BartError as error:
        return {**facts, "version": f"unknown: {error}"}


def _packages() -> dict[str, str]:
    names = [
        "numpy",
        "h5py",
        "scipy",
        "scikit-image",
        "pillow",
        "matplotlib",
        "jinja2",
        "rich",
        "safetensors",
        *OPTIONAL,
    ]
    return {name: _installed(name) for name in names}


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
