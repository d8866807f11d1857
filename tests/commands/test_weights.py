"""Files of weights and plugins in every command that takes a method."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from published_weights import ista_state
from small_comparisons import results, save

from csmri_ext import models
from csmri_ext.bridge import load
from csmri_ext.commands.cli import main
from csmri_ext.models import Description, save_weights
from csmri_ext.phantom import write_phantom
from csmri_ext.physics import make_mask
from csmri_ext.recon import methods

QUICK = ["--mask", "equispaced", "--acceleration", "2", "--seed", "1"]
SMALL = {"cascades": 1, "cells": 1, "channels": 8}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    methods.load_all()
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))


def write(path: str, seed: int, **said: object) -> str:
    torch.manual_seed(seed)
    model = models.build("nasn_2nodes", SMALL)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    described = Description.of(model, "nasn_2nodes", SMALL, data="made up", recipe={"steps": seed})
    save_weights(model, path, described.metadata())
    return path


def test_recon_takes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    weights = write("mine.safetensors", 5)
    source = save("a.npy")
    assert main(["recon", source, "out.npy", "--weights", weights, *QUICK]) == 0
    assert "out.npy: mine, 2 slices" in capsys.readouterr().out
    network = models.load(weights)
    kspace = torch.from_numpy(np.asarray(load(source).kspace[0]))
    mask = make_mask("equispaced", kspace.shape, 2, seed=1)
    with torch.inference_mode():
        expected = network(kspace * mask, mask)[0]
    np.testing.assert_allclose(np.load("out.npy")[0], expected.numpy(), atol=1e-5)


def test_compare_takes_several_files_and_records_them() -> None:
    words = [write("run_a/nasn.safetensors", 1), write("run_b/nasn.safetensors", 2), write("other.safetensors", 3)]
    words += ["./other.safetensors", write("dccnn3.safetensors", 4), write("tv.safetensors", 5)]
    assert main(["compare", save("a.npy"), "--methods", f"zero-filled,{','.join(words)},tv", *QUICK]) == 0
    found = results()
    here = Path.cwd().name
    names = ["zero-filled", "run_a-nasn", "run_b-nasn", "other", "dccnn3", f"{here}-tv", "tv"]
    assert [row["method"] for row in found["rows"]] == names
    assert len({row["psnr"] for row in found["rows"]}) == 7
    networks = {entry["method"]: entry for entry in found["provenance"]["networks"]}
    assert list(networks) == names[1:-1]
    other = networks["other"]
    assert other["sha256"] == hashlib.sha256(Path("other.safetensors").read_bytes()).hexdigest()
    assert (other["architecture"], other["data"], other["recipe"]) == ("nasn_2nodes", "made up", {"steps": 3})
    assert other["parameters"] == sum(p.numel() for p in models.build("nasn_2nodes", SMALL).parameters())
    assert "run_b-nasn" in Path("comparison/report.html").read_text()


def test_a_comma_belongs_to_a_file_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    odd, plain = write("a,tv/b,c.safetensors", 1), write("c.safetensors", 2)
    words = f"zero-filled,{odd},nasn_2nodes={plain},tv"
    assert [method.name for method in methods.choose(words, bart=False)] == ["zero-filled", "b,c", "c", "tv"]
    torch.save(ista_state(), "p,q.pkl")
    (published,) = methods.choose("ista_net_plus=p,q.pkl", bart=False)
    assert published.network is not None and published.network.model == "ista_net_plus"
    assert main(["compare", save("a.npy"), "--methods", "tv,a,d.safetensors", *QUICK]) == 2
    assert "a is no method and d.safetensors no file; commas separate methods" in capsys.readouterr().err
    assert not Path("comparison").exists()


@pytest.mark.slow
def test_info_says_what_a_file_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["info", write("mine.safetensors", 6)]) == 0
    printed = capsys.readouterr().out
    for expected in ("nasn_2nodes, trained on made up", "sha256: ", "steps: 6", "channels: 8", "reconstructions"):
        assert expected in printed
    state = {f"network.{name}": tensor for name, tensor in models.load("mine.safetensors").state_dict().items()}
    settings = {"name": "nasn_2nodes", **SMALL}
    torch.save({"state_dict": state, "hyper_parameters": {"settings": settings}}, "last.ckpt")
    assert main(["info", "last.ckpt"]) == 0
    printed = capsys.readouterr().out
    for expected in ("nasn_2nodes, trained on data that its file does not name", "channels: 8", "reconstructions"):
        assert expected in printed
    assert main(["info", "dccn3"]) == 2
    assert main(["train", "--model", "dccn3"]) == 2
    assert capsys.readouterr().err.count("did you mean dccnn3 (has weights)") == 2
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("nasn_knee" in line and "yes" in line for line in lines)
    assert any("ista_net_plus" in line and "csmri train" in line for line in lines)


def test_published_files_go_by_their_name(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(ista_state(), "published.pkl")
    source = save("a.npy")
    assert main(["recon", source, "a.png", "--weights", "published.pkl", *QUICK]) == 2
    assert "does not say which network" in capsys.readouterr().err
    assert main(["recon", source, "a.png", "--weights", "published.pkl", "--model", "ista_net_plus", *QUICK]) == 0
    assert main(["compare", source, "--methods", "zero-filled,ista_net_plus=published.pkl", *QUICK]) == 0
    assert [row["method"] for row in results()["rows"]] == ["zero-filled", "published"]
    assert main(["info", "published.pkl", "--model", "ista_net_plus"]) == 0


def test_data_in_any_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """Published networks expect images in [0, 1]; measured data have the scanner's unit."""
    torch.save(ista_state(), "published.pkl")
    network = models.load("published.pkl", "ista_net_plus")
    torch.manual_seed(0)
    kspace, mask = torch.randn(1, 16, 16, dtype=torch.complex64), torch.ones(16, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(network(1000 * kspace, mask), 1000 * network(kspace, mask), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "absent.safetensors"], "absent.safetensors: no such file"),
        (["--weights", "a.npy"], "expected a file that ends in .safetensors"),
        (["--weights", "w.safetensors", "--method", "tv"], "leave out --method"),
        (["--weights", "broken.safetensors"], "not a whole safetensors file"),
        (["--method", "nasn_nee"], "did you mean nasn_knee (has weights)"),
        (["--method", "ista_net_pluss"], "ista_net_plus (no weights)"),
        (["--plugin", "nowhere"], "expected MODULE:FUNCTION"),
        (["--plugin", "nowhere:register"], "No module named 'nowhere'"),
    ],
)
def test_bad_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("w.safetensors", 1)
    Path("broken.safetensors").write_bytes(b"no")
    assert main(["recon", save("a.npy"), "out.npy", *words]) == 2
    assert message in capsys.readouterr().err


