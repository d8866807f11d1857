from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from csmri_ext.models import create
from csmri_ext.physics import fft2c


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kspace, mask = fft2c(torch.ones(1, 8, 10, dtype=torch.complex64)), torch.ones(10, dtype=torch.bool)
    network = create("hqs", stages=1).eval()
    path = tmp_path_factory.mktemp("program") / "hqs.pt2"
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (kspace, mask)), path)
    return path


@pytest.mark.parametrize("order", ["csmri_ext, torch", "torch, csmri_ext"])
def test_exported_programs_load_after_import_alone(program: Path, order: str) -> None:
    code = f"import {order}; print(torch.export.load({str(program)!r}).graph_module is not None)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_import_does_not_load_torch() -> None:
    code = "import sys, csmri_ext, csmri_ext.bridge; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_imports_without_the_compiled_part() -> None:
    code = (
        "import sys; sys.modules['csmri_ext._core'] = None\n"
        "import csmri_ext, torch\n"
        "try:\n    import csmri_ext.ops\n"
        "except ImportError as error:\n    print('compiled part' in str(error), torch.ones(1).item())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True 1.0\n", done.stderr
