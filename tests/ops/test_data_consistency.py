from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from properties import assert_adjoint, assert_gradients, assert_linear, at_thread_counts, inner_product
from tolerance import assert_as_accurate, relative_error
from torch import Tensor

import csmri_ext
from csmri_ext.ops import _data_consistency_kernels as kernels
from csmri_ext.ops import (
    data_consistency,
    data_consistency_normal_term,
    data_consistency_prepared,
    prepare_data_consistency,
    reference,
    sense_normal,
)

TABLE = [128, 160, 192, 224, 240, 256, 288, 320, 352, 368, 372, 384, 396, 400, 448, 480, 512, 640, 768]
ANY = [1, 2, 3, 5, 6, 7, 9, 11, 13, 15, 17, 23, 31, 37, 64, 97, 113, 127, 129, 170, 210, 217, 218, 386]
MASKS = {"columns": (1, -1), "rows": (-2, 1), "both": (-2, -1)}


def make(*shape: int, dtype: torch.dtype = torch.complex64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An image and k-space, random."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return tuple(torch.randn(*shape, dtype=torch.complex128, generator=generator).to(dtype) for _ in range(2))


def make_mask(kind: str, ny: int, nx: int) -> Tensor:
    size = {1: 1, -2: ny, -1: nx}
    shape = [size[axis] for axis in MASKS[kind]]
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(nx)) < 0.4
    mask.view(-1)[0] = True
    return mask


def assert_equals_reference(image: Tensor, kspace: Tensor, mask: Tensor, eta: float = 0.7) -> None:
    """In float32 as accurate as the twin, in float64 equal to numpy, whose transforms are exact to 1e-15 at any length.

    Those of torch are not on every processor: with 218 elements, 1e-14 off.
    """
    wide = torch.complex128
    truth = in_numpy(image.to(wide), kspace.to(wide), mask, eta)
    twin = reference.data_consistency(image, kspace, mask, eta)
    assert_as_accurate(data_consistency(image, kspace, mask, eta), twin, truth)
    assert relative_error(data_consistency(image.to(wide), kspace.to(wide), mask, eta), truth) < 1e-14


