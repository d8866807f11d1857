"""Calls that leave the dispatcher out: where nothing watches, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import csmri_ext
from csmri_ext import ops
from csmri_ext.ops import _direct
from csmri_ext.ops._direct import AlikeCalls, is_direct
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


@pytest.mark.parametrize("around", [lambda: torch.device("meta"), torch.inference_mode])
def test_tensors_are_the_same_wherever_the_module_is_imported(
    around: Callable[[], AbstractContextManager[Any]],
) -> None:
    spec = spec_from_file_location("imported_again", _direct.__file__)
    assert spec is not None and spec.loader is not None
    again = module_from_spec(spec)
    with around():
        spec.loader.exec_module(again)
    assert again.is_direct((torch.ones(3),))
    assert not again.is_direct((torch.ones(3, device="meta"),))
    with torch.inference_mode():
        assert again.is_direct((torch.ones(3),))


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
    ops.split_depthwise(x, weight)  # the calls that follow are not like this one
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


def _alike(*args: Any) -> AlikeCalls:
    alike = AlikeCalls()
    assert not alike.include(args)
    alike.add(args)
    assert alike.include(args)
    return alike


def test_calls_are_alike_whatever_the_extents_and_values() -> None:
    alike = _alike(torch.ones(2, 3), None, "x", torch.ones(3), 2)
    assert alike.include((torch.zeros(5, 8)[::2, ::3], None, "y", torch.ones(1), 5))


@pytest.mark.parametrize("watcher", WATCHED)
def test_no_call_is_alike_where_something_watches(watcher: str) -> None:
    x = torch.ones(3)
    alike = _alike(x)
    with WATCHED[watcher]():
        assert not alike.include((x,))
    with FakeTensorMode():
        assert not alike.include((x,))
    for transform in (torch.vmap, torch.func.grad):
        seen = []

        def f(y: Tensor, seen: list[bool] = seen) -> Tensor:
            seen.extend([alike.include((x,)), alike.include((y,))])
            return y.sum()

        transform(f)(x)
        assert seen == [False, False]


def test_other_tensors_are_not_alike() -> None:
    z = torch.ones(3, dtype=torch.complex64)
    alike = _alike(z, None, z.real)
    others = [
        z.conj(),
        z.as_subclass(_Subclass),
        z.to("meta"),
        z.to(torch.complex128),
        z[0],
        z.clone().requires_grad_(),
        None,
        [z],
    ]
    for other in others:
        assert not alike.include((other, None, z.real))
    assert not alike.include((z, z.clone(), z.real))
    assert not alike.include((z, None, z.conj().imag))
    assert not alike.include((z, None, torch.nn.Parameter(z.real)))


def test_tensors_that_require_gradients_are_direct_without_recording_only() -> None:
    x = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        alike = _alike(x)
    assert not alike.include((x,))


def test_what_cannot_be_compared_is_asked_for_each_time() -> None:
    x, alike = torch.ones(3), AlikeCalls()
    for args in ([x, x], [[x], x], ["x", 2]):
        alike.add(args)
        assert not alike.include(args)
    for ndim in range(30):  # no list that grows with each new kind of tensor
        alike.add((torch.ones((1,) * ndim),))
    assert not alike.include((torch.ones((1,) * 29),))


def test_without_the_guards_of_torch_every_call_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_direct, "TensorGuards", None)
    alike, args = AlikeCalls(), (torch.ones(3),)
    alike.add(args)
    assert is_direct(args) and not alike.include(args)


@pytest.mark.parametrize("mask", [torch.arange(8) % 3 == 0, (torch.arange(8) % 3 == 0)[:, None]], ids=["x", "y"])
def test_prepared_calls_that_are_alike_lose_no_check(mask: Tensor) -> None:
    image, kspace = torch.randn(2, 2, 8, 8, dtype=torch.complex64)
    prepared, eta = ops.prepare_data_consistency(kspace, mask), torch.tensor(0.5)
    for step in (eta, 0.5, 0.5, eta, torch.tensor(0.25), 0.25):
        result = ops.data_consistency_prepared(image, prepared, step)
        torch.testing.assert_close(result, twin(image, kspace, mask, step))
    strided = torch.randn(2, 8, 16, dtype=torch.complex64)[:, :, ::2]
    torch.testing.assert_close(ops.data_consistency_prepared(strided, prepared, eta), twin(strided, kspace, mask, eta))
    for wrong in (image[:1], image[:, :4], image[0], image.to(torch.complex128), image.real, image.to("meta"), None):
        for step in (eta, 0.5):
            with pytest.raises((TypeError, ValueError), match="data_consistency: "):
                ops.data_consistency_prepared(wrong, prepared, step)  # type: ignore[arg-type]
    for other in (torch.ones(2), torch.tensor(1j), "1", torch.ones(2, 1)):
        with pytest.raises(TypeError, match="data_consistency: eta"):
            ops.data_consistency_prepared(image, prepared, other)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prepared is a tuple"):
        ops.data_consistency_prepared(image, tuple(prepared), eta)  # type: ignore[arg-type]
    with csmri_ext.reference_ops(), _Calls() as watched:
        ops.data_consistency_prepared(image, prepared, eta)
    assert not any("csmri_ext" in name for name in watched.names)
    with csmri_ext.reference_ops():
        taken = ops.data_consistency_prepared(image, prepared, eta)
    assert torch.equal(taken, twin(image, kspace, prepared.mask, eta))
