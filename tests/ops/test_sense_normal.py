from __future__ import annotations

from typing import Any

import pytest
import torch
from properties import assert_adjoint, assert_gradients, assert_linear, at_thread_counts, inner_product
from tolerance import assert_as_accurate, relative_error
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import csmri_ext
from csmri_ext.ops import reference, sense_normal
from csmri_ext.physics import Encoding

MASKS = {"x": (1, -1), "y": (-2, 1), "xy": (-2, -1)}


def random(*shape: int, dtype: torch.dtype = torch.complex64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.complex128, generator=generator).to(dtype)


def make_mask(axes: str, ny: int, nx: int) -> Tensor:
    size = {1: 1, -2: ny, -1: nx}
    shape = [size[axis] for axis in MASKS[axes]]
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(nx)) < 0.4
    mask.view(-1)[0] = True
    return mask


def assert_equals_reference(image: Tensor, sens_maps: Tensor | None, mask: Tensor) -> None:
    wide = torch.complex128
    wide_maps = None if sens_maps is None else sens_maps.to(wide)
    truth = reference.sense_normal(image.to(wide), wide_maps, mask)
    twin = reference.sense_normal(image, sens_maps, mask)
    out = sense_normal(image, sens_maps, mask)
    assert out.is_contiguous()
    assert_as_accurate(out, twin, truth)
    # torch's own transforms of 109-fold lengths are off by 1.5e-14 on some processors
    assert relative_error(sense_normal(image.to(wide), wide_maps, mask), truth) < 3e-14


@pytest.mark.parametrize(("ny", "nx"), [(1, 1), (16, 16), (19, 24), (33, 31), (7, 129), (320, 320), (12, 218)])
@pytest.mark.parametrize("axes", MASKS)
def test_every_size(axes: str, ny: int, nx: int) -> None:
    assert_equals_reference(random(2, ny, nx), random(2, 3, ny, nx, seed=1), make_mask(axes, ny, nx))


@pytest.mark.parametrize(
    ("image_shape", "maps_shape"),
    [
        ((12, 20), (4, 12, 20)),
        ((3, 12, 20), (4, 12, 20)),
        ((12, 20), (3, 4, 12, 20)),
        ((3, 12, 20), (1, 4, 12, 20)),
        ((3, 12, 20), (3, 1, 12, 20)),
        ((3, 2, 12, 20), (2, 4, 12, 20)),
        ((2, 12, 20), (3, 1, 4, 12, 20)),
        ((2, 12, 20), None),
    ],
)
@pytest.mark.parametrize("axes", MASKS)
def test_leading_axes_broadcast(image_shape: tuple[int, ...], maps_shape: tuple[int, ...] | None, axes: str) -> None:
    maps = None if maps_shape is None else random(*maps_shape, seed=1)
    assert_equals_reference(random(*image_shape), maps, make_mask(axes, 12, 20))


@pytest.mark.parametrize(
    "mask_shape",
    [(), (20,), (12, 1), (12, 20), (3, 1, 1, 20), (3, 1, 12, 1), (3, 1, 12, 20), (4, 12, 20), (3, 4, 1, 1)],
)
def test_masks_of_each_image_or_coil_and_real_weights(mask_shape: tuple[int, ...]) -> None:
    weights = torch.rand(mask_shape, generator=torch.Generator().manual_seed(1))
    for maps_shape in ((4, 12, 20), (3, 4, 12, 20)):
        assert_equals_reference(random(3, 12, 20), random(*maps_shape, seed=1), weights)
        assert_equals_reference(random(3, 12, 20), random(*maps_shape, seed=1), weights < 0.5)


@pytest.mark.parametrize("axes", MASKS)
def test_self_adjoint_linear_and_not_negative(axes: str) -> None:
    image, other, maps = random(2, 33, 24), random(2, 33, 24, seed=1), random(2, 3, 33, 24, seed=2)
    mask = make_mask(axes, 33, 24)

    def normal(x: Tensor) -> Tensor:
        return sense_normal(x, maps, mask)

    assert_adjoint(normal, normal, image, other)
    assert_linear(normal, image, other)
    assert inner_product(image, normal(image)).real > 0


