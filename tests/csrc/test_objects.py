"""The objects of the three instruction sets share no symbol that the linker could take from the wrong one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = {"avx2": 1, "avx512": 2}  # enum class Simd


@pytest.mark.parametrize("level", CODE)
def test_weak_symbols_name_their_level(level: str) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")
    build = Path(os.environ.get("CSMRI_BUILD_DIR", ROOT / "build"))
    objects = sorted(build.glob(f"**/kernels_{level}.dir/**/*.o"))
    if not objects:
        pytest.skip(f"no objects of a build under {build} (CSMRI_BUILD_DIR names another place)")
    listing = subprocess.run(["nm", "--print-file-name", *objects], capture_output=True, text=True, check=True).stdout
    weak = re.findall(r"^(.*):[0-9a-f ]+ [VWu] (\S+)$", listing, flags=re.MULTILINE)
    assert weak, "the explicit instantiations are weak symbols"
    # csmri::avx2::..., or an instantiation for (csmri::Simd)1; DW.ref. is the compiler's, and data.
    own = re.compile(rf"{len(level)}{level}|LNS_4SimdE{CODE[level]}E|LN5csmri4SimdE{CODE[level]}E|^DW\.ref\.")
    foreign = [f"{Path(file).name}: {name}" for file, name in weak if not own.search(name)]
    assert not foreign, foreign
