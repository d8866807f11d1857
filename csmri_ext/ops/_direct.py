"""Calls that the dispatcher would bring to the CPU kernel and nowhere else: they need not go through it.

Torch's way from Python to an op that is written in Python, with all that it could meet on the way, takes as long as the
kernel on an image of 64 x 64. Most calls outside of training meet nothing. To ask each tensor and each state of the
thread takes longer than the kernel on 16 x 16, so calls that are alike are asked once (`AlikeCalls`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from csmri_ext.ops._older_torch import any_requires_grad

try:
    from torch._C._dynamo.guards import TensorGuards
except ImportError:  # a private name: without it every call is asked one by one
    TensorGuards = None  # type: ignore[assignment, misc]

_TENSORS = frozenset((Tensor, torch.nn.Parameter))
_NO_TENSORS = frozenset((str, bool, int, float, type(None)))
_autograd, _compiler = torch.autograd, torch.compiler
_included = torch._C._dispatch_tls_local_include_set
_functions, _gradients, _autocast = torch._C._len_torch_function_stack, torch.is_grad_enabled, torch.is_autocast_enabled
_modes = torch._C._len_torch_dispatch_stack
_Key = torch._C.DispatchKey
# Keys that a thread adds to those of its tensors: these two outside and inside of inference mode, and nothing where no
# mode of torch.utils._python_dispatch, transform of torch.func or trace of torch.jit is active.
_INFERENCE = torch._C.DispatchKeySet(_Key.BackendSelect)
_NOTHING = {_INFERENCE.raw_repr(), _INFERENCE.add(_Key.ADInplaceOrView).raw_repr()}
# Keys of a dense tensor on the CPU, made outside and inside of inference mode, that is not conjugated or negated
# lazily, nor wrapped: torch.func leaves wrappers behind that are no more than a name after their transform has ended.
_keys = torch._C._dispatch_keys


def _keys_of_made(inference: bool) -> int:
    with torch.inference_mode(inference):
        return _keys(torch.empty(0, device="cpu")).raw_repr()  # whatever device is the default during the import


_PLAIN = {_keys_of_made(inference) for inference in (False, True)}


def is_direct(args: Sequence[Any]) -> bool:
    """Whether an op of these arguments comes down to its kernel on the CPU.

    Not where anything watches or changes calls: compilation and tracing, modes, transforms, forward mode, autocast, a
    profiler, gradients that are wanted; nor where a tensor is no plain one, or must be conjugated or negated first.
    """
    if (
        _compiler.is_compiling()
        or _included().raw_repr() not in _NOTHING
        or _functions()
        or forward_ad._current_level >= 0
        or _autograd._profiler_enabled()
        or _autocast("cpu")
        or (_gradients() and any_requires_grad(*args))
    ):
        return False
    for x in args:  # as _are_plain: a call less
        kind = type(x)
        if kind in _TENSORS:
            if _keys(x).raw_repr() not in _PLAIN:
                return False
        elif kind not in _NO_TENSORS and not _are_plain((x,)):
            return False
    return True


def _are_plain(args: Sequence[Any]) -> bool:
    for x in args:
        kind = type(x)
        if kind in _TENSORS:
            if _keys(x).raw_repr() not in _PLAIN:
                return False
        elif kind is list or kind is tuple:
            if not _are_plain(x):
                return False
        elif kind not in _NO_TENSORS:
            return False
    return True


class AlikeCalls:
    """Arguments of calls that were direct before, compared with those of another call.

    Calls are alike if their arguments have the same types and, tensor by tensor, the same dtype, device, number of
    axes, lazy conjugation, wrappers and ``requires_grad``, in a thread that adds and leaves out the same dispatch keys,
    as in autocast and inference mode. Torch's compiler asks the same of the inputs of what it has compiled, in one call
    in C++: its guards are used here. Extents may differ, and so may values that are no tensors.
    """

    _MOST = 8  # kinds of tensors for the same types; more are asked one by one, each time

    def __init__(self) -> None:
        # with and without gradients being recorded: tensors that require one are direct in the latter only
        self._known: tuple[dict[Any, Any], dict[Any, Any]] = {}, {}

    def include(self, args: Sequence[Any]) -> bool:
        """Whether a call with these arguments `is_direct` for certain; if not, it still may be."""
        if (
            _compiler.is_compiling()
            or _functions()
            or _modes()  # the guards overlook torch's own
            or forward_ad._current_level >= 0
            or _autograd._profiler_enabled()
        ):
            return False
        found = self._known[_gradients()].get(tuple(map(type, args)))
        if found is None:
            return False
        pick, checks = found
        tensors = pick(args)
        for check in checks:  # noqa: SIM110  any() of a generator takes as long as all else here
            if check(*tensors):
                return True
        return False

    def add(self, args: Sequence[Any]) -> None:
        """Remember arguments for which `is_direct`."""
        if TensorGuards is None:
            return
        kinds = tuple(map(type, args))
        places = [i for i, kind in enumerate(kinds) if kind in _TENSORS]
        tensors = [args[i] for i in places]
        if not places or not _TENSORS.union(_NO_TENSORS).issuperset(kinds) or len(set(map(id, tensors))) < len(tensors):
            return  # lists are not looked into, and the guards refuse a tensor that comes twice
        known = self._known[_gradients()]
        pick, checks = known.get(kinds, (itemgetter(slice(None)), ()))
        if not checks:
            pick = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
        if len(checks) < self._MOST:
            any_extents: Any = [[None] * x.ndim for x in tensors]
            guards = TensorGuards(*tensors, dynamic_dims_sizes=any_extents, dynamic_dims_strides=any_extents)
            known[kinds] = pick, (*checks, guards.check)


def direct_where_possible(op: Callable[..., Any], implementation: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `implementation`, an op's on the CPU, where `is_direct`, else the op."""
    alike = AlikeCalls()
    include = alike.include

    @wraps(implementation)
    def call(*args: Any) -> Any:
        if include(args):
            return implementation(*args)
        if is_direct(args):
            alike.add(args)
            return implementation(*args)
        return op(*args)

    return call