def in_numpy(image: Tensor, kspace: Tensor, mask: Tensor, eta: float) -> Tensor:
    """The formula, by numpy's transforms."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(image.numpy(), axes)
    missing = kspace.numpy() - np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes)
    back = np.fft.ifft2(np.fft.ifftshift(mask.numpy() * missing, axes), norm="ortho")
    return image + eta * torch.from_numpy(np.fft.fftshift(back, axes))


@pytest.mark.parametrize("n", TABLE + ANY)
@pytest.mark.parametrize("kind", MASKS)
def test_every_length(n: int, kind: str) -> None:
    ny, nx = (n, 12) if kind == "rows" else (11, n)
    assert_equals_reference(*make(2, ny, nx), make_mask(kind, ny, nx))


@pytest.mark.parametrize("shape", [(1, 1), (320, 320), (33, 372), (640, 96), (218, 170), (3, 2, 129, 31), (5, 1, 7)])
@pytest.mark.parametrize("kind", MASKS)
def test_every_shape(shape: tuple[int, ...], kind: str) -> None:
    assert_equals_reference(*make(*shape), make_mask(kind, *shape[-2:]))


@pytest.mark.parametrize(
    "mask_shape",
    [(), (20,), (1, 20), (12, 1), (12, 20), (3, 1, 1, 20), (2, 1, 20), (3, 2, 12, 1), (3, 1, 12, 20), (3, 2, 1, 1)],
)
def test_every_broadcast_and_real_weights(mask_shape: tuple[int, ...]) -> None:
    image, kspace = make(3, 2, 12, 20)
    weights = torch.rand(mask_shape, generator=torch.Generator().manual_seed(1))
    assert_equals_reference(image, kspace, weights)
    assert_equals_reference(image, kspace, weights < 0.5)


def test_a_mask_that_acquires_nothing_or_everything() -> None:
    image, kspace = make(2, 16, 24)
    for mask in (torch.zeros(24, dtype=torch.bool), torch.zeros(16, 24, dtype=torch.bool)):
        assert relative_error(data_consistency(image, kspace, mask, 0.5), image) < 5e-7
    full = torch.ones(24, dtype=torch.bool)
    assert relative_error(data_consistency(image, kspace, full, 1.0), reference.ifft2c(kspace)) < 5e-7


def test_k_space_outside_the_mask_does_not_matter() -> None:
    image, kspace = make(2, 16, 24)
    for kind in MASKS:
        mask = make_mask(kind, 16, 24)
        other = torch.where(mask, kspace, torch.full_like(kspace, math.nan))
        assert torch.equal(data_consistency(image, kspace, mask, 1.0), data_consistency(image, other, mask, 1.0))
        twins = [reference.data_consistency(image, y, mask, torch.tensor(1.0)) for y in (kspace, other)]
        assert torch.equal(*twins)


def test_proximal_step_of_hqs() -> None:
    """Eta = 1 / (1 + mu) minimises |M F x - y|^2 + mu |x - z|^2: the gradient of the objective vanishes there."""
    z, y = make(12, 20, dtype=torch.complex128)
    mask, mu = make_mask("columns", 12, 20), 0.3
    x = data_consistency(z, y, mask, 1 / (1 + mu)).requires_grad_()
    (mask * (reference.fft2c(x) - y)).abs().square().sum().add(mu * (x - z).abs().square().sum()).backward()
    assert float(x.grad.abs().max()) < 1e-12


# --- replicas ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("m", [1, 3])
def test_replicas_share_their_data(kind: str, m: int) -> None:
    batch, ny, nx = 2, 19, 24
    _, kspace = make(batch, ny, nx)
    image = torch.randn(batch, 2 * m, ny, nx, generator=torch.Generator().manual_seed(3))
    mask = make_mask(kind, ny, nx)
    prepared = prepare_data_consistency(kspace, mask)
    out = data_consistency_prepared(image, prepared, 0.6)
    for r in range(m):
        alone = data_consistency(torch.complex(image[:, r], image[:, m + r]), kspace, mask, 0.6)
        assert torch.equal(torch.complex(out[:, r], out[:, m + r]), alone)
    by_channel = prepare_data_consistency(kspace.unsqueeze(1), mask)
    assert torch.equal(data_consistency_prepared(image, by_channel, 0.6), out)


@pytest.mark.parametrize("kind", MASKS)
def test_gradients_of_image_kspace_and_eta(kind: str) -> None:
    image, kspace = make(2, 3, 4, dtype=torch.complex128)
    eta = torch.tensor(0.7, dtype=torch.float64)
    mask = make_mask(kind, 3, 4)
    assert_gradients(lambda x, y, e: data_consistency(x, y, mask, e), image, kspace, eta)


@pytest.mark.parametrize("kind", MASKS)
def test_gradients_of_replicas(kind: str) -> None:
    _, kspace = make(2, 3, 4, dtype=torch.complex128)
    image = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    eta = torch.tensor(0.7, dtype=torch.float64)
    mask = make_mask(kind, 3, 4)

    def prepared(y: Tensor) -> csmri_ext.ops.PreparedKspace:
        return prepare_data_consistency(y, mask)

    assert_gradients(lambda x, y, e: data_consistency_prepared(x, prepared(y), e), image, kspace, eta)
    fixed = prepared(kspace)
    assert_gradients(lambda x, e: data_consistency_normal_term(x, fixed, e), image, eta)


def test_a_step_for_each_image() -> None:
    image, kspace = make(3, 12, 20)
    mask, steps = make_mask("columns", 12, 20), torch.tensor([0.2, 0.7, 1.0])
    prepared = prepare_data_consistency(kspace, mask)
    replica = torch.stack([image.real, image.imag], 1)
    of_replicas = data_consistency_prepared(replica, prepared, steps.reshape(3, 1, 1, 1))
    term = data_consistency_normal_term(replica, prepared, steps.reshape(3, 1, 1, 1))
    for i, step in enumerate(steps.tolist()):
        alone = data_consistency(image[i], kspace[i], mask, step)
        assert relative_error(data_consistency(image, kspace, mask, steps.reshape(3, 1, 1))[i], alone) < 5e-7
        assert relative_error(torch.complex(*of_replicas[i]), alone) < 5e-7
        no_data = data_consistency(image[i], torch.zeros_like(kspace[i]), mask, step)
        assert relative_error(torch.complex(*term[i]), no_data - image[i]) < 5e-6


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", [(2, 40, 320), (3, 129, 31)])
def test_gradients_are_as_accurate_as_the_twin(kind: str, shape: tuple[int, ...]) -> None:
    image, kspace = make(*shape)
    mask, gradient = make_mask(kind, *shape[-2:]), make(*shape, seed=7)[0]

    def run(op: object, dtype: torch.dtype) -> tuple[Tensor, ...]:
        leaves = [image.to(dtype, copy=True), kspace.to(dtype, copy=True), torch.tensor(0.7, dtype=dtype.to_real())]
        for leaf in leaves:
            leaf.requires_grad_()
        op(leaves[0], leaves[1], mask, leaves[2]).backward(gradient.to(dtype))
        return tuple(leaf.grad for leaf in leaves)

    kernel, twin = run(data_consistency, torch.complex64), run(reference.data_consistency, torch.complex64)
    truth = run(reference.data_consistency, torch.complex128)
    assert_as_accurate(kernel[0], twin[0], truth[0], "image")
    assert_as_accurate(kernel[1], twin[1], truth[1], "kspace")
    # A sum of terms of either sign: its error is measured against their absolute values.
    size = float((gradient.abs() * (image.abs() + kspace.abs())).sum())
    assert abs(float(kernel[2]) - float(truth[2])) < 2e-7 * size


def test_the_normal_operator_is_self_adjoint_and_linear() -> None:
    image, other = make(2, 33, 24)
    for kind in MASKS:
        prepared = prepare_data_consistency(torch.zeros_like(image), make_mask(kind, 33, 24))

        def normal(x: Tensor, prepared: object = prepared) -> Tensor:
            return data_consistency_normal_term(x, prepared, -1.0)

        assert_adjoint(normal, normal, image, other)
        assert_linear(normal, image, other)


@pytest.mark.parametrize("kind", MASKS)
def test_packing_has_an_adjoint(kind: str) -> None:
    _, kspace = make(2, 9, 20, dtype=torch.complex128)
    mask = make_mask(kind, 9, 20)

    def pack(y: Tensor) -> Tensor:
        return prepare_data_consistency(y, mask).samples

    def unpack(samples: Tensor) -> Tensor:
        y = torch.zeros_like(kspace).requires_grad_()
        return torch.autograd.grad(pack(y), y, samples)[0]

    samples = torch.randn_like(pack(kspace))
    assert_adjoint(pack, unpack, kspace, samples)
    assert inner_product(pack(kspace), pack(kspace)).real > 0


# --- determinism ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", MASKS)
def test_bits_do_not_depend_on_batch_or_threads(kind: str) -> None:
    image, kspace = make(5, 37, 48)
    mask, gradient = make_mask(kind, 37, 48), make(5, 37, 48, seed=9)[0]

    def run(images: Tensor, data: Tensor, grads: Tensor) -> list[Tensor]:
        x, y, eta = images.clone().requires_grad_(), data.clone().requires_grad_(), torch.tensor(0.3).requires_grad_()
        out = data_consistency(x, y, mask, eta)
        out.backward(grads)
        return [out.detach(), x.grad, y.grad, eta.grad]

    results = at_thread_counts((1, 2, 3, 5), lambda: run(image, kspace, gradient))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    for b in range(5):
        alone = run(image[b : b + 1], kspace[b : b + 1], gradient[b : b + 1])
        assert all(torch.equal(a, full[b : b + 1]) for a, full in zip(alone[:3], results[0], strict=False))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("nx", [320, 321])
def test_large_outputs_that_go_past_the_caches(kind: str, nx: int) -> None:
    image, kspace = make(6, 320, nx)  # 4.7 MiB; rows of 321 are not aligned to vectors
    mask = make_mask(kind, 320, nx)

    def run(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        leaf, eta = x.clone().requires_grad_(), torch.tensor(0.5).requires_grad_()
        out = data_consistency(leaf, y, mask, eta)
        return out.detach(), torch.autograd.grad(out, [leaf, eta], x)[0]

    many = run(image, kspace)
    for b in (0, 5):
        alone = run(image[b : b + 1], kspace[b : b + 1])  # 0.8 MiB
        assert all(torch.equal(a, both[b : b + 1]) for a, both in zip(alone, many, strict=True))


def test_bits_do_not_depend_on_the_neighbouring_lines() -> None:
    image, kspace = make(1, 37, 48)
    mask = make_mask("columns", 37, 48)
    whole = data_consistency(image, kspace, mask, 0.5)
    some = data_consistency(image[:, 3:20], reference.fft2c(torch.zeros(1, 17, 48, dtype=torch.complex64)), mask, 0.5)
    free = data_consistency(image, torch.zeros_like(kspace), mask, 0.5)[:, 3:20]
    assert torch.equal(some, free)
    assert not torch.equal(whole, torch.zeros_like(whole))


# --- strides and lazy bits -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", MASKS)
def test_any_strides(kind: str) -> None:
    mask = make_mask(kind, 12, 20)
    image, kspace = make(3, 12, 20)
    expected = data_consistency(image, kspace, mask, 0.5)
    wide = torch.zeros(3, 30, 50, dtype=torch.complex64)
    wide[:, 5:17, 7:27] = image
    views = {
        "slice of a larger tensor": wide[:, 5:17, 7:27],
        "transposed": image.mT.contiguous().mT,
        "batch innermost": image.movedim(0, -1).contiguous().movedim(-1, 0),
        "lazy conjugate": image.conj().resolve_conj().conj(),
        "lazy negative": torch._neg_view(-image),
    }
    for name, view in views.items():
        out = data_consistency(view, kspace, mask, 0.5)
        assert torch.equal(out, expected), name
        assert out.is_contiguous(), name
    assert torch.equal(data_consistency(image, kspace.mT.contiguous().mT, mask, 0.5), expected)
    assert torch.equal(data_consistency(image, kspace.conj().resolve_conj().conj(), mask, 0.5), expected)


def test_replicas_in_a_slice_of_a_wider_tensor() -> None:
    _, kspace = make(2, 12, 20)
    wide = torch.randn(2, 10, 14, 25)
    view = wide[:, 2:6, 1:13, 3:23]
    prepared = prepare_data_consistency(kspace, make_mask("columns", 12, 20))
    expected = data_consistency_prepared(view.contiguous(), prepared, 0.5)
    assert torch.equal(data_consistency_prepared(view, prepared, 0.5), expected)
    channels_last = view.contiguous(memory_format=torch.channels_last)
    assert torch.equal(data_consistency_prepared(channels_last, prepared, 0.5), expected)


def test_expanded_and_conjugated_gradients() -> None:
    image, kspace = make(2, 8, 12)
    mask = make_mask("columns", 8, 12)
    for prepare_gradient in (lambda g: g.sum().expand(2, 8, 12), lambda g: g.conj(), lambda g: g.mT.contiguous().mT):
        gradient = prepare_gradient(make(2, 8, 12, seed=5)[0])
        grads = []
        for dense in (False, True):
            x = image.clone().requires_grad_()
            upstream = gradient.clone(memory_format=torch.contiguous_format).resolve_conj() if dense else gradient
            data_consistency(x, kspace, mask, 0.5).backward(upstream)
            grads.append(x.grad)
        assert torch.equal(*grads)


@pytest.mark.parametrize("shape", [(0, 8, 12), (2, 0, 12), (2, 8, 0), (0, 0, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.complex64, requires_grad=True)
    for mask in (torch.ones(shape[-1]), torch.ones(shape[-2], 1), torch.ones(shape[-2:])):
        eta = torch.tensor(0.5, requires_grad=True)
        out = data_consistency(image, torch.zeros_like(image), mask, eta)
        assert out.shape == shape
        out.abs().sum().backward()
        assert float(eta.grad) == 0


# --- bad input -----------------------------------------------------------------------------------------------------
def test_errors_name_what_does_not_fit() -> None:
    image, kspace = make(2, 8, 12)
    mask = torch.ones(12)
    real = torch.zeros(2, 2, 8, 12)
    prepared = prepare_data_consistency(kspace, mask)
    cases = [
        (TypeError, "float32", lambda: data_consistency(image, kspace.real, mask, 1.0)),
        (TypeError, "complex64.*complex128", lambda: data_consistency(image, kspace.to(torch.complex128), mask, 1.0)),
        (TypeError, "mask is torch.complex64", lambda: data_consistency(image, kspace, mask + 0j, 1.0)),
        (TypeError, "eta", lambda: data_consistency(image, kspace, mask, torch.tensor(1j))),
        (TypeError, r"eta.*\(2,\)", lambda: data_consistency(image, kspace, mask, torch.ones(2))),
        (TypeError, "float64.*complex64", lambda: data_consistency_prepared(real.double(), prepared, 1.0)),
        (TypeError, "float16.*complex64", lambda: data_consistency_prepared(real.half(), prepared, 1.0)),
        (ValueError, r"\(2, 8, 11\).*\(2, 8, 12\)", lambda: data_consistency(image[..., :11], kspace, mask, 1.0)),
        (ValueError, r"\(11,\).*\(2, 8, 12\)", lambda: data_consistency(image, kspace, mask[:11], 1.0)),
        (ValueError, r"\(1, 1, 1, 12\)", lambda: data_consistency(image, kspace, mask.view(1, 1, 1, 12), 1.0)),
        (ValueError, r"\(12,\)", lambda: data_consistency(image[0, 0], kspace[0, 0], mask, 1.0)),
        (ValueError, r"\(2, 3, 8, 12\)", lambda: data_consistency_prepared(torch.zeros(2, 3, 8, 12), prepared, 1.0)),
        (ValueError, r"\(1, 2, 8, 12\)", lambda: data_consistency_prepared(real[:1], prepared, 1.0)),
    ]
    meta = image.to("meta")
    cases += [
        (ValueError, "meta.*cpu", lambda: data_consistency(meta, kspace, mask, 1.0)),
        (ValueError, "cpu.*meta", lambda: data_consistency(image, kspace, mask.to("meta"), 1.0)),
        (ValueError, "meta", lambda: data_consistency(image, kspace, mask, torch.ones((), device="meta"))),
    ]
    for error, pattern, call in cases:
        for context in (torch.no_grad(), csmri_ext.reference_ops()):
            with context, pytest.raises(error, match=pattern):
                call()


def test_masks_are_learned_with_the_twins_only() -> None:
    """The kernels have no gradient for a mask and say so; the twins have one."""
    image, kspace = make(2, 8, 12)
    mask = make_mask("columns", 8, 12).float().requires_grad_()
    with pytest.raises(ValueError, match="no gradient with respect to the mask"):
        data_consistency(image, kspace, mask, 1.0)
    with csmri_ext.reference_ops():
        data_consistency(image, kspace, mask, 1.0).abs().sum().backward()
    assert mask.grad is not None
    assert mask.grad.abs().max() > 0


def test_sizes_without_kernels_run_as_plain_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, sides that exceed shared memory."""
    monkeypatch.setattr(kernels, "cover", lambda x: x.shape[-1] <= 10)
    image, kspace = make(2, 8, 12)
    mask = make_mask("columns", 8, 12)
    assert torch.equal(data_consistency(image, kspace, mask, 0.5), reference.data_consistency(image, kspace, mask, 0.5))
    assert torch.equal(sense_normal(image, kspace, mask), reference.sense_normal(image, kspace, mask.float()))
    small = (image[..., :10], kspace[..., :10], mask[:, :10], 0.5)
    assert not torch.equal(data_consistency(*small), reference.data_consistency(*small))  # these are kernels


