from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

# Lightning starts the second process by running the script again.
SCRIPT = """
from pathlib import Path

import torch

from csmri_ext.data import PhantomSettings, phantom_shards
from csmri_ext.models import NasN
from csmri_ext.training import Recipe, Run, fit


def train(devices):
    torch.set_num_threads(1)
    images = phantom_shards("phantoms", 2, PhantomSettings(size=32, slices=2, anatomies=("brain",)))
    recipe = Recipe(steps=4, batch_size=2, learning_rate=3e-3, masks=("random", "equispaced_fraction"))
    run = Run(
        Path(f"run{devices}"), "toy", recipe, steps_per_epoch=2, validate_every=1, accelerator="cpu", devices=devices
    )
    fit(lambda: NasN("knee", cascades=1, cells=1, channels=8), images, images, run)


if __name__ == "__main__":
    train(2)
    group = torch.distributed
    print(f"process {group.get_rank()} of {group.get_world_size()}, {group.get_backend()}", flush=True)
"""
OF_OTHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_PORT", "MASTER_ADDR")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of two slices on one process, and one slice on each of two: the same losses and weights."""
    from safetensors.numpy import load_file

    from csmri_ext.training.curves import read_curves

    monkeypatch.chdir(tmp_path)
    Path("toy.py").write_text(SCRIPT)
    runpy.run_path("toy.py")["train"](1)
    environment = {name: value for name, value in os.environ.items() if name not in OF_OTHERS and "SLURM" not in name}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    shared = subprocess.run([sys.executable, "toy.py"], env=environment, capture_output=True, text=True)
    assert shared.returncode == 0, shared.stderr
    assert sorted(shared.stdout.splitlines()) == ["process 0 of 2, gloo", "process 1 of 2, gloo"]
    one, two = (load_file(f"run{devices}/toy.safetensors") for devices in (1, 2))
    assert one.keys() == two.keys()
    for name, weights in one.items():  # a step of Adam is 3e-3 even where the gradient is hardly more than rounding
        np.testing.assert_allclose(two[name], weights, rtol=1e-3, atol=3e-4, err_msg=name)
    assert json.loads(Path("run2/summary.json").read_text())["steps"] == 4
    alone, together = (read_curves(Path(f"run{devices}")) for devices in (1, 2))
    for quantity in ("loss_epoch", "val_psnr"):
        np.testing.assert_allclose(together[quantity], alone[quantity], rtol=1e-4)
    assert alone["loss_epoch"][-1][1] != alone["loss_epoch"][0][1]
