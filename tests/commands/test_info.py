from __future__ import annotations

import pytest

from csmri_ext.commands.cli import main
from csmri_ext.models import names
from csmri_ext.recon import methods


def test_every_model_is_a_method() -> None:
    networks = [name for name in methods.names() if methods.get(name).network is not None]
    assert set(names()) <= set(networks)


def test_info_prints_counts_and_layers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["info", "nasn_knee"]) == 0
    printed = capsys.readouterr().out
    for expected in (
        "142,272",
        "14.569 G",
        "15.070 G",
        "ReconstructionModule",
        "47,424",
        "nasn_knee.safetensors, sha256",
    ):
        assert expected in printed
    assert main(["info", "nasn_knee", "--size", "16", "16", "--depth", "0"]) == 0
    assert f"{142_272 * 256 / 1e9:.3f} G" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nasn_kne"], "unknown network 'nasn_kne'; did you mean nasn_knee"),
        (["tv"], "unknown network 'tv'"),
        (["nasn_knee", "--size", "0", "3"], "--size: '0' is not a positive whole number"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", *words]) == 2
    assert message in capsys.readouterr().err
