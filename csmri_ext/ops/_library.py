"""The one `torch.library.Library` of the package, and the step from tensors to the compiled core.

Every op is defined here through `register`, so that each has the same parts: a schema, an implementation for CPU (and
for CUDA where the core was built with it), a fake for tracing, derivatives in both directions (`_derivatives`), a rule
for `torch.vmap` (`_batching`), an autocast rule and a FLOP formula. `_core` is reached only from implementations,
through `launch`: the dispatcher has resolved lazy conjugates and negatives by then, which raw pointers would get wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from csmri_ext.ops._batched_gradients import register_batched_gradients
from csmri_ext.ops._batching import Batching, register_batching
from csmri_ext.ops._derivatives import Derivatives, VjpProblem, register_derivatives
from csmri_ext.ops._direct import direct_where_possible

try:
    from csmri_ext import _core
except ImportError as error:
    raise ImportError(
        f"csmri_ext._core, the compiled part of csmri_ext, cannot be loaded ({error}); `pip install .` builds it"
    ) from error
try:
    _core.simd_level()
except RuntimeError as error:  # CSMRI_SIMD asks for what there is not: say so now, not in the middle of a network
    raise ImportError(str(error)) from error

LIBRARY = torch.library.Library("csmri_ext", "FRAGMENT")  # collected means unregistered: keep it in a module global
CUDA_BUILT = _core.build_info()["cuda"] is not None

_KERNEL_SUFFIX = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.complex64: "f32",
    torch.complex128: "f64",
    torch.bfloat16: "bf16",
    torch.float16: "f16",
}


# What `launch` has found: looking a kernel up by its name costs as much as a small image.
_KERNELS: dict[tuple[str, torch.dtype, bool], tuple[Callable[..., Any], Callable[..., int]]] = {}


SMALL_SCRATCH = 1 << 17  # bytes that each Python thread keeps, since making them takes as long as a small image


class _KeptScratch(threading.local):
    """Scratch of the calling thread, which runs one kernel at a time."""

    def __init__(self) -> None:
        self.scratch = torch.empty(SMALL_SCRATCH, dtype=torch.uint8, device="cpu")
        self.workspaces: dict[int, _core.Workspace] = {}

    def workspace(self, threads: int) -> _core.Workspace:
        found = self.workspaces.get(threads)
        if found is None:
            found = _core.Workspace(scratch=self.scratch.data_ptr(), threads=threads, device=0, stream=0)
            self.workspaces[threads] = found
        return found


_kept = _KeptScratch()
_threads = torch.get_num_threads


def register(
    schema: str,
    implementation: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    flops: Callable[..., int],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    jvp: Callable[..., Any] | None = None,
    twin: Callable[..., Any] | None = None,
    gradient_of: Callable[..., VjpProblem] | None = None,
    constants: dict[str, str] | None = None,
    batching: Batching | None = None,
    devices: Sequence[str] = ("CPU", "CUDA"),
) -> Callable[..., Any]:
    """Define an op `torch.ops.csmri_ext.<name>` with all its parts, and return a function that calls it.

    The function leaves the dispatcher out where nothing is left to dispatch to but the kernel (`_direct`).

    Parameters
    ----------
    schema
        ``"name(Tensor x, ...) -> Tensor"``. Functional: outputs are new tensors and no input changes.
    implementation
        Computes the op on real data, on the CPU or on a GPU: allocates outputs with ``x.new_empty(shape)`` (contiguous,
        which `fake` must repeat) and calls `launch`.
    fake
        Returns empty outputs of the right shapes and dtypes (``x.new_empty(shape)``), for tracing.
    flops
        FLOP count, called by `torch.utils.flop_counter.FlopCounterMode` with the op's arguments, tensors replaced by
        their shapes, and ``out_shape``.
    backward, setup_context, jvp, twin, gradient_of, constants
        Derivatives, see `Derivatives`. Incoming gradients may be expanded: pass them through ``.contiguous()``.
    batching
        How `torch.vmap` finds the batch; default: it does not, and calls the op for each element.
    devices
        Where there are kernels. Elsewhere torch says that the op could not be run there.
    """
    name = schema[: schema.index("(")]
    qualified = f"csmri_ext::{name}"
    LIBRARY.define(schema)
    for key in devices:
        if key != "CUDA" or CUDA_BUILT:
            LIBRARY.impl(name, implementation, key)
    torch.library.register_fake(qualified, fake, lib=LIBRARY)
    for device_type in ("cpu", "cuda"):  # float16 and bfloat16 inputs become float32, complex ones stay as they are
        torch.library.register_autocast(qualified, device_type, torch.float32, lib=LIBRARY)

    packet = getattr(torch.ops.csmri_ext, name)
    register_flop_formula(packet)(flops)
    op: Callable[..., Any] = packet.default
    register_derivatives(
        LIBRARY, op, implementation, Derivatives(backward, setup_context, jvp, twin, gradient_of, constants or {})
    )
    register_batching(LIBRARY, op, batching or Batching())
    register_batched_gradients(LIBRARY, op)
    return direct_where_possible(op, implementation) if "CPU" in devices else op


def launch(name: str, like: Tensor, args: Any, n_bytes: int | None = None) -> None:
    """Run the kernel ``_core.<name>_<device>_<dtype>(args, workspace)`` for the device and dtype of `like`.

    The workspace is as csrc/core/workspace.hpp says: scratch of the size that the kernel asks for, and on the CPU the
    number of threads, torch's own, since OpenMP's default differs from it in a fresh Python thread; on a GPU the device
    and the current stream. Kernels neither allocate nor wait for a GPU. `n_bytes`: of the scratch, where the caller
    remembers what `scratch_bytes` has said.
    """
    on_gpu = like.is_cuda
    key = (name, like.dtype, on_gpu)
    pair = _KERNELS.get(key)
    if pair is None:
        pair = _KERNELS[key] = kernel_for(name, like), kernel_for(f"{name}_scratch_bytes", like)
    kernel, scratch_bytes = pair
    if not on_gpu:
        threads = _threads()
        if n_bytes is None:
            n_bytes = scratch_bytes(args, threads)
        if n_bytes <= SMALL_SCRATCH:
            kernel(args, _kept.workspaces.get(threads) or _kept.workspace(threads))
            return
        scratch = torch.empty(n_bytes, dtype=torch.uint8)
        kernel(args, _core.Workspace(scratch=scratch.data_ptr(), threads=threads, device=0, stream=0))
        return
    scratch = torch.empty(scratch_bytes(args, 1), dtype=torch.uint8, device=like.device)
    stream = torch.cuda.current_stream(like.device).cuda_stream
    kernel(args, _core.Workspace(scratch=address(scratch), threads=1, device=like.device.index, stream=stream))


class Recurring:
    """A kernel and its arguments at address 0, for calls of equal extents: each then only gives its addresses.

    Parameters
    ----------
    name
        As `launch` takes it.
    args
        With the methods ``at`` and ``run_cpu_<dtype>`` of csrc/bindings.
    dtype
        Of the tensors.
    """

    def __init__(self, name: str, args: Any, dtype: torch.dtype) -> None:
        suffix = _KERNEL_SUFFIX.get(dtype)
        self._name, self._at = name, args.at
        self._run: Callable[..., None] | None = getattr(args, f"run_cpu_{suffix}", None)
        self._n_bytes: dict[tuple[int, bool], int] = {}  # threads, and whether the one address that may be 0 is

    def launch(self, like: Tensor, *addresses: int) -> None:
        """Run the kernel, as the function `launch` does."""
        run = self._run
        if like.is_cuda or run is None:
            launch(self._name, like, self._at(*addresses))
            return
        threads = _threads()
        key = threads, 0 in addresses
        n_bytes = self._n_bytes.get(key)
        if n_bytes is None:
            n_bytes = kernel_for(f"{self._name}_scratch_bytes", like)(self._at(*addresses), threads)
            self._n_bytes[key] = n_bytes
        if n_bytes <= SMALL_SCRATCH:
            run(*addresses, _kept.workspaces.get(threads) or _kept.workspace(threads))
            return
        scratch = torch.empty(n_bytes, dtype=torch.uint8)
        run(*addresses, _core.Workspace(scratch=scratch.data_ptr(), threads=threads, device=0, stream=0))


def autocasting(device: torch.device) -> bool:
    """Whether autocast is on for a device; on "meta", where shapes alone are computed, there is none."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def kernel_for(name: str, like: Tensor) -> Callable[..., Any]:
    """Return ``_core.<name>_<device>_<dtype>`` for the device and dtype of `like`; TypeError if there is none."""
    found = getattr(_core, f"{name}_{like.device.type}_{_KERNEL_SUFFIX.get(like.dtype)}", None)
    if found is None:
        raise TypeError(
            f"{name}: no kernel for {like.dtype} on {like.device.type}; float32 and float64 are computed everywhere, "
            "bfloat16 and float16 (real tensors only) on CUDA"
        )
    kernel: Callable[..., Any] = found
    return kernel