@pytest.mark.parametrize("axes", MASKS)
@pytest.mark.parametrize("maps_shape", [(2, 3, 4), (2, 2, 3, 4), None])
def test_gradients(axes: str, maps_shape: tuple[int, ...] | None) -> None:
    mask = make_mask(axes, 3, 4)
    image = random(2, 3, 4, dtype=torch.complex128)
    if maps_shape is None:
        return assert_gradients(lambda x: sense_normal(x, None, mask), image)
    maps = random(*maps_shape, dtype=torch.complex128, seed=1)
    assert_gradients(lambda x, s: sense_normal(x, s, mask), image, maps)


@pytest.mark.parametrize("axes", MASKS)
def test_gradients_are_as_accurate_as_the_twin(axes: str) -> None:
    image, maps, gradient = random(2, 40, 96), random(3, 40, 96, seed=1), random(2, 40, 96, seed=2)
    mask = make_mask(axes, 40, 96)

    def run(op: Any, dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype, copy=True).requires_grad_() for x in (image, maps)]
        op(*leaves, mask).backward(gradient.to(dtype))
        return [leaf.grad for leaf in leaves]

    kernel, twin = run(sense_normal, torch.complex64), run(reference.sense_normal, torch.complex64)
    truth = run(reference.sense_normal, torch.complex128)
    for name, *values in zip(("image", "sens_maps"), kernel, twin, truth, strict=True):
        assert_as_accurate(*values, name)


@pytest.mark.parametrize("axes", MASKS)
def test_bits_do_not_depend_on_batch_or_threads(axes: str) -> None:
    image, maps, mask = random(5, 37, 48), random(5, 3, 37, 48, seed=1), make_mask(axes, 37, 48)
    results = at_thread_counts((1, 2, 3, 5), lambda: sense_normal(image, maps, mask))
    assert all(torch.equal(results[0], other) for other in results[1:])
    for b in range(5):
        assert torch.equal(sense_normal(image[b], maps[b], mask), results[0][b])


def test_any_strides_and_lazy_bits() -> None:
    image, maps, mask = random(2, 12, 20), random(2, 3, 12, 20, seed=1), make_mask("x", 12, 20)
    expected = sense_normal(image, maps, mask)
    assert torch.equal(sense_normal(image.mT.contiguous().mT, maps, mask), expected)
    assert torch.equal(sense_normal(image.conj().resolve_conj().conj(), maps, mask), expected)
    assert torch.equal(sense_normal(image, maps.conj().resolve_conj().conj(), mask), expected)
    assert torch.equal(sense_normal(image, maps.movedim(1, -1).contiguous().movedim(-1, 1), mask), expected)
    for gradient in (torch.ones(()).to(image).expand(2, 12, 20), random(2, 12, 20).conj()):
        grads = []
        for upstream in (gradient, gradient.clone(memory_format=torch.contiguous_format).resolve_conj()):
            leaves = [image.clone().requires_grad_(), maps.clone().requires_grad_()]
            grads.append(torch.autograd.grad(sense_normal(*leaves, mask), leaves, upstream))
        assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_empty() -> None:
    for shape, coils in (((0, 8, 12), 3), ((2, 0, 12), 3), ((2, 8, 0), 3), ((2, 8, 12), 0)):
        image, maps = random(*shape), random(coils, *shape[-2:]).requires_grad_()
        for mask in (torch.ones(shape[-1]), torch.ones(shape[-2], 1), torch.ones(shape[-2:])):
            out = sense_normal(image.requires_grad_(), maps, mask)
            assert out.shape == shape
            assert not out.any()
            out.abs().sum().backward()


@pytest.mark.parametrize("axes", MASKS)
def test_opcheck(axes: str) -> None:
    masks = make_mask(axes, 5, 6).reshape((1, 1, *make_mask(axes, 5, 6).shape)[-3:])
    for n_maps in (1, 2):
        image, maps = random(2, 5, 6).requires_grad_(), random(n_maps, 3, 5, 6, seed=1).requires_grad_()
        torch.library.opcheck(torch.ops.csmri_ext.sense_normal.default, (image, maps, masks))


