from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import csmri_ext
from csmri_ext.errors import InputError
from csmri_ext.models import HQS, Description, create, graphed, load_weights, names, save_weights

SMALL = {"stages": 1, "replicas": 1, "denoiser": "cnn"}


def test_names_and_errors() -> None:
    assert csmri_ext.models.names is names
    assert names()[:3] == ["ga_hqs", "a_hqs", "hqs"]
    assert len(names()) == len(set(names())) == 13
    with pytest.raises(InputError, match="unknown model 'nasn_kne'; did you mean nasn_knee"):
        create("nasn_kne")
    with pytest.raises(TypeError, match="depth"):
        create("hqs", depth=3)
    with pytest.raises(ValueError, match="denoiser is 'vae'"):
        create("hqs", denoiser="vae")
    with pytest.raises(ValueError, match="fusion is 'sum'"):
        create("ga_hqs", fusion="sum")
    with pytest.raises(ValueError, match="stages is 0, expected a whole number of at least 1"):
        create("hqs", stages=0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"start": "zero"}, "start is 'zero', expected identity or literal"),
        ({"order": "random"}, "order is 'random', expected replicas or terms"),
        ({"order": "terms"}, r"groups \(1, 2, 4, 8\) see only some of the terms"),
        ({"replicas": 4, "in_chans": 1, "splits": 1, "groups": (2,), "start": "zero"}, "start is 'zero'"),
        ({"replicas": 12, "splits": 1, "groups": (8,)}, r"12 replicas cannot be shared by groups \(8,\)"),
        ({"replicas": 8, "groups": (1, 2, 4, 8)}, "8 groups do not divide 48 inputs and 4 outputs"),
        ({"splits": 3}, r"32 outputs do not divide into splits=3 equal branches"),
        ({"splits": 5}, r"splits is 5, expected 1 to 4 branches"),
        ({"splits": 0}, r"splits is 0, expected a whole number of at least 1"),
        ({"groups": (1, 2)}, r"groups are \(1, 2\), expected a whole number for each of splits=4 branches"),
        ({"groups": (1, 2, "x", 4)}, r"groups are \(1, 2, 'x', 4\), expected a whole number"),
        ({"splits": 2, "groups": (1, 2, 4)}, r"groups are \(1, 2, 4\), expected a whole number for each of splits=2"),
        ({"width": 4}, "a width of 4 is less than the ratio of the channel attention, 8"),
        ({"width": 16, "denoiser": "unet"}, "width is 16 for the denoiser 'unet'"),
    ],
)
def test_settings_of_ga_hqs_that_do_not_fit(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create("ga_hqs", stages=1, **overrides)


def test_shipped_weights_bring_the_size_that_was_trained() -> None:
    trained, whole = create("ga_hqs", pretrained=True), create("ga_hqs")
    assert (trained.stages, trained.replicas, whole.stages, whole.replicas) == (4, 8, 8, 16)
    with pytest.raises(InputError, match="weights of another model"):
        create("ga_hqs", pretrained=True, stages=5)


def test_pretrained_needs_a_shipped_file() -> None:
    with pytest.raises(InputError, match="no weights for hqs come with this version"):
        create("hqs", pretrained=True)


def test_weights_and_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    first, second = create("hqs", **SMALL), create("hqs", **SMALL)
    save_weights(first, path, {"name": "hqs"})
    load_weights(second, path)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_equal_weights_are_equal_bytes_that_others_may_read(tmp_path: Path) -> None:
    """The library orders metadata by a hash that differs from call to call, and its files are for their owner alone."""
    model = create("hqs", **SMALL)
    names = [f"name{i}" for i in range(12)]
    before = os.umask(0o027)
    try:
        save_weights(model, tmp_path / "a.safetensors", dict.fromkeys(names, "é"))
        save_weights(model, tmp_path / "b.safetensors", dict.fromkeys(reversed(names), "é"))
    finally:
        os.umask(before)
    content = (tmp_path / "a.safetensors").read_bytes()
    assert content == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o640
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    assert list(json.loads(content[8 : 8 + length])["__metadata__"]) == sorted(names)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == dict.fromkeys(names, "é")


def test_shipped_weights_bring_their_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a smaller network than the paper's load without a word about its size."""
    (tmp_path / "weights").mkdir()
    overrides: dict[str, Any] = {"stages": 2, "denoiser": "cnn"}
    trained = create("a_hqs", **overrides)
    described = Description.of(trained, "a_hqs", overrides)
    save_weights(trained, tmp_path / "weights" / "a_hqs.safetensors", described.metadata())
    monkeypatch.setattr("csmri_ext.models.weight_files.files", lambda _: tmp_path)
    loaded = create("a_hqs", pretrained=True)
    assert all(torch.equal(x, y) for x, y in zip(loaded.parameters(), trained.parameters(), strict=True))
    with pytest.raises(InputError, match="weights of another model"):
        create("a_hqs", pretrained=True, stages=3)


def test_wrong_files_name_the_first_difference(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = create("hqs", **SMALL)
    save_weights(model, path)
    whole = path.read_bytes()

    def complaint(other: torch.nn.Module) -> str:
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(InputError) as caught:
            load_weights(other, path)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "theta has shape (2,), the model's has (3,)" in complaint(HQS(stages=2))
    assert "beta (1,) is missing" in complaint(HQS(stages=1, accelerated=True))
    wide = complaint(HQS(stages=1, in_chans=1))
    assert "denoisers.0.net.0.weight has shape (64, 2, 3, 3), the model's has (64, 1, 3, 3)" in wide
    save_weights(HQS(stages=1, accelerated=True), path)
    assert "beta (1,) is not in the model" in complaint(model)
    for broken in (whole[: len(whole) // 2], whole[:5], b"", b"not safetensors at all"):
        path.write_bytes(broken)
        assert "not a whole safetensors file" in complaint(model)
    with pytest.raises(OSError):
        load_weights(model, tmp_path / "absent.safetensors")


def test_graphs_need_a_gpu_and_evaluation() -> None:
    with pytest.raises(ValueError, match="GPU, got cpu, cpu"):
        graphed(create("hqs", **SMALL).eval(), (torch.zeros(1, 8, 8, dtype=torch.complex64), torch.ones(8) > 0))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["nasn_knee", "ga_hqs"])
def test_a_graph_equals_the_model(name: str) -> None:
    model = create(name).cuda().eval()
    kspace, mask = torch.randn(2, 1, 64, 64, dtype=torch.complex64, device="cuda"), torch.rand(64, device="cuda") < 0.5
    run = graphed(model, (kspace[0], mask))
    with torch.inference_mode():
        for data in kspace:
            torch.testing.assert_close(run(data, mask), model(data, mask))
    with pytest.raises(ValueError, match=r"captured for .*\(1, 64, 64\).*got .*\(1, 32, 64\)"):
        run(kspace[0, :, :32], mask)
    with pytest.raises(ValueError, match=r"model\.eval"):
        graphed(model.train(), (kspace[0], mask))


def test_mu_of_shipped_weights_can_be_learned_from_where_it_is() -> None:
    constant, learned = (create("nasn_knee", pretrained=True, **how) for how in ({}, {"trainable_mu": True}))
    torch.testing.assert_close(learned.data_steps.log_mu, constant.data_steps.log_mu)
    assert isinstance(learned.data_steps.log_mu, torch.nn.Parameter)
    for name, weight in constant.state_dict().items():
        torch.testing.assert_close(learned.state_dict()[name], weight, rtol=0, atol=0)