# --- the reference switch ------------------------------------------------------------------------------------------
def test_reference_ops_switches_every_function() -> None:
    _, kspace = make(2, 8, 12)
    mask = make_mask("columns", 8, 12)
    real = torch.randn(2, 4, 8, 12)
    image = torch.complex(real[:, 0], real[:, 2])

    def results() -> list[Tensor]:
        prepared = prepare_data_consistency(kspace, mask)
        return [
            data_consistency(image, kspace, mask, 0.5),
            data_consistency_prepared(real, prepared, 0.5),
            data_consistency_normal_term(real, prepared, 0.5),
        ]

    kernels = results()
    with csmri_ext.reference_ops():
        twins = results()
        assert torch.equal(twins[0], reference.data_consistency(image, kspace, mask, 0.5))
        within = prepare_data_consistency(kspace, mask)
    for ours, theirs in itertools.zip_longest(kernels, twins):
        assert relative_error(ours, theirs) < 5e-7
    assert torch.equal(data_consistency_prepared(real, within, 0.5), kernels[1])


def test_a_batch_of_groups_that_do_not_divide_it() -> None:
    """Two images of this size are packed together; the third is a group of its own, and nothing lies behind it."""
    image, kspace = make(3, 256, 256)
    mask = make_mask("columns", 256, 256)
    whole = data_consistency(image, kspace, mask, 0.7)
    assert torch.equal(
        whole, torch.cat([data_consistency(image[i : i + 1], kspace[i : i + 1], mask, 0.7) for i in range(3)])
    )