def test_help_says_which_networks_have_weights(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("recon", "compare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        told = " ".join(capsys.readouterr().out.split())
        ready = told.split("networks with weights: ")[1].split(";")[0]
        assert "nasn_knee" in ready
        assert "ista_net_plus" not in ready
        assert "ista_net_plus" in told.split("networks without")[1]


def test_the_documented_example_joins_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "own_network.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    Path("my_network.py").write_text(code)
    write_phantom("a.h5", 1, size=32, seed=1)
    write_phantom("b.h5", 1, size=32, seed=2)
    plugin = ["--plugin", "my_network:register"]
    quick = ["--steps", "2", "--batch-size", "1", "--sizes", "32", "--steps-per-epoch", "2", "--validate-every", "1"]
    words = ["--model", "mine", "--set", "width=4", "--data", "a.h5", "b.h5", "--device", "cpu", *quick]
    assert main(["train", *plugin, *words]) == 0
    told = capsys.readouterr().out
    assert "runs/mine/mine.safetensors --plugin my_network:register" in told
    assert main(["compare", "a.h5", "--methods", "zero-filled,runs/mine/mine.safetensors", *plugin, *QUICK]) == 0
    assert [row["method"] for row in results()["rows"]] == ["zero-filled", "mine"]
    assert results()["provenance"]["networks"][0]["overrides"] == {"width": 4}
    assert main(["recon", "a.h5", "a.npy", "--weights", "runs/mine/mine.safetensors", *plugin, *QUICK]) == 0
    assert main(["recon", "a.h5", "a.npy", "--method", "mine", "--untrained", "--overwrite", *plugin, *QUICK]) == 0
