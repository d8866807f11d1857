from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from held_folders import left_behind
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file

from csmri_ext.data import Images, PhantomSettings, phantom_shards, split_by_volume
from csmri_ext.errors import InputError
from csmri_ext.models import NasN, load_weights
from csmri_ext.physics import describe_mask
from csmri_ext.training import RECIPES, Recipe, ReconstructionTask, Run, fit
from csmri_ext.training.curves import read_curves
from csmri_ext.training.fit import _claim, _described

RECIPE = Recipe(
    steps=6,
    batch_size=2,
    learning_rate=2e-3,
    sizes=(16, 24),
    schedule="decay",
    warmup=2,
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


@pytest.fixture(scope="module")
def whole(images: tuple[Images, Images], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken run."""
    folder = tmp_path_factory.mktemp("whole")
    assert fit(small, *images, run(folder)) == folder / "small.safetensors"
    return folder


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


def test_a_run_leaves_weights_logs_and_curves(whole: Path) -> None:
    trained = small()
    before = [p.clone() for p in trained.parameters()]
    load_weights(trained, whole / "small.safetensors")
    assert any(not torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))
    curves = read_curves(whole)
    assert [step for step, _ in curves["val_psnr"]] == [1, 3, 5]
    assert len(curves["loss_epoch"]) == 3
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((whole / "summary.json").read_text())["steps"] == 6
    assert list(whole.glob("tensorboard/part_000/events*"))


def test_a_killed_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, whole: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        killed_after(3, patch)
        patch.setattr(CSVLogger, "finalize", lambda *_: None)  # a kill leaves no time for it
        with pytest.raises(KilledError):
            fit(small, *images, run(broken))
    assert not (broken / "small.safetensors").exists()
    logged = read_curves(broken)
    assert [step for step, _ in logged["val_psnr"]] == [step for step, _ in logged["loss_epoch"]] == [1]
    resumed = load_file(fit(small, *images, run(broken)))
    for name, tensor in load_file(whole / "small.safetensors").items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)
    steps = [step for step, _ in read_curves(broken)["val_psnr"]]
    assert steps == pytest.approx([1, 3, 5], abs=1)  # Lightning counts one step more after a restart


def test_the_seed_decides(tmp_path: Path, whole: Path, images: tuple[Images, Images]) -> None:
    first = load_file(whole / "small.safetensors")
    same, other = (load_file(fit(small, *images, run(tmp_path / str(seed), seed=seed))) for seed in (0, 1))
    name = "reconstructions.0.stem.0.weight"
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])


def test_less_memory_gives_the_same(tmp_path: Path, whole: Path, images: tuple[Images, Images]) -> None:
    recomputed = load_file(fit(small, *images, run(tmp_path, recompute=True)))
    for name, tensor in load_file(whole / "small.safetensors").items():
        torch.testing.assert_close(recomputed[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_folder_keeps_to_one_run(tmp_path: Path, images: tuple[Images, Images]) -> None:
    fit(small, *images, run(tmp_path))
    with pytest.raises(InputError, match=r"holds a run with learning_rate 0\.002, not 0\.1"):
        fit(small, *images, run(tmp_path, recipe=replace(RECIPE, learning_rate=0.1)))
    longer = fit(small, *images, run(tmp_path, recipe=replace(RECIPE, steps=7)))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 7
    validated = read_curves(tmp_path)["val_psnr"][-1][1]  # after step 6
    assert summary["val_psnr"] == pytest.approx(validated, abs=5.1e-4), "three decimals"
    assert longer.is_file()


def test_a_finished_run_keeps_its_averaged_weights(
    tmp_path: Path, whole: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again, and after a kill between the last checkpoint and the weights: the same bytes."""
    weights, summary = (whole / "small.safetensors").read_bytes(), (whole / "summary.json").read_text()
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    leftover = left_behind(copy / "last.ckpt")
    assert fit(small, *images, run(copy)).read_bytes() == weights
    assert not leftover.exists()
    again = json.loads((copy / "summary.json").read_text())
    assert again == json.loads(summary)
    assert again["val_psnr"] is not None

    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(import_module("csmri_ext.training.fit"), "save_weights", raise_killed)
        with pytest.raises(KilledError):
            fit(small, *images, run(killed))
    assert torch.load(killed / "last.ckpt", weights_only=True)["global_step"] == RECIPE.steps
    assert not (killed / "small.safetensors").exists()
    assert fit(small, *images, run(killed)).read_bytes() == weights
    last = torch.load(killed / "last.ckpt", weights_only=True)["current_model_state"]
    averaged = load_file(killed / "small.safetensors")
    assert any(not torch.equal(last[f"network.{name}"], value) for name, value in averaged.items())


def raise_killed(*_: object) -> None:
    raise KilledError


def test_a_kill_between_the_names_of_a_checkpoint(
    tmp_path: Path, whole: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old checkpoint has its new name and the new one has not: the run goes on from the old one."""
    original, count = os.replace, [0]

    def replace_but_the_second(source: str, target: Path) -> None:
        count[0] += str(target).endswith("last.ckpt")
        if count[0] == 2:
            raise KilledError
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("csmri_ext.bridge.atomic.os.replace", replace_but_the_second)
        with pytest.raises(KilledError):
            fit(small, *images, run(tmp_path))
    assert not (tmp_path / "last.ckpt").exists()
    assert torch.load(tmp_path / "previous.ckpt", weights_only=True)["global_step"] == 2
    taken = []
    step = ReconstructionTask.training_step
    monkeypatch.setattr(ReconstructionTask, "training_step", lambda *args: (taken.append(1), step(*args))[1])
    assert fit(small, *images, run(tmp_path)).read_bytes() == (whole / "small.safetensors").read_bytes()
    assert len(taken) == RECIPE.steps - 2, "from the old checkpoint, not afresh"


@pytest.mark.parametrize("what", ["loss", "weights"])
def test_a_training_that_diverges_keeps_its_checkpoints(
    tmp_path: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """NaN from step 6 on: in the loss, or in the weights behind a loss that is finite."""
    original = ReconstructionTask.training_step

    def step(self: ReconstructionTask, batch: object, index: int) -> torch.Tensor:
        if self.global_step == 5:
            with torch.no_grad():
                next(self.network.parameters()).fill_(torch.nan)
            if what == "weights":
                return sum(p.square().sum() for p in list(self.network.parameters())[1:])  # type: ignore[return-value]
        return original(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(ReconstructionTask, "training_step", step)
    with pytest.raises(InputError, match=f"{what}.* not .*finite.* after step [56] of 6.* learning rate below 0.002"):
        fit(small, *images, run(tmp_path))
    for name, expected in (("last", 4), ("previous", 2)):
        checkpoint = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)
        assert checkpoint["global_step"] == expected
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert not (tmp_path / "small.safetensors").exists()


def test_a_batch_that_processes_cannot_share(tmp_path: Path, images: tuple[Images, Images]) -> None:
    from csmri_ext.training import ReconstructionData

    data = ReconstructionData(*images, replace(RECIPE, batch_size=3), steps_per_epoch=1)
    data.trainer = type("Trainer", (), {"current_epoch": 0, "world_size": 2})()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a batch of 3 slices cannot be shared by 2 processes"):
        data.train_dataloader()


def test_one_coil_and_several_in_one_run(tmp_path: Path, images: tuple[Images, Images]) -> None:
    """Strips and whole images, true and estimated maps: everything that the recipe for measured data mixes."""
    recipe = replace(
        RECIPES["measured"], steps=6, batch_size=2, sizes=(16, 0), strip=8, coils=(1, 4), accelerations=(2.0,)
    )
    weights = fit(small, *images, run(tmp_path, recipe=recipe))
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(weights).values())
    assert len(read_curves(tmp_path)["val_psnr"]) == 3


def test_a_run_of_an_older_version_goes_on(tmp_path: Path, images: tuple[Images, Images]) -> None:
    """What recipes had not when the run began has its default."""
    fit(small, *images, run(tmp_path))
    described = json.loads((tmp_path / "run.json").read_text())
    del described["recipe"]["coils"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    fit(small, *images, run(tmp_path))
    del described["recipe"]["mirror"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="holds a run with mirror False, not True"):
        fit(small, *images, run(tmp_path))


def test_files_read_otherwise_are_another_run(tmp_path: Path) -> None:
    first = Run(tmp_path, "hqs", RECIPES["phantom"], reading="--axes 'slice y x'")
    _claim(first)
    _claim(first)
    with pytest.raises(InputError, match="holds a run with reading \"--axes 'slice y x'\", not '--domain image'"):
        _claim(replace(first, reading="--domain image"))
    described = json.loads((tmp_path / "run.json").read_text())
    del described["reading"]  # as in records of an older version
    (tmp_path / "run.json").write_text(json.dumps(described))
    _claim(replace(first, reading="--domain image"))


def test_weights_of_no_run_stay(tmp_path: Path) -> None:
    """Such as those of --init in the folder of --out."""
    weights = tmp_path / "hqs.safetensors"
    weights.write_bytes(b"somebody's")
    with pytest.raises(InputError, match=r"hqs\.safetensors is there, and not of a run in this folder"):
        _claim(Run(tmp_path, "hqs", RECIPES["phantom"]))
    assert weights.read_bytes() == b"somebody's" and len(list(tmp_path.iterdir())) == 1


def test_the_record_has_the_content_of_mask_files(tmp_path: Path) -> None:
    """A file of a mask may change and keep its name: then the run is another one."""
    mask = np.arange(16) % 2 == 0
    np.save(tmp_path / "mask.npy", mask)
    run = Run(tmp_path / "run", "hqs", replace(RECIPES["phantom"], masks=(str(tmp_path / "mask.npy"),)))
    run.folder.mkdir()
    _claim(run)
    _claim(run)
    first = _described(run)["mask_files"]
    assert first == {str(tmp_path / "mask.npy"): describe_mask(mask)["hash"]}
    np.save(tmp_path / "mask.npy", ~mask)
    assert _described(run)["mask_files"] != first
    with pytest.raises(InputError, match="holds a run with mask_files"):
        _claim(run)
    assert "mask_files" not in _described(replace(run, recipe=RECIPES["phantom"]))


class Boom:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("executed"),))


def test_a_checkpoint_that_would_run_code_is_refused(
    tmp_path: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"global_step": 6, "state_dict": {}, "callbacks": {}, "x": Boom()}, "last.ckpt")
    with pytest.raises((InputError, pickle.UnpicklingError)):
        fit(small, *images, run(tmp_path))
    assert not Path("executed").exists()


def test_gradients_are_clipped(tmp_path: Path, images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []

    def after_step(self: ReconstructionTask, *_: object) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    monkeypatch.setattr(ReconstructionTask, "on_train_batch_end", after_step)
    fit(small, *images, run(tmp_path, recipe=replace(RECIPE, steps=1, clip=1e-4)))
    assert norms == [pytest.approx(1e-4, rel=1e-3)]


# what is learnt from, and what is there


def test_a_run_on_other_files_of_the_same_names_is_refused(tmp_path: Path) -> None:
    files = {"a.h5": "10 bytes, 0123456789abcdef", "b.h5": "10 bytes, 0123456789abcdee"}
    here = run(tmp_path, data="knee", reading="--slices 50% --axes 'slice y x'", files=files)
    _claim(here)
    _claim(here)
    for other, why in (
        ({**files, "b.h5": "10 bytes, ffffffffffffffff"}, "b.h5 is another file now"),
        ({"a.h5": files["a.h5"]}, "b.h5 is no longer there"),
        ({**files, "c.h5": "1 bytes"}, "c.h5 is new"),
    ):
        with pytest.raises(InputError, match=rf"a run on other data of this name \({why}\): choose another folder"):
            _claim(replace(here, files=other))


def test_runs_that_an_earlier_version_recorded_go_on(tmp_path: Path) -> None:
    here = run(tmp_path, data="knee", reading="--slices 50% --axes 'slice y x'", files={"a.h5": "10 bytes"})
    _claim(here)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["files"]
    for reading in ("--axes 'slice y x' --slices 0.5", "--axes 'slice y x' --slices 50%"):
        (tmp_path / "run.json").write_text(json.dumps({**record, "reading": reading}))
        _claim(here)
        assert json.loads((tmp_path / "run.json").read_text())["files"] == {"a.h5": "10 bytes"}
    for reading in ("--axes 'slice y x' --slices 0.6", "--axes 'slice y x' --slices 50", "--axes 'slice y x'", "'"):
        (tmp_path / "run.json").write_text(json.dumps({**record, "reading": reading}))
        with pytest.raises(InputError, match="holds a run with reading"):
            _claim(here)


@pytest.mark.parametrize("name", ["curves.png", "summary.json", "csv/part_000", "tensorboard"])
def test_a_run_replaces_no_file_of_somebody_else(name: str, tmp_path: Path, images: tuple[Images, Images]) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds {name}, which would be replaced, and no run.json of a run"):
        fit(small, *images, run(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
