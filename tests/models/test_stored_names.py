"""State dicts of our networks under the names that wrappers give them, and what is said of files of others."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from published_weights import ista_state, varnet_state
from safetensors.torch import save_file
from torch import Tensor, nn

from csmri_ext import models
from csmri_ext.errors import InputError
from csmri_ext.models.stored_names import named_as

SMALL = {"stages": 1, "denoiser": "cnn"}


@pytest.fixture(scope="module")
def hqs() -> nn.Module:
    torch.manual_seed(0)
    return models.build("hqs")


def require_equal(network: nn.Module, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "module.model.", "_orig_mod.", "my_net."])
@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".safetensors"])
def test_what_stands_before_all_names_goes(prefix: str, ending: str, hqs: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    state = {prefix + name: tensor for name, tensor in hqs.state_dict().items()}
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if ending == ".ckpt" else state, path)
    require_equal(models.load(path, "hqs"), hqs.state_dict())


def test_wrappers_of_torch() -> None:
    inner = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    averaged = torch.optim.swa_utils.AveragedModel(inner).state_dict()
    assert "n_averaged" in averaged
    inside = {name.replace("0.", "0._orig_mod."): tensor for name, tensor in inner.state_dict().items()}
    for state in (averaged, torch.compile(inner).state_dict(), inside):
        assert named_as(inner.state_dict(), state).keys() == inner.state_dict().keys()


def test_more_than_a_network_is_not_taken_for_it(hqs: nn.Module, tmp_path: Path) -> None:
    state = {f"network.{name}": tensor for name, tensor in hqs.state_dict().items()} | {"extra.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"another model than hqs: extra\.bias \(3,\) is not in the model$"):
        models.load(tmp_path / "w.pt", "hqs")


def test_the_line_names_what_is_missing_too_much_and_of_another_shape(hqs: nn.Module, tmp_path: Path) -> None:
    state = hqs.state_dict()
    del state["denoisers.7.net.8.bias"]
    state |= {"theta": torch.zeros(3), "gamma": torch.zeros(5)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError) as raised:
        models.load(tmp_path / "w.pt", "hqs")
    assert str(raised.value) == (
        f"{tmp_path / 'w.pt'}: weights of another model than hqs: denoisers.7.net.8.bias (2,) is missing; "
        "theta has shape (3,), the model's has (9,); gamma (5,) is not in the model"
    )


def test_state_dicts_of_ours_where_authors_have_a_form_of_their_own(tmp_path: Path) -> None:
    ours = models.build("ista_net_plus")
    torch.save({f"model.{name}": tensor for name, tensor in ours.state_dict().items()}, tmp_path / "ours.pt")
    require_equal(models.load(tmp_path / "ours.pt", "ista_net_plus"), ours.state_dict())
    torch.save(models.build("hqs", SMALL).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match="neither a file of the authors of ista_net_plus nor a state dict of ours"):
        models.load(tmp_path / "other.pt", "ista_net_plus")


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".safetensors"])
def test_published_files_under_other_names(prefix: str, ending: str, tmp_path: Path) -> None:
    plain = {"ista_net_plus": ista_state(), "e2e_varnet": varnet_state()}
    for name, published in plain.items():
        state = {prefix + key.removeprefix("module."): tensor for key, tensor in published.items()}
        path = tmp_path / f"{name}{ending}"
        save_file(state, path) if ending == ".safetensors" else torch.save({"state_dict": state}, path)
        torch.save(published, tmp_path / f"{name}_as_published.pt")
        expected = models.load(tmp_path / f"{name}_as_published.pt", name)
        require_equal(models.load(path, name), expected.state_dict())


def test_a_file_without_a_name_is_told_what_it_fits(tmp_path: Path) -> None:
    torch.save(models.build("a_hqs").state_dict(), tmp_path / "a.pt")
    torch.save(ista_state(), tmp_path / "published.pkl")
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(InputError, match=r"a\.pt in --methods\); its weights fit a_hqs$"):
        models.load(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"its weights fit ista_net_plus$"):
        models.load(tmp_path / "published.pkl")
    with pytest.raises(InputError, match=r"the first is weight \(3, 2\)$"):
        models.load(tmp_path / "linear.pt")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("w.pt", b"\x89HDF\r\n\x1a\n" + bytes(80), "it is an HDF5 file"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("w.safetensors", b"<!DOCTYPE html><html>404</html>", "a web page"),
        ("w.pkl", b"", "it is empty"),
        ("w.ckpt", b"\x10\0\0\0\0\0\0\0" + b'{"a":1}' + bytes(9), "looks like safetensors"),
    ],
)
def test_what_a_foreign_file_is(name: str, content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(name)}: .*{what}"):
        models.load(tmp_path / name, "hqs")


def test_a_file_that_is_cut_off_is_what_its_name_says(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(400)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    for size in (40, 800):
        (tmp_path / "w.safetensors").write_bytes(content[:size])
        with pytest.raises(InputError, match=r"w\.safetensors: not a whole safetensors file \([^)]*\)$"):
            models.load(tmp_path / "w.safetensors", "hqs")


def test_foreign_files_of_torch_and_numpy(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    torch.save(layer, tmp_path / "module.pt")
    torch.save(layer.state_dict(), tmp_path / "torch.safetensors")
    np.savez(tmp_path / "arrays", a=np.ones(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.pt")
    for name, what in {
        "module.pt": r"objects other than tensors.*torch\.save\(network\.state_dict\(\), FILE\)",
        "torch.safetensors": r"a file of torch\.save: give it a name that ends in \.pt",
        "arrays.pt": "an archive of numpy",
    }.items():
        with pytest.raises(InputError, match=what):
            models.load(tmp_path / name, "hqs")
