"""Calls that leave the dispatcher out: where nothing watches, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from csmri_ext import ops
from csmri_ext.ops._direct import is_direct
from csmri_ext.ops.reference import data_consistency as twin


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Subclass(Tensor):
    pass


@contextmanager
def _mode_off(mode: TorchDispatchMode) -> Iterator[None]:
    with mode:
        pass
    yield


@pytest.mark.parametrize("around", [nullcontext, torch.no_grad, torch.inference_mode, lambda: _mode_off(_Calls())])
def test_plain_calls_are_direct(around: Callable[[], AbstractContextManager[Any]]) -> None:
    with around():
        x = torch.ones(3)
        parameter = torch.nn.Parameter(torch.ones(3), requires_grad=False)
        assert is_direct((x, None, "x", True, 2, 0.5, [x, parameter], parameter))


WATCHED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "dispatch mode": _Calls,
    "function mode": _Functions,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "profiler": lambda: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
    "forward mode": forward_ad.dual_level,
}


@pytest.mark.parametrize("watcher", WATCHED)
def test_what_watches_sees_the_op(watcher: str) -> None:
    with WATCHED[watcher]():
        assert not is_direct((torch.ones(3),))


@pytest.mark.parametrize("nested", [False, True])
def test_other_tensors_are_left_to_the_dispatcher(nested: bool) -> None:
    z = torch.ones(3, dtype=torch.complex64)
    others = [
        z.conj(),
        z.conj().imag,
        z.as_subclass(_Subclass),
        torch.ones(3, device="meta"),
        torch.ones(3, requires_grad=True),
    ]
    for x in others:
        assert not is_direct(([x],) if nested else (x,))
    with torch.no_grad():
        assert is_direct((others[-1],))


def test_transforms_and_traces_see_the_op() -> None:
    seen = []

    def f(x: Tensor) -> Tensor:
        seen.append(is_direct((x,)))
        return ops.split_depthwise(x, weight)

    weight, x = torch.randn(3, 2, 3, 3), torch.randn(1, 8, 4, 4)
    torch.vmap(f)(x.unsqueeze(0))
    torch.func.vjp(f, x)
    torch.func.jvp(f, (x,), (x,))
    for pre_dispatch in (False, True):
        graph = make_fx(f, pre_dispatch=pre_dispatch)(x)
        assert "csmri_ext.split_depthwise" in graph.code
    assert seen == [False] * len(seen)


def test_the_op_is_seen_and_gives_the_same() -> None:
    image, kspace = torch.randn(2, 2, 6, 8, dtype=torch.complex64)
    mask, eta = torch.rand(8) < 0.5, torch.tensor(0.5)
    prepared = ops.prepare_data_consistency(kspace, mask)
    calls: list[Callable[[Tensor], Tensor]] = [
        lambda x: ops.data_consistency(x, kspace, mask, eta),
        lambda x: ops.data_consistency_prepared(x, prepared, eta),
    ]
    for call, name in zip(calls, ("data_consistency_once", "data_consistency"), strict=True):
        direct = call(image)
        with _Calls() as watched:
            seen = call(image)
        assert f"csmri_ext.{name}.default" in watched.names
        assert torch.equal(direct, seen)
        torch.testing.assert_close(direct, twin(image, kspace, mask, eta))
        torch.testing.assert_close(call(image.conj()), twin(image.conj(), kspace, mask, eta))
        assert call(image.clone().requires_grad_()).requires_grad
