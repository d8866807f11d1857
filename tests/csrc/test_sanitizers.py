"""Every operator on the CPU under AddressSanitizer and UBSan, forward and backward, at odd sizes and empty batches.

Budget: the build, for one instruction set, and the run together take less than three minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from csrc import instrumented

pytestmark = pytest.mark.slow

EVERY_OP = """
import torch
from op_samples import LARGE, SAMPLES, SMALL
from ops.test_every_op import leaves_of, values_and_gradients
from csmri_ext.models import create
from csmri_ext import _core

for op in SAMPLES:
    for size in (SMALL, LARGE):
        for batch in (0, 1, 3):
            for dtype in (torch.float32, torch.float64):
                values_and_gradients(op.call, leaves_of(op, batch, dtype, size))
    print(op.name, flush=True)
kspace = torch.randn(2, 23, 37, dtype=torch.complex64)
mask = torch.arange(37) % 3 == 0
with torch.no_grad():
    create("nasn_2nodes", cascades=1, cells=2, channels=8)(kspace * mask, mask)
print("all", _core.build_info()["simd_levels"], flush=True)
"""


@pytest.fixture(scope="session")
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if instrumented.compiler() is None:
        pytest.skip("no C++ compiler: set CXX, or install g++")
    pytest.importorskip("pybind11")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir("sanitizers")) if cache else tmp_path_factory.mktemp("sanitizers")
    built = instrumented.build(folder)
    begun = instrumented.run(built, "print('loaded')")
    if begun.stdout != "loaded\n":
        pytest.skip(f"the sanitizers do not run here: {begun.stderr[-300:]}")
    return built


def test_every_operator(module: Path) -> None:
    done = instrumented.run(module, EVERY_OP)
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[:6000]}"
    assert done.stdout.splitlines()[-1].startswith("all")
