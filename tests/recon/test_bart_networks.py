"""``--bart-weights``: networks that BART trained, as rows of a comparison and as a method of ``csmri recon``."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_comparisons import results, run, save
from small_reconets import train

from csmri_ext.bridge import from_bart, read_cfl
from csmri_ext.commands.compare import main as compare
from csmri_ext.commands.recon import main as recon
from csmri_ext.recon.bart_networks import of_bart_weights

pytestmark = pytest.mark.usefixtures("in_empty_folder", "bart_binary")


def test_rows_of_both_networks_with_their_provenance(without_report: list, capsys: pytest.CaptureFixture[str]) -> None:
    for network in ("modl", "varnet"):
        train(Path(network), network)
    options = ["--acceleration", "4", "--bart-weights", "modl", "varnet.cfl", "--methods", "varnet-bart,zero-filled"]
    run(save("a.npy"), *options)
    document = results()
    rows = {row["method"]: row for row in document["rows"]}
    assert list(rows) == ["varnet-bart", "zero-filled", "modl-bart"], "named ones first, and what was given is there"
    facts = {entry["method"]: entry for entry in document["provenance"]["networks"]}
    for name, row in rows.items():
        assert row["psnr"] > 10
        if name != "zero-filled":
            assert row["details"]["weights"].endswith(facts[name]["sha256"][:16])
            assert row["parameters"] == facts[name]["parameters"] > 0
            assert row["flops"] is None
            assert facts[name]["training"].startswith(f"bart reconet -t --network {name.removesuffix('-bart')}")
            assert document["provenance"]["bart_argv"][name][:3] == ["bart", "reconet", "-a"]
    capsys.readouterr()
    train(Path("modl"), "modl", epochs=1)
    assert compare(["a.npy", *options]) == 2
    assert "modl-bart has other weights now" in capsys.readouterr().err


def test_recon_runs_it_and_records_the_hash(capsys: pytest.CaptureFixture[str]) -> None:
    train(Path("w"), "modl")
    words = [save("a.npy"), "out.cfl", "--bart-weights", "w", "--mask", "equispaced_fraction"]
    assert recon(words) == 0
    assert "modl-bart, 2 slices of 32 x 32" in capsys.readouterr().out
    assert from_bart(read_cfl("out")).shape == (2, 1, 32, 32)
    assert recon(words) == 0, "the same command makes the same"
    train(Path("w"), "modl", epochs=1)
    assert recon(words) == 2
    assert "w.cfl, sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bart-weights", "nowhere"], "nowhere.hdr: no such file"),
        (["--method", "modl-bart"], "--bart-weights FILE"),
        (["--bart-weights", "w", "--method", "tv"], "a method of its own"),
        (["--bart-weights", "w", "--method", "varnet-bart"], "weights of modl-bart, not of varnet-bart"),
        (["--bart-weights", "w", "--adapt"], "--adapt is for networks of PyTorch"),
        (["--bart-weights", "a.npy"], "no such file"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(Path("w"), "modl", epochs=1)
    assert recon([save("a.npy"), "out.npy", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out.npy").exists()


def test_two_files_of_one_network_are_told_apart() -> None:
    first = train(Path("one"), "modl", epochs=1)
    Path("other").mkdir()
    second = train(Path("other/two"), "modl", epochs=1)
    assert list(of_bart_weights([first, second, "one.hdr"])) == ["modl-bart-one", "modl-bart-two"]
