"""The types of the compiled module that mypy reads are those of the module."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from csmri_ext import _core

ROOT = Path(__file__).parents[2]


def generated() -> str:
    spec = importlib.util.spec_from_file_location("stub", ROOT / "csrc" / "bindings" / "stub.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.stub(_core))


def test_the_stub_is_up_to_date() -> None:
    assert (ROOT / "csmri_ext" / "_core.pyi").read_text() == generated(), "run python csrc/bindings/stub.py"


def test_the_stub_knows_every_name_and_no_unknown_type() -> None:
    text = generated()
    for name in vars(_core):
        if not name.startswith("_") and "_cuda_" not in name:
            assert f" {name}(" in text or f"class {name}:" in text or f"\n{name}: " in text, name
    assert "csmri::" not in text and "object" not in text


def test_structs_are_made_by_name() -> None:
    extents = {"batch": 1, "splits": 2, "channels": 3, "ny": 4, "nx": 5}
    args = _core.SplitDepthwiseArgs(x=64, weight=128, out=192, **extents)
    assert (args.x, args.weight, args.out) == (64, 128, 192)
    assert {name: getattr(args, name) for name in extents} == extents
    with pytest.raises(TypeError):
        _core.SplitDepthwiseArgs(64, 128, 192, 1, 2, 3, 4, 5)  # type: ignore[misc, call-arg]
    with pytest.raises(TypeError):
        _core.SplitDepthwiseArgs(x=64, weight=128, out=192, batch=1)  # type: ignore[call-arg]


def test_lists_longer_than_the_struct_are_refused() -> None:
    edge = {"first": 0, "second": 0, "x": 0, "channels": 1, "pixel": 1}
    term = _core.NodeTerm(operation=_core.Separable.skip, **edge)
    numbers = {"out": 0, "outputs": 1, "out_pixel": 1, "batch": 1, "ny": 1, "nx": 1, "tf32": False}
    args = _core.SeparableNodeArgs(term=[term] * _core.MAX_TERMS, **numbers)
    assert [t.operation for t in args.term] == [_core.Separable.skip] * _core.MAX_TERMS
    assert len(_core.SeparableNodeArgs(term=[term] * 2, **numbers).term) == 2
    with pytest.raises(ValueError, match=f"term has {_core.MAX_TERMS + 1} elements, at most {_core.MAX_TERMS} fit"):
        _core.SeparableNodeArgs(term=[term] * (_core.MAX_TERMS + 1), **numbers)