@pytest.mark.filterwarnings("ignore")  # of torch itself: deprecated parts, no code generation for complex numbers
def test_compiled_equals_eager() -> None:
    image, maps, mask = random(2, 5, 6), random(3, 5, 6, seed=1), make_mask("xy", 5, 6)
    torch._dynamo.reset()
    compiled = torch.compile(sense_normal, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image, maps, mask), sense_normal(image, maps, mask))


def test_flops_and_vmap() -> None:
    image, maps, mask = random(2, 8, 16), random(3, 8, 16, seed=1), make_mask("x", 8, 16)
    with FlopCounterMode(display=False) as counter:
        sense_normal(image, maps, mask)
    assert counter.get_total_flops() == 6 * 128 * (2 * 5 * 4 + 16)
    mapped = torch.vmap(lambda x: sense_normal(x, maps, mask))(image)
    torch.testing.assert_close(mapped, torch.stack([sense_normal(x, maps, mask) for x in image]))


def test_reference_ops_switches_the_op_and_the_operator() -> None:
    image, maps, mask = random(2, 8, 12), random(3, 8, 12, seed=1), make_mask("x", 8, 12)
    operator = Encoding(None, mask.reshape(-1), maps)
    with csmri_ext.reference_ops():
        twin = sense_normal(image, maps, mask)
        assert torch.equal(twin, reference.sense_normal(image, maps, mask.float()))
        assert torch.equal(operator.normal(image), twin)
    assert torch.equal(operator.normal(image), sense_normal(image, maps, mask))
    assert relative_error(operator.normal(image), twin) < 5e-7


def test_errors_name_what_does_not_fit() -> None:
    image, maps, mask = random(2, 8, 12), random(3, 8, 12), torch.ones(12)
    cases = [
        (TypeError, "float32", lambda: sense_normal(image.real, maps, mask)),
        (TypeError, "complex64.*complex128", lambda: sense_normal(image, maps.to(torch.complex128), mask)),
        (TypeError, "mask is torch.complex64", lambda: sense_normal(image, maps, mask + 0j)),
        (ValueError, r"\(2, 8, 11\).*\(3, 8, 12\)", lambda: sense_normal(image[..., :11], maps, mask)),
        (ValueError, r"\(8, 12\).*\(\.\.\., coils, ny, nx\)", lambda: sense_normal(image, maps[0], mask)),
        (ValueError, r"\(12,\)", lambda: sense_normal(image[0, 0], None, mask)),
        (ValueError, r"\(2, 8, 12\).*\(3, 3, 8, 12\)", lambda: sense_normal(image, maps.expand(3, 3, 8, 12), mask)),
        (ValueError, r"mask \(11,\).*\(2, 3, 8, 12\)", lambda: sense_normal(image, maps, mask[:11])),
        (ValueError, "meta.*cpu|cpu.*meta", lambda: sense_normal(image, maps.to("meta"), mask)),
        (ValueError, "meta.*cpu|cpu.*meta", lambda: sense_normal(image, maps, mask.to("meta"))),
    ]
    for error, pattern, call in cases:
        for context in (torch.no_grad(), csmri_ext.reference_ops()):
            with context, pytest.raises(error, match=pattern):
                call()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("axes", MASKS)
def test_on_a_gpu_and_in_a_graph(axes: str) -> None:
    image, maps, mask = random(2, 40, 96).cuda(), random(2, 3, 40, 96, seed=1).cuda(), make_mask(axes, 40, 96)
    wide = [x.cpu().to(torch.complex128) for x in (image, maps)]
    assert relative_error(sense_normal(image, maps, mask.cuda()).cpu(), reference.sense_normal(*wide, mask)) < 5e-7
    static, on_gpu = image.clone(), mask.cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        sense_normal(static, maps, on_gpu)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            out = sense_normal(static, maps, on_gpu)
    torch.cuda.current_stream().wait_stream(side)
    static.copy_(2 * image)
    graph.replay()
    torch.testing.assert_close(out, sense_normal(2 * image, maps, on_gpu))
