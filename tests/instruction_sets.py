"""The same script under every instruction set that this build and this machine have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from csmri_ext import _core


def results_at_every_level(code: str, folder: Path) -> list[Any]:
    """What `code` saved to ``sys.argv[1]``, per level from baseline up; ``sys.argv[2]`` is the folder of the tests."""
    info = _core.build_info()
    results = []
    for level in info["simd_levels"][: info["simd_levels"].index(info["simd_of_machine"]) + 1]:
        path = folder / f"{level}.pt"
        command = [sys.executable, "-c", code, path, Path(__file__).parent]
        subprocess.run(command, check=True, env={**os.environ, "CSMRI_SIMD": level})
        results.append(torch.load(path, weights_only=True))
    return results
