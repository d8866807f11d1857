"""One data-consistency problem: what the CUDA kernels make of it through the emulator, and float64 references."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from cuda_on_cpu.emulator import ROOT, Emulator
from numpy.typing import NDArray

TILE = 16
AXES = {"x": 0, "y": 1, "xy": 2}
CSRC = ROOT / "csrc"
KERNELS = [file for room in ("fft", "data_consistency", "sense_normal") for file in sorted((CSRC / room).glob("*.cu"))]
SOURCES = [*KERNELS, Path(__file__).parent / "data_consistency_entries.cpp"]

Array = NDArray[np.generic]


def fft2c(image: Array) -> Array:
    shifted = np.fft.ifftshift(image.astype(np.complex128), axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def ifft2c(kspace: Array) -> Array:
    shifted = np.fft.ifftshift(kspace.astype(np.complex128), axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def relative_error(value: Array, reference: Array) -> float:
    assert value.shape == reference.shape
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@dataclass
class Stack:
    """Complex images (batch, replicas, ny, nx) in memory: interleaved, or planar and a slice of a wider buffer."""

    memory: Array
    where: list[int]  # offsets of re and im, strides of batch, replica, row and column
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, images: Array, real: type, planar: bool) -> Stack:
        batch, replicas, ny, nx = images.shape
        size = ny * nx
        if planar:  # channels: one unused, real parts, imaginary parts, two unused
            memory = np.full((batch, 2 * replicas + 3, ny, nx), np.nan, real)
            memory[:, 1 : 1 + replicas], memory[:, 1 + replicas : 1 + 2 * replicas] = images.real, images.imag
            where = [size, (1 + replicas) * size, (2 * replicas + 3) * size, size, nx, 1]
        else:
            memory = np.stack([images.real, images.imag], -1).astype(real)
            where = [0, 1, 2 * replicas * size, 2 * size, 2 * nx, 2]
        return cls(np.ascontiguousarray(memory), where, images.shape)

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int], real: type, planar: bool) -> Stack:
        return cls.of(np.full(shape, np.nan + 1j * np.nan), real, planar)

    def images(self) -> Array:
        replicas = self.shape[1]
        if self.memory.ndim == 5:
            return self.memory[..., 0] + 1j * self.memory[..., 1].astype(np.float64)
        unused = np.delete(self.memory, np.s_[1 : 1 + 2 * replicas], axis=1)
        assert np.isnan(unused).all(), "wrote outside its channels"
        return self.memory[:, 1 : 1 + replicas] + 1j * self.memory[:, 1 + replicas : -2].astype(np.float64)


class Problem:
    """Random images, k-space and weights of one shape, on one build of the kernels."""

    def __init__(
        self,
        emulator: Emulator,
        ny: int,
        nx: int,
        axes: str,
        *,
        batch: int = 1,
        replicas: int = 1,
        n_masks: int = 1,
        real: type = np.float32,
        planar: bool = False,
        add_image: bool = True,
        with_samples: bool = True,
        order: str = "forward",
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.emulator, self.axes, self.real, self.planar, self.order = emulator, axes, real, planar, order
        self.add_image, self.with_samples = add_image, with_samples
        self.suffix = "f32" if real is np.float32 else "f64"
        self.shape = (batch, replicas, ny, nx)

        def normal(*shape: int) -> Array:
            values = rng.standard_normal((*shape, 2)).astype(real)
            return values[..., 0] + 1j * values[..., 1].astype(np.float64)

        self.image, self.grad = normal(*self.shape), normal(*self.shape)
        self.kspace = normal(batch, ny, nx)
        self.eta = np.array([0.37], real)
        mask_shape = {"x": (n_masks, nx), "y": (n_masks, ny), "xy": (n_masks, ny, nx)}[axes]
        self.mask = (rng.uniform(0.5, 1.5, mask_shape) * (rng.random(mask_shape) < 0.4)).astype(real)
        self.mask.reshape(n_masks, -1)[:, 0] = 1.25  # never empty
        spread = {"x": self.mask[:, None, :], "y": self.mask[:, :, None], "xy": self.mask}[axes]
        spread = np.broadcast_to(spread, (n_masks, ny, nx)).astype(np.float64)
        self.full_mask = np.repeat(spread, batch // n_masks, axis=0)[:, None]  # (batch, 1, ny, nx)
        self.batch_per_mask = batch // n_masks

        n_line, lanes = (nx, ny) if axes == "x" else (ny, nx)
        self.samples_shape = (batch, -(-lanes // TILE), n_line, 2, TILE)
        weights = (n_masks, -(-nx // TILE), ny, TILE) if axes == "xy" else (n_masks, n_line, 2)
        self.weights = np.full(weights, np.nan, real)
        mask_numbers = [n_masks, 1, 1, ny, nx, AXES[axes]]
        emulator.call(f"pack_mask_{self.suffix}", [self.mask, self.weights], mask_numbers, order)

    def numbers(self, replicas: int | None = None) -> list[int]:
        batch, own_replicas, ny, nx = self.shape
        return [batch, replicas or own_replicas, self.batch_per_mask, ny, nx, AXES[self.axes]]

    def _kspace_memory(self, kspace: Array) -> Array:
        return np.ascontiguousarray(np.stack([kspace.real, kspace.imag], -1).astype(self.real))

    def pack(self, kspace: Array | None = None) -> Array:
        samples = np.zeros(self.samples_shape, self.real)
        memory = self._kspace_memory(self.kspace if kspace is None else kspace)
        self.emulator.call(f"pack_{self.suffix}", [memory, self.mask, samples], self.numbers(1), self.order)
        return samples

    def unpack(self, samples: Array) -> Array:
        memory = self._kspace_memory(np.zeros_like(self.kspace))
        self.emulator.call(f"unpack_{self.suffix}", [memory, self.mask, samples], self.numbers(1), self.order)
        return memory[..., 0] + 1j * memory[..., 1].astype(np.float64)

    def _call_with_scratch(self, name: str, arrays: list[Array], numbers: list[int]) -> None:
        """Call an entry whose last array is scratch, as large as it asks for and full of NaN."""
        n_bytes = np.zeros(1, np.int64)
        self.emulator.call(f"{name}_scratch_bytes_{self.suffix}", [*arrays, n_bytes], numbers, self.order)
        scratch = np.full(max(1, int(n_bytes[0])), 0xFF, np.uint8)
        self.emulator.call(f"{name}_{self.suffix}", [*arrays, scratch], numbers, self.order)

    def measure(self, image: Array) -> Array:
        stack = Stack.of(image, self.real, self.planar)
        samples = np.zeros(self.samples_shape, self.real)
        self._call_with_scratch("measure", [stack.memory, self.weights, samples], [*self.numbers(), *stack.where])
        return samples

    @cached_property
    def samples(self) -> Array:
        return self.pack()

    def _data(self) -> tuple[Array, int]:
        return (self.samples, 1) if self.with_samples else (np.zeros(1, self.real), 0)

    def apply(self) -> Array:
        image = Stack.of(self.image, self.real, self.planar)
        out = Stack.empty(self.shape, self.real, self.planar)
        samples, present = self._data()
        arrays = [image.memory, out.memory, samples, self.weights, self.eta]
        numbers = [*self.numbers(), *image.where, *out.where, present, int(self.add_image)]
        self.emulator.call(f"apply_{self.suffix}", arrays, numbers, self.order)
        return out.images()

    def backward(self) -> tuple[Array, float]:
        """Gradients of image and eta."""
        grad, image = (Stack.of(a, self.real, self.planar) for a in (self.grad, self.image))
        out = Stack.empty(self.shape, self.real, self.planar)
        samples, present = self._data()
        grad_eta = np.full(1, np.nan, self.real)
        arrays = [grad.memory, image.memory, out.memory, samples, self.weights, self.eta, grad_eta]
        numbers = [*self.numbers(), *grad.where, *image.where, *out.where, present, int(self.add_image)]
        self._call_with_scratch("backward", arrays, numbers)
        return out.images(), float(grad_eta[0])

    def sense_normal(self, coils: int, own_maps: bool, mask_per_coil: bool = False) -> tuple[Array, Array]:
        """The SENSE normal operator on the first replicas, and its reference.

        own_maps: each image has maps of its own. mask_per_coil: the masks of this problem, one per batch item, belong
        to the coil images of fewer images.
        """
        batch, _, ny, nx = self.shape
        images = batch // coils if mask_per_coil else batch
        assert not mask_per_coil or self.batch_per_mask == 1
        full_mask = self.full_mask.reshape(images, coils, ny, nx) if mask_per_coil else self.full_mask
        shape = (images if own_maps else 1, coils, ny, nx, 2)
        maps = np.random.default_rng(5).standard_normal(shape).astype(self.real)
        image = self._kspace_memory(self.image[:images, 0])
        out = np.full((images, ny, nx, 2), np.nan, self.real)
        per_mask = 1 if mask_per_coil else self.batch_per_mask * coils
        numbers = [images * coils, 1, per_mask, ny, nx, AXES[self.axes], coils, 2 * coils * ny * nx if own_maps else 0]
        self._call_with_scratch("sense_normal", [image, maps, self.weights, out], numbers)
        sens_maps = maps[..., 0] + 1j * maps[..., 1].astype(np.float64)
        coil_images = ifft2c(full_mask * fft2c(sens_maps * self.image[:images, :1]))
        return out[..., 0] + 1j * out[..., 1].astype(np.float64), (sens_maps.conj() * coil_images).sum(1)

    def reference(self) -> Array:
        data = self.full_mask * self.kspace[:, None] if self.with_samples else 0
        term = ifft2c(data - self.full_mask * fft2c(self.image))
        return (self.image if self.add_image else 0) + float(self.eta[0]) * term

    def reference_backward(self) -> tuple[Array, float, float]:
        """Gradients of image and eta, and the product of norms that bounds the latter: it is an inner product."""
        data = self.full_mask * self.kspace[:, None] if self.with_samples else 0
        spectrum = fft2c(self.grad)
        grad_image = (self.grad if self.add_image else 0) - float(self.eta[0]) * ifft2c(self.full_mask * spectrum)
        residual = data - self.full_mask * fft2c(self.image)
        norms = float(np.linalg.norm(spectrum) * np.linalg.norm(residual))
        return grad_image, float(np.vdot(spectrum, residual).real), norms
