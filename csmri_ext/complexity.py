"""What a network costs: parameters and floating-point operations, counted as in the NasN paper's tables."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable numbers of a module; shared weights count once, complex ones twice.

    Parameters
    ----------
    module
        Any module.
    """
    trainable = (p for p in module.parameters() if p.requires_grad)
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in trainable)


def count_flops(module: nn.Module, shape: Sequence[int], *, relu: bool = False) -> int:
    """Count the operations of one forward pass as the NasN paper does.

    One per multiply-add of a convolution or linear layer, and one per bias added to an output element. With `relu`,
    also one per output element of a ReLU (leaky and parametric ones too): the paper's own counter saw these in RDN and
    NasN, but not in U-net, DCCNN and MoDL. Fourier transforms, data consistency, normalisation, pooling, attention
    products and sums of features are not counted. Shared layers count every time they run.

    Only modules are seen, not calls of ``torch.nn.functional``. A layer whose work is not done by such modules declares
    it by two optional methods, which replace whatever its children would count::

        def flops(self, *input_shapes: torch.Size) -> int         # multiply-adds and biases
        def relu_outputs(self, *input_shapes: torch.Size) -> int  # elements that pass a ReLU; 0 if there is none

    Parameters
    ----------
    module
        A model ``model(kspace, mask, sens_maps=None)``, recognised by the first two names, or a network with one real
        input. It is not changed.
    shape
        Shape of the input. For a model that of k-space: ``(ny, nx)`` for one slice, ``(batch, ny, nx)``, or ``(batch,
        coils, ny, nx)``.
    relu
        Add the column with the ReLUs.

    Returns
    -------
        Operations for the whole input: per slice if the batch is 1.

    Raises
    ------
    ValueError
        A shape that the model cannot have.
    """
    try:
        return _count_on("meta", module, tuple(shape), relu)  # shapes only: nothing is computed
    except (NotImplementedError, RuntimeError):
        return _count_on("cpu", module, tuple(shape), relu)  # the module looks at values, which meta tensors lack


def _count_on(device: str, module: nn.Module, shape: tuple[int, ...], relu: bool) -> int:
    module = copy.deepcopy(module).to(device).eval()
    total = 0

    def add(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        nonlocal total
        flops: Any = getattr(layer, "flops", None)
        relu_outputs: Any = getattr(layer, "relu_outputs", None)
        if flops is not None:
            shapes = list(_tensor_shapes([args, list(kwargs.values())]))
            total += flops(*shapes) + (relu_outputs(*shapes) if relu and relu_outputs is not None else 0)
        elif isinstance(layer, _RECTIFIERS):
            total += output.numel() if relu else 0
        else:
            total += _multiply_adds(layer, args[0] if args else kwargs["input"], output)

    for layer in _counted_layers(module):
        layer.register_forward_hook(add, with_kwargs=True)
    with torch.no_grad(), torch.device(device):
        args, kwargs = _inputs(module, shape)
        module(*args, **kwargs)
    return total


def _counted_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Every layer with a rule once, without the children of layers that declare their own count."""
    seen: set[nn.Module] = set()
    stack = [module]
    while stack:
        layer = stack.pop()
        if layer in seen:
            continue
        seen.add(layer)
        if hasattr(layer, "flops") or isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, *_RECTIFIERS)):
            yield layer
        else:
            stack.extend(layer.children())


def _multiply_adds(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    # each weight meets every position of the output, or of the input where the layer is transposed
    positions = x if isinstance(layer, _TRANSPOSED) else output
    channels = layer.in_channels if isinstance(layer, _TRANSPOSED) else weight.shape[0]
    assert isinstance(channels, int)
    return weight.numel() * (positions.numel() // channels) + (0 if layer.bias is None else output.numel())


def _inputs(module: nn.Module, shape: tuple[int, ...]) -> tuple[list[Tensor], dict[str, Tensor]]:
    names = list(inspect.signature(module.forward).parameters)
    if names[:2] != ["kspace", "mask"]:
        floating = (p.dtype for p in module.parameters() if p.is_floating_point())
        return [torch.ones(shape, dtype=next(floating, torch.float32))], {}
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"k-space has shape (ny, nx), (batch, ny, nx) or (batch, coils, ny, nx), got {shape}")
    kspace = torch.ones((1, *shape) if len(shape) == 2 else shape, dtype=torch.complex64)
    mask = torch.ones(shape[-1], dtype=torch.bool)
    return [kspace, mask], {"sens_maps": torch.ones_like(kspace)} if len(shape) == 4 else {}


def _tensor_shapes(value: Any) -> Iterator[torch.Size]:
    if isinstance(value, Tensor):
        yield value.shape
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensor_shapes(item)
