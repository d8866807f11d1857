"""Slices with edges, texture and phase, coil sensitivities and masks, for tests of reconstructions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class MadeSlice:
    kspace: NDArray[np.complex64]  # (coils, ny, nx), fully sampled
    mask: NDArray[np.bool_]  # (nx,) or (ny, nx)
    sens_maps: NDArray[np.complex64] | None  # (coils, ny, nx); None for one coil
    image: NDArray[np.complex64]  # (ny, nx)

    @property
    def undersampled(self) -> NDArray[np.complex64]:
        return np.where(self.mask, self.kspace, np.complex64(0))


def make_slice(shape=(64, 64), n_coils=1, mask="columns", acceleration=4, seed=0, noise=0.002) -> MadeSlice:
    rng = np.random.default_rng([seed, *shape])
    image = make_image(shape, rng)
    sens_maps = make_maps(shape, n_coils)
    kspace = fft2c(image if n_coils == 1 else sens_maps * image)
    kspace = kspace.reshape(n_coils, *shape)
    kspace = kspace + noise * np.abs(kspace).max() / 20 * complex_normal(rng, kspace.shape)
    made = make_mask(mask, shape, acceleration, rng)
    return MadeSlice(kspace.astype(np.complex64), made, None if n_coils == 1 else sens_maps, image)


def make_image(shape, rng):
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, endpoint=False) for n in shape), indexing="ij")
    image = 0.6 * (x**2 / 0.6 + y**2 / 0.8 < 1).astype(float)
    for _ in range(8):
        y0, x0, ry, rx = *rng.uniform(-0.5, 0.5, 2), *rng.uniform(0.05, 0.3, 2)
        image[((y - y0) / ry) ** 2 + ((x - x0) / rx) ** 2 < 1] += rng.uniform(-0.5, 0.5)
    texture = 1 + 0.1 * np.sin(9 * x + 3) * np.sin(7 * y) + 0.03 * rng.standard_normal(shape)
    phase = np.exp(1j * (1 + 0.8 * x - 0.5 * y**2))
    return (np.abs(image) * texture * phase).astype(np.complex64)


def make_maps(shape, n_coils):
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, endpoint=False) for n in shape), indexing="ij")
    angles = 2 * np.pi * np.arange(n_coils)[:, None, None] / n_coils
    maps = np.exp(-((x - np.cos(angles)) ** 2) - (y - np.sin(angles)) ** 2 + 1j * (angles + x * np.sin(angles)))
    return (maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))).astype(np.complex64)


def make_mask(kind, shape, acceleration, rng):
    ny, nx = shape
    if kind == "columns":
        mask = rng.random(nx) < 0.75 / acceleration
        mask[nx // 2 - max(1, nx // (8 * acceleration)) : nx // 2 + max(2, nx // (8 * acceleration))] = True
        return mask
    if kind == "rows":
        return np.broadcast_to(make_mask("columns", (nx, ny), acceleration, rng)[:, None], shape).copy()
    mask = rng.random(shape) < 0.9 / acceleration
    if kind == "points":
        mask[ny // 2 - ny // 16 : ny // 2 + ny // 16, nx // 2 - nx // 16 : nx // 2 + nx // 16 + 1] = True
    return mask  # "no centre": hardly anything in the middle is sampled


def fft2c(image):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def ifft2c(kspace):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def complex_normal(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def relative_difference(array, reference):
    return float(np.linalg.norm(array - reference) / np.linalg.norm(reference))
