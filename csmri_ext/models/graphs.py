"""`graphed`: a model captured as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

WARM_UP = 3  # runs before the capture: torch.fft, cuDNN and cuBLAS set themselves up in the first


def graphed(model: nn.Module, example: Sequence[Tensor]) -> Callable[..., Tensor]:
    """Capture a model's forward pass as a CUDA graph: one launch instead of a thousand.

    An unrolled network of small kernels spends much of its time on launching them; a graph launches all at once. For
    inference only: the graph holds neither gradients nor the randomness of training, and reads the weights where they
    were at capture (changing them in place takes effect).

    Parameters
    ----------
    model
        On a GPU, in evaluation mode.
    example
        ``(kspace, mask)`` or ``(kspace, mask, sens_maps)`` on the same GPU. The graph works for exactly these shapes
        and dtypes.

    Returns
    -------
        ``run(kspace, mask[, sens_maps]) -> image``, equal to the model. Each call copies its arguments into the
        graph's own memory and returns a new tensor.

    Raises
    ------
    ValueError
        Tensors that are not on a GPU; a model in training mode; later, arguments of other shapes or dtypes (both are
        named).
    """
    if not all(x.is_cuda for x in example):
        raise ValueError(f"CUDA graphs need tensors on a GPU, got {', '.join(str(x.device) for x in example)}")
    if model.training:
        raise ValueError("graphed is for inference: call model.eval() first")
    inputs = [x.clone() for x in example]
    with torch.cuda.device(inputs[0].device), torch.inference_mode():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                model(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            image = model(*inputs)

    def run(*arguments: Tensor) -> Tensor:
        described = [[f"{x.dtype} {tuple(x.shape)}" for x in tensors] for tensors in (arguments, inputs)]
        if described[0] != described[1]:
            raise ValueError(f"the graph was captured for {described[1]}, got {described[0]}")
        with torch.cuda.device(inputs[0].device), torch.inference_mode():
            for own, argument in zip(inputs, arguments, strict=True):
                own.copy_(argument)
            graph.replay()
            return image.clone()

    return run
