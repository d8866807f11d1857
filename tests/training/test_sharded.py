"""Published networks on two processes: averaged gradients (DDP) and sharded weights (FSDP2) give those of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORKER = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from baselines import networks
from csmri_ext.physics import fft2c

SMALLER = {"modl": {"stages": 2, "chans": 8}, "admm_csnet": {"stages": 2, "chans": 8}, "dccnn3": {"chans": 8},
           "ista_net": {"stages": 2, "chans": 8}, "hqs_net": {"stages": 2, "chans": 8}}


def batch():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(4, 16, 20, generator=generator, dtype=torch.complex64)
    mask = torch.rand(4, 1, 20, generator=generator) < 0.5
    return fft2c(image) * mask, mask, image


def create(name):
    torch.manual_seed(0)
    network = networks.create(name, **SMALLER[name]).train()
    for layer in network.modules():  # whose statistics are those of a process
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    return network


def gradients(network, part):
    kspace, mask, image = (x[part] for x in batch())
    (network(kspace, mask) - image).abs().square().mean().backward()
    named = {name.removeprefix("module."): p.grad for name, p in network.named_parameters()}
    return {name: g.full_tensor() if hasattr(g, "full_tensor") else g for name, g in named.items()}


torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
half = slice(2 * rank, 2 * rank + 2)
for name in SMALLER:
    alone = gradients(create(name), slice(0, 4))
    averaged = gradients(DistributedDataParallel(create(name)), half)
    network = create(name)
    for layer in network.modules():
        if layer is not network and isinstance(layer, nn.Conv2d):
            fully_shard(layer, mesh=dist.device_mesh.init_device_mesh("cpu", (2,)))
    fully_shard(network, mesh=dist.device_mesh.init_device_mesh("cpu", (2,)))
    sharded = gradients(network, half)
    for other in (averaged, sharded):
        assert other.keys() == alone.keys()
        for parameter, expected in alone.items():
            error = float((other[parameter] - expected).norm() / expected.norm().clamp_min(1e-6))
            assert error < 1e-3, (name, parameter, error)
    if rank == 0:
        print(name, flush=True)
dist.destroy_process_group()
"""


def test_gradients_on_two_processes_are_those_of_one(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    environment = dict(os.environ, MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
    environment["WORLD_SIZE"] = "2"
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    environment["MASTER_PORT"] = str(20000 + os.getpid() % 20000)
    workers = [
        subprocess.Popen(
            [sys.executable, "worker.py"], cwd=tmp_path, env=environment | {"RANK": str(rank)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [worker.communicate(timeout=600)[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), "\n".join(said)
    assert "admm_csnet" in said[0]