def autocast_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that the tensors of a call take on under autocast, after its main input `x`.

    A float16 or bfloat16 tensor on CUDA keeps its type, which is one of storage only: kernels add in float32. It would
    gain nothing from becoming float32, and cost twice the bytes. float32 stays as it is, since rounding it would be
    another pass over memory. On the CPU, whose kernels store float32 and float64 only, 16 bits become float32.
    """
    keeps = x.dtype == torch.float64 or (x.is_cuda and x.dtype in (torch.bfloat16, torch.float16))
    return x.dtype if keeps else torch.float32


def convolution_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that the tensors of a NasN op take on under autocast, after its main input `x`.

    On CUDA autocast's own, as of torch's convolutions. On the CPU float32, in which kernels and twins alike compute.
    float64 stays as it is.
    """
    if x.dtype == torch.float64:
        return x.dtype
    return torch.get_autocast_dtype("cuda") if x.is_cuda else torch.float32


def without_autocast(op: Callable[..., Any], dtype: torch.dtype, like: Tensor, *arguments: Any) -> Any:
    """Return ``op(*arguments)`` outside of autocast on the device of `like`, real tensors, in lists too, as `dtype`."""

    def cast(argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return argument.to(dtype) if argument.is_floating_point() else argument
        return [cast(element) for element in argument] if isinstance(argument, (list, tuple)) else argument

    with torch.autocast(like.device.type, enabled=False):
        return op(*map(cast, arguments))


def tf32_allowed(like: Tensor) -> bool:
    """Whether torch lets convolutions of float32 tensors on this device round their factors to TF32.

    The setting that cuDNN's convolutions obey: ``torch.backends.cudnn.conv.fp32_precision``, which follows the settings
    above it where it says "none", and in which ``torch.backends.cudnn.allow_tf32`` ends; before torch 2.9 the latter
    alone. It is read at each call, so that a captured CUDA graph keeps what held when it was captured.
    """
    if not like.is_cuda:
        return False
    conv = getattr(torch.backends.cudnn, "conv", None)
    return bool(torch.backends.cudnn.allow_tf32 if conv is None else conv.fp32_precision == "tf32")


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which kernels add numbers of `dtype`: Sum<T> of csrc/core/storage.hpp."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def address(x: Tensor | None) -> int:
    """Return the address of a contiguous tensor's first element; 0 for None."""
    return 0 if x is None else x.data_ptr()


def addresses(**tensors: Tensor | None) -> dict[str, int]:
    """Return `address` of each, under the names that the arguments of a kernel have."""
    return {name: address(x) for name, x in tensors.items()}
