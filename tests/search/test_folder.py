from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image
from search_samples import MadeSamples

from csmri_ext.errors import InputError
from csmri_ext.models import NasN, read_genotype
from csmri_ext.search import Search, SearchFolder, SearchSettings, run


def settings(**changes: object) -> SearchSettings:
    return SearchSettings(**{"space": "A", "nodes": 2, "cells": 1, "channels": 2, "epochs": 2, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Search]:
    folder = tmp_path_factory.mktemp("search")
    search = Search(settings())
    run(search, MadeSamples(0), MadeSamples(1), SearchFolder(folder, ["data"]))
    return folder, search


def test_everything_is_there_and_nothing_else(done: tuple[Path, Search]) -> None:
    folder, _ = done
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {
        f"{stem}.{e}" for stem in ("cell", "alphas", "cells/epoch_001", "cells/epoch_002") for e in ("png", "svg")
    }
    assert names == pictures | {"genotype.json", "alphas.csv", "epochs.csv", "search.ckpt"}
    for name in pictures:
        if name.endswith("png"):
            with Image.open(folder / name) as picture:
                assert len(picture.convert("L").getcolors()) > 10, f"{name} is empty"


def test_the_genotype_makes_a_network(done: tuple[Path, Search]) -> None:
    folder, search = done
    genotype = read_genotype(folder / "genotype.json")
    assert genotype == search.genotype == search.history[-1].genotype
    sample = MadeSamples(0)[0]
    image = NasN(genotype, channels=4, cascades=1)(sample.kspace[None], sample.mask[None])
    assert image.shape == sample.target[None].shape


def test_the_tables_tell_the_history(done: tuple[Path, Search]) -> None:
    folder, search = done
    with (folder / "alphas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5 * 5  # epochs, edges, operations
    for number, epoch in enumerate(search.history, 1):
        own = [row for row in rows if row["epoch"] == str(number)]
        alphas = torch.tensor([float(row["alpha"]) for row in own]).reshape(5, 5)
        torch.testing.assert_close(alphas, epoch.alphas)
        strengths = torch.tensor([float(row["softmax"]) for row in own]).reshape(5, 5)
        torch.testing.assert_close(strengths, epoch.alphas.softmax(1))
        derived = {(int(r["node"]), r["operation"], int(r["input"])) for r in own if r["derived"] == "1"}
        assert derived == {(i, *edge) for i, node in enumerate(epoch.genotype) for edge in node}
    with (folder / "epochs.csv").open() as file:
        losses = [float(row["weight_loss"]) for row in csv.DictReader(file)]
    assert losses == pytest.approx([epoch.weight_loss for epoch in search.history], rel=1e-6)


def test_a_checkpoint_of_something_else_is_refused(done: tuple[Path, Search], tmp_path: Path) -> None:
    folder, _ = done
    with pytest.raises(InputError, match="other data \\('data' instead of 'others'\\): choose another folder"):
        SearchFolder(folder, ["others"]).resume(Search(settings()))
    with pytest.raises(InputError, match="a search with epochs 2, not 3: choose another folder"):
        SearchFolder(folder, ["data"]).resume(Search(settings(epochs=3)))
    cut = SearchFolder(tmp_path)
    assert not cut.resume(Search(settings()))
    cut.checkpoint.write_bytes((folder / "search.ckpt").read_bytes()[:1000])
    with pytest.raises(InputError, match="is not the checkpoint of a search"):
        cut.resume(Search(settings()))
    torch.save({"weights": 1}, cut.checkpoint)
    with pytest.raises(InputError, match="is not the checkpoint of a search"):
        cut.resume(Search(settings()))


def test_files_read_otherwise_are_another_search(done: tuple[Path, Search], tmp_path: Path) -> None:
    _, search = done
    first = SearchFolder(tmp_path, reading="--axes 'slice y x'")
    first.save(search)
    assert first.resume(Search(settings()))
    other = SearchFolder(tmp_path, reading="--domain image")
    with pytest.raises(InputError, match="a search with reading \"--axes 'slice y x'\", not '--domain image': choose"):
        other.resume(Search(settings()))
    state = torch.load(first.checkpoint, weights_only=True)
    del state["reading"]  # as in checkpoints of an older version
    torch.save(state, first.checkpoint)
    assert other.resume(Search(settings()))


class Boom:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("executed"),))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(tmp_path)
    torch.save({"search": Boom(), "data": []}, folder.checkpoint)
    with pytest.raises(InputError, match="is not the checkpoint of a search"):
        folder.resume(Search(settings()))
    assert not Path("executed").exists()


def test_other_files_of_the_same_names_are_other_data(tmp_path: Path) -> None:
    search = Search(settings())
    files = {"a.h5": "10 bytes, 0123456789abcdef"}
    SearchFolder(tmp_path, ["data"], "--slices 50%", files).save(search)
    assert SearchFolder(tmp_path, ["data"], "--slices 50%", files).resume(search)
    with pytest.raises(InputError, match=r"on other data of this name \(a.h5 is another file now\)"):
        SearchFolder(tmp_path, ["data"], "--slices 50%", {"a.h5": "11 bytes"}).resume(search)
    state = torch.load(tmp_path / "search.ckpt", weights_only=False)
    del state["files"]  # as an earlier version wrote it
    torch.save({**state, "reading": "--slices 0.5"}, tmp_path / "search.ckpt")
    assert SearchFolder(tmp_path, ["data"], "--slices 50%", files).resume(search)
