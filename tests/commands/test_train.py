from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from csmri_ext.commands import cli
from csmri_ext.commands.train import main
from csmri_ext.models import build, create, load_weights, read_description, save_weights
from csmri_ext.models.genotypes import GENOTYPES, write_genotype
from csmri_ext.models.nasn import NasN
from csmri_ext.phantom import write_phantom

QUICK = ["--steps", "2", "--batch-size", "1", "--sizes", "32", "--steps-per-epoch", "2", "--validate-every", "1"]
QUICK += ["--device", "cpu"]


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    for seed in range(3):
        write_phantom(folder / f"subject_{seed}.h5", 1, size=32, seed=seed)
    return folder


@pytest.mark.slow
def test_a_network_of_the_baselines_on_files(
    tmp_path: Path, subjects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["--model", "dccnn3", "--data", str(subjects), "--out", str(out), *QUICK]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(out / "dccnn3.safetensors")
    commands = [shlex.split(line.split(":", 1)[1]) for line in printed[1:]]
    assert [command[:2] for command in commands] == [["csmri", "recon"], ["csmri", "compare"]]
    first, last = (commands[1].index(word) for word in ("--mask", "--acceleration"))
    assert commands[1][first + 1 : last] == ["random", "equispaced_fraction", "radial_golden"], "as in training"
    reconstruct = [word.replace("SCAN", str(subjects / "subject_0")) for word in commands[0][1:]]
    assert cli.main([word.replace("IMAGE", str(tmp_path / "image")) for word in reconstruct]) == 0
    assert cli.main([*commands[1][1:], "--out", str(tmp_path / "comparison"), "--tv-weight", "0.01"]) == 0
    load_weights(build("dccnn3"), out / "dccnn3.safetensors")


def test_a_searched_cell_on_the_phantom(tmp_path: Path) -> None:
    write_genotype(tmp_path / "found.json", GENOTYPES["2nodes"])
    words = ["--genotype", str(tmp_path / "found.json"), "--volumes", "2", "--cache", str(tmp_path / "cache")]
    assert main([*words, "--validation-slices", "1", "--out", str(tmp_path / "run"), *QUICK]) == 0
    load_weights(NasN("2nodes"), tmp_path / "run" / "nasn.safetensors")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["data"] == "procedural phantom, 2 subjects from seed 1000"
    assert described["recipe"]["steps"] == 2


def test_settings_of_the_network_and_a_training_that_diverges(
    tmp_path: Path, subjects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["--model", "a_hqs", "--set", "stages=2", "denoiser=cnn", "--data", str(subjects), *QUICK]
    assert main([*words, "--steps-per-epoch", "1", "--out", str(out)]) == 0
    load_weights(create("a_hqs", stages=2), out / "a_hqs.safetensors")
    assert json.loads((out / "run.json").read_text())["overrides"] == {"stages": 2, "denoiser": "cnn"}
    capsys.readouterr()
    diverging = tmp_path / "diverging"
    more = ["--steps", "400", "--recipe", "ga-hqs", "--learning-rate", "1e30", "--out", str(diverging)]
    assert main([*words, *more]) == 2
    err = capsys.readouterr().err
    assert "not finite numbers after step" in err or "not a finite number after step" in err
    assert "a learning rate below 1e+30 may help" in err
    assert not (diverging / "a_hqs.safetensors").exists()


def test_from_given_weights(tmp_path: Path, subjects: Path) -> None:
    words = ["--model", "modl3", "--data", str(subjects), *QUICK]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    first = tmp_path / "a" / "modl3.safetensors"
    assert main([*words, "--learning-rate", "1e-12", "--init", str(first), "--out", str(tmp_path / "b")]) == 0
    before, after = load_file(first), load_file(tmp_path / "b" / "modl3.safetensors")
    assert all((after[name] - tensor).abs().max() < 1e-6 for name, tensor in before.items())
    data = read_description(tmp_path / "b" / "modl3.safetensors").data
    assert data.split(", ")[1].startswith("from modl3.safetensors (sha256 ")


def test_options_layers_that_do_not_fit_and_frozen_ones(
    tmp_path: Path, subjects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(create("nasn_2nodes", cascades=1, cells=1, channels=8), tmp_path / "first.safetensors")
    words = ["--model", "nasn_2nodes", "--data", str(subjects), "--init", str(tmp_path / "first.safetensors"), *QUICK]
    words += ["--set", "cascades=1", "--set", "cells=2", "--set", "channels=8", "--set", "peak=3"]
    words += ["--freeze", "reconstructions.0.stem", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "reconstructions.0.cells.1 is not in the file" in told
    weights = tmp_path / "run" / "nasn_2nodes.safetensors"
    described = read_description(weights)
    assert described.overrides == {"cascades": 1, "cells": 2, "channels": 8, "peak": 3.0}
    assert described.data.endswith("reconstructions.0.stem frozen")
    trained, first = load_file(weights), load_file(tmp_path / "first.safetensors")
    assert torch.equal(trained["reconstructions.0.stem.0.weight"], first["reconstructions.0.stem.0.weight"])
    cell = "reconstructions.0.cells.0.before.weight"
    assert not torch.equal(trained[cell], first[cell])
    # from a file that says it all, without --model
    more = ["--init", str(weights), "--data", str(subjects), "--out", str(tmp_path / "more"), *QUICK]
    assert main(more) == 0
    assert read_description(tmp_path / "more" / "nasn_2nodes.safetensors").overrides == described.overrides


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what shall be trained?"),
        (["--model", "nasn_kne"], "unknown model 'nasn_kne'; did you mean nasn_knee"),
        (["--model", "dccnn3", "--recipe", "nas"], "unknown recipe 'nas'; did you mean nasn"),
        (["--model", "dccnn3", "--loss", "l3"], "unknown loss 'l3'; did you mean l1"),
        (["--model", "dccnn3", "--genotype", "x.json"], "leave out --model"),
        (["--model", "ga_hqs", "--set", "stages"], "--set stages: expected NAME=VALUE"),
        (["--model", "ga_hqs", "--set", "deep=3"], "ga_hqs has no option 'deep'; it has denoiser, "),
        (["--model", "ga_hqs", "--set", "stages=two"], "--set stages=two: expected a whole number, as in stages=8"),
        (["--model", "ga_hqs", "--set", "replicas=8", "groups=1,2,4,8"], "8 groups do not divide 48 inputs"),
        (["--model", "dccnn3", "--data", "phantom", "x.h5"], "cannot be mixed with files"),
        (["--model", "dccnn3", "--data", "nowhere.h5"], "nowhere.h5: no such file"),
        (["--model", "dccnn3", "--masks", "spiral", "--data", "{subjects}"], "masks spiral"),
        (["--model", "dccnn3", "--data", "{subjects}/subject_0.h5"], "one subject alone leaves none to validate"),
    ],
)
def test_bad_input(
    words: list[str], message: str, tmp_path: Path, subjects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("{subjects}", str(subjects)) for word in words]
    assert main([*QUICK, *words, "--out", str(tmp_path / "run")]) == 2  # quick, should it train after all
    err = capsys.readouterr().err
    *told, error = err.splitlines()
    assert message in error
    assert all("read as" in line for line in told)
    assert not (tmp_path / "run").exists()


def test_coils_and_phase(tmp_path: Path, subjects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_genotype(tmp_path / "found.json", GENOTYPES["2nodes"])
    words = ["--genotype", str(tmp_path / "found.json"), "--data", str(subjects), "--accelerations", "2"]
    words += ["--recipe", "measured", "--coils", "3", "--phase", "1", "--echo-shift", "2", "--noise", "0.01", "0.02"]
    words += ["--true-maps", "0", "--strip", "16", "--out", str(tmp_path / "run"), *QUICK]
    assert main(words) == 0
    recipe = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert (recipe["coils"], recipe["noise"], recipe["strip"], recipe["target"]) == ([3], [0.01, 0.02], 16, "combined")
    assert main([*words, "--target", "image"]) == 2
    assert "target is 'image', expected combined or rss" in capsys.readouterr().err
