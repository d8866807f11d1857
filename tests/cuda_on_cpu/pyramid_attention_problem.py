"""One pyramid of convolutions: what the CUDA kernels make of it through the emulator, and float64 references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cuda_on_cpu.emulator import ROOT, Emulator
from cuda_on_cpu.formats import Array, decode, encode, unwritten

from csmri_ext.ops import reference

ROOM = ROOT / "csrc" / "pyramid_attention"
SOURCES = [*sorted(ROOM.glob("*.cu")), Path(__file__).parent / "pyramid_attention_entries.cpp"]


@dataclass(frozen=True)
class Shape:
    """Extents of a pyramid; kernels and groups have one entry per branch of `outputs` channels."""

    ny: int
    nx: int
    batch: int = 1
    parts: tuple[int, ...] = (8,)
    outputs: int = 8
    kernels: tuple[int, ...] = (3, 5, 7, 9)
    groups: tuple[int, ...] = (1, 2, 4, 8)

    def numbers(self) -> list[int]:
        """As pyramid_attention_entries.cpp wants them."""
        branches = [n for pair in zip(self.kernels, self.groups, strict=True) for n in pair]
        parts = [*self.parts, *[0] * (3 - len(self.parts))]
        return [self.batch, self.ny, self.nx, *parts, self.outputs, *branches, *[0] * (8 - len(branches))]


class Problem:
    """Random inputs of one shape. `dtype` is what lies in memory: f32, f64, bf16 or f16."""

    def __init__(self, shape: Shape, dtype: str = "f32", order: str = "forward") -> None:
        self.shape, self.dtype, self.order = shape, dtype, order
        rng = torch.Generator().manual_seed(0)

        def random(*size: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(size, generator=rng, dtype=torch.float64), dtype), dtype)

        pixels, channels = (shape.ny, shape.nx), sum(shape.parts)
        self.parts = [random(shape.batch, n, *pixels) for n in shape.parts]
        self.scales = random(len(shape.parts))
        self.weights = [
            random(shape.outputs, channels // g, k, k) for k, g in zip(shape.kernels, shape.groups, strict=True)
        ]
        self.out_channels = shape.outputs * len(shape.kernels)
        pooled = (shape.batch, self.out_channels)
        self.grads = [random(*pooled, *pixels), 8 * random(*pooled), 8 * random(*pooled)]

    def _inputs(self, dtype: str) -> list[Array]:
        return [encode(t, dtype) for t in (*self.parts, self.scales, *self.weights)]

    def _call(
        self, emulator: Emulator, name: str, given: list[Array], results: list[Array], numbers: Sequence[int]
    ) -> None:
        """Call an entry with scratch, as large as it asks for and full of NaN, between what is given and results."""
        n_bytes = np.zeros(1, np.int64)
        direction, dtype = name.split("_")
        emulator.call(f"{direction}_scratch_bytes_{dtype}", [*given, n_bytes, *results], numbers)
        scratch = np.full(int(n_bytes[0]), 0xFF, np.uint8)
        emulator.call(name, [*given, scratch, *results], numbers, self.order)

    def forward(self, emulator: Emulator, dtype: str = "") -> list[Array]:
        """Features, mean, maximum, argmax."""
        dtype = dtype or self.dtype
        pooled = self.grads[1].shape
        results = [
            unwritten(tuple(self.grads[0].shape), dtype),
            unwritten(tuple(pooled), dtype),
            unwritten(tuple(pooled), dtype),
            np.full(pooled, -7, np.int64),
        ]
        self._call(emulator, f"forward_{dtype}", [*self._inputs(dtype), *results], [], self.shape.numbers())
        return results

    def backward(
        self, emulator: Emulator, argmax: Array, dtype: str = "", *, need_x: bool = True, need_weight: bool = True
    ) -> list[Array]:
        """Gradients of the scaled parts and of the weights."""
        dtype = dtype or self.dtype
        wanted = (self.parts if need_x else []) + (self.weights if need_weight else [])
        results = [unwritten(tuple(t.shape), dtype) for t in wanted]
        grads = [encode(g, dtype) for g in self.grads]
        given = [*self._inputs(dtype), *grads, argmax.copy()]
        numbers = [*self.shape.numbers(), int(need_x), int(need_weight)]
        self._call(emulator, f"backward_{dtype}", given, results, numbers)
        return results

    def run(self, emulator: Emulator) -> list[Array]:
        """Everything: the four results of the forward pass, then the gradients."""
        outputs = self.forward(emulator)
        return [*outputs, *self.backward(emulator, outputs[3])]

    def reference(self) -> list[torch.Tensor]:
        """The same from plain PyTorch in float64."""
        scaled = [(s * p).requires_grad_() for s, p in zip(self.scales, self.parts, strict=True)]
        weights = [w.clone().requires_grad_() for w in self.weights]
        ones = torch.ones(len(scaled), dtype=torch.float64)
        outputs = reference.pyramid_convolution(scaled, weights, self.shape.groups, ones)
        gradients = torch.autograd.grad(outputs, [*scaled, *weights], self.grads)
        argmax = outputs[0].flatten(2).max(-1).indices
        return [*[t.detach() for t in outputs], argmax, *gradients]
