from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from csmri_ext.data import Images, PhantomSettings, phantom_shards, split_by_volume
from csmri_ext.errors import InputError
from csmri_ext.models import NasN, load_weights
from csmri_ext.training import Recipe, ReconstructionTask, Run, fit
from csmri_ext.training.curves import read_curves

RECIPE = Recipe(
    steps=6,
    batch_size=2,
    learning_rate=2e-3,
    schedule="decay",
    warmup=2,
    sizes=(16, 24),
    mirror=True,
    ema=0.5,
    clip=1.0,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Images, Images]:
    folder = tmp_path_factory.mktemp("phantoms")
    train, validation = split_by_volume(phantom_shards(folder, 4, PhantomSettings(size=32, slices=1)), (3, 1))
    return train, validation


def small() -> NasN:
    return NasN("2nodes", cascades=1, cells=1, channels=8)


def run(folder: Path, **changes: object) -> Run:
    settings = {"folder": folder, "name": "small", "recipe": RECIPE, "steps_per_epoch": 2, "validate_every": 1}
    return Run(**{**settings, "accelerator": "cpu", **changes})  # type: ignore[arg-type]


class KilledError(Exception):
    pass


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, count = ReconstructionTask.training_step, [0]

    def step(self: ReconstructionTask, batch: object, index: int) -> torch.Tensor:
        count[0] += 1
        if count[0] > steps:
            raise KilledError
        return original(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(ReconstructionTask, "training_step", step)


def test_a_run_leaves_weights_logs_and_curves(tmp_path: Path, images: tuple[Images, Images]) -> None:
    weights = fit(small, *images, run(tmp_path))
    assert weights == tmp_path / "small.safetensors"
    trained = small()
    before = [p.clone() for p in trained.parameters()]
    load_weights(trained, weights)
    assert any(not torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))
    curves = read_curves(tmp_path)
    assert [step for step, _ in curves["val_psnr"]] == [1, 3, 5]
    assert len(curves["loss_epoch"]) == 3
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 6
    assert list(tmp_path.glob("tensorboard/part_000/events*"))


def test_a_killed_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(fit(small, *images, run(tmp_path / "whole")))
    with monkeypatch.context() as patch:
        killed_after(3, patch)
        with pytest.raises(KilledError):
            fit(small, *images, run(tmp_path / "broken"))
    assert not (tmp_path / "broken" / "small.safetensors").exists()
    resumed = load_file(fit(small, *images, run(tmp_path / "broken")))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)
    logged = [step for step, _ in read_curves(tmp_path / "broken")["val_psnr"]]
    assert logged == pytest.approx([1, 3, 5], abs=1)  # Lightning counts one step more after a restart


def test_the_seed_decides(tmp_path: Path, images: tuple[Images, Images]) -> None:
    first, same, other = (
        load_file(fit(small, *images, run(tmp_path / n, seed=s))) for n, s in (("a", 1), ("b", 1), ("c", 2))
    )
    name = "reconstructions.0.stem.0.weight"
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])


def test_less_memory_gives_the_same(tmp_path: Path, images: tuple[Images, Images]) -> None:
    kept = load_file(fit(small, *images, run(tmp_path / "a")))
    recomputed = load_file(fit(small, *images, run(tmp_path / "b", recompute=True)))
    for name, tensor in kept.items():
        torch.testing.assert_close(recomputed[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_folder_keeps_to_one_run(tmp_path: Path, images: tuple[Images, Images]) -> None:
    fit(small, *images, run(tmp_path))
    with pytest.raises(InputError, match=r"holds a run with learning_rate 0\.002, not 0\.1"):
        fit(small, *images, run(tmp_path, recipe=replace(RECIPE, learning_rate=0.1)))
    longer = fit(small, *images, run(tmp_path, recipe=replace(RECIPE, steps=8)))
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 8
    assert longer.is_file()


def test_a_batch_that_processes_cannot_share(tmp_path: Path, images: tuple[Images, Images]) -> None:
    from csmri_ext.training import ReconstructionData

    data = ReconstructionData(*images, replace(RECIPE, batch_size=3), steps_per_epoch=1)
    data.trainer = type("Trainer", (), {"current_epoch": 0, "world_size": 2})()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a batch of 3 slices cannot be shared by 2 processes"):
        data.train_dataloader()
