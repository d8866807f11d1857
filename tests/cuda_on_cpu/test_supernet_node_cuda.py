"""The CUDA backward pass of an edge of a supernet node, run on the CPU, against float64 references."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu.emulator import ORDERS, ROOT, Emulator, SanitizerError, float_variant
from cuda_on_cpu.formats import Array, decode, encode, relative_error, unwritten

from csmri_ext import _core
from csmri_ext.ops import reference

supernet_node = import_module("csmri_ext.ops.supernet_node")  # the package has a function of the same name

ROOM = ROOT / "csrc" / "nasn"
KERNELS = ROOM / "supernet_node_backward_cuda.cu"
SOURCES = [KERNELS, Path(__file__).parent / "supernet_node_entries.cpp"]
CODES = {"conv_1x1": 0, "sep_conv_3x3": 1, "dil_2_conv_3x3": 2, "dil_3_conv_3x3": 3, "skip": 6}  # enum class Separable
SPACE_A = ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "skip")  # none adds nothing; so does the extended space
SPACE_B = ("sep_conv_3x3", "dil_2_conv_3x3", "skip")  # 9x1, 1x9 has kernels of its own: what they wrote is the addend
REPEATED = ("skip", "dil_3_conv_3x3", "conv_1x1", "skip", "dil_3_conv_3x3", "conv_1x1", "sep_conv_3x3")
TOLERANCE = {"f32": 1e-5, "f64": 5e-14}
TF32 = 1e-3  # one tf32 product: half a unit of eleven bits in each factor, 2.4e-4, and cancellation
ROUNDING = {"bf16": 4e-3, "f16": 1e-3}  # of results, and of points of g next to zero by tf32


class Problem:
    """Random arguments of one edge. `dtype` is what lies in memory; gap: elements between pixels that others own."""

    def __init__(
        self,
        operations: tuple[str, ...],
        size: tuple[int, int] = (9, 37),
        channels: int = 5,
        outputs: int | None = None,
        dtype: str = "f32",
        batch: int = 1,
        gap: int = 0,
        tf32: bool = False,
    ) -> None:
        self.operations, self.dtype, self.gap, self.tf32 = operations, dtype, gap, tf32
        self.channels, self.outputs = channels, outputs or channels
        rng = torch.Generator().manual_seed(size[0] * size[1] + channels)

        def random(*shape: int) -> torch.Tensor:  # exact in `dtype`
            return decode(encode(torch.randn(shape, generator=rng, dtype=torch.float64), dtype), dtype)

        self.x, self.addend = random(batch, *size, channels), random(batch, *size, channels)
        self.grad = random(batch, *size, self.outputs)
        self.alphas = random(len(operations))
        sizes = {"conv_1x1": [(self.outputs, channels)], "skip": []}
        depthwise = [(channels, 3, 3), (self.outputs, channels)]
        self.weights = [[random(*shape) for shape in sizes.get(name, depthwise)] for name in operations]

    def run(
        self, emulator: Emulator, order: str = "forward", *, dtype: str = "", addend: bool = True, need_x: bool = True,
        need_weight: bool = True, in_place: bool = False,
    ) -> list[Array]:  # fmt: skip
        """Gradients of x, where wanted, and of all alphas and weights, operation after operation."""
        dtype = dtype or self.dtype

        def spread(tensor: torch.Tensor) -> Array:
            return encode(torch.nn.functional.pad(tensor, (0, self.gap), value=torch.nan), dtype)

        added = [encode(self.addend, dtype)] * (addend and need_x)
        grad_x = added if in_place else [unwritten(self.x.shape, dtype)] * need_x
        arrays = [spread(self.x), spread(self.grad), *added, *grad_x]
        grads: list[Array] = []
        for alpha, own in zip(self.alphas, self.weights, strict=True):
            arrays += [encode(t, dtype) for t in (alpha.reshape(1), *own)]
            if need_weight:
                results = [unwritten(t.shape, dtype) for t in (alpha.reshape(1), *own)]
                arrays, grads = arrays + results, grads + results
        batch, ny, nx, _ = self.x.shape
        numbers = [batch, ny, nx, self.channels, self.channels + self.gap, self.outputs, self.outputs + self.gap]
        numbers += [self.tf32, addend and need_x, need_x, need_weight, *[CODES[name] for name in self.operations]]
        n_bytes = np.zeros(1, np.int64)
        emulator.call(f"edge_scratch_bytes_{dtype}", [*arrays, n_bytes], [len(numbers), *numbers])
        scratch = np.full(int(n_bytes[0]), 0xFF, np.uint8)
        emulator.call(f"edge_{dtype}", [*arrays, scratch], [len(numbers), *numbers], order)
        return grad_x + grads

    def reference(self) -> list[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (self.x, self.alphas, *(w for own in self.weights for w in own))]
        flat = iter(leaves[2:])
        weights = [[next(flat) for _ in own] for own in self.weights]
        out = reference.supernet_node([leaves[0].permute(0, 3, 1, 2)], self.operations, leaves[1][None], [weights])
        grad_x, grad_alphas, *rest = torch.autograd.grad(out, leaves, self.grad.permute(0, 3, 1, 2))
        of_weights = iter(rest)
        grads = [grad_x + self.addend]
        for alpha, own in zip(grad_alphas, self.weights, strict=True):
            grads += [alpha.reshape(1), *(next(of_weights) for _ in own)]
        return grads

    def errors(self, results: list[Array]) -> list[float]:
        """Relative errors; of the alphas' gradients, numbers that may be small by chance, relative to all of them."""
        truth = self.reference()
        values = [decode(value, self.dtype) for value in results]
        norm = float(torch.cat([t for t in truth if t.shape == (1,)]).norm()) or 1.0
        return [
            float((value - true).norm()) / norm if true.shape == (1,) else relative_error(value, true)
            for value, true in zip(values, truth, strict=True)
        ]

    def check(self, emulator: Emulator, order: str = "forward") -> None:
        assert max(self.errors(self.run(emulator, order))) < TOLERANCE[self.dtype]


def assert_same(results: list[Array], others: list[Array]) -> None:
    for one, other in zip(results, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def emulator(cuda_cache: Path) -> Emulator:
    return Emulator(SOURCES, cuda_cache)


variant = partial(float_variant, SOURCES)


# A block is 8 x 32 pixels, a chunk 32 channels.
@pytest.mark.parametrize("operations", [SPACE_A, SPACE_B, REPEATED, *[(name,) for name in CODES]], ids=str)
@pytest.mark.parametrize(
    ("size", "channels", "batch"), [((9, 35), 5, 2), ((1, 1), 1, 1), ((3, 66), 40, 1), ((17, 2), 32, 1)], ids=str
)
def test_an_edge(
    emulator: Emulator, operations: tuple[str, ...], size: tuple[int, int], channels: int, batch: int
) -> None:
    Problem(operations, size, channels, batch=batch).check(emulator)


@pytest.mark.parametrize("operations", [SPACE_A, REPEATED], ids=str)
def test_an_edge_in_float64(emulator: Emulator, operations: tuple[str, ...]) -> None:
    Problem(operations, (9, 35), 6, dtype="f64").check(emulator)


@pytest.mark.parametrize(("channels", "outputs"), [(5, 45), (70, 8), (40, 33)])
def test_other_outputs_than_channels(emulator: Emulator, channels: int, outputs: int) -> None:
    names = ("sep_conv_3x3", "conv_1x1", "dil_2_conv_3x3")
    Problem(names, (5, 34), channels, outputs).check(emulator)


def test_as_many_operations_as_there_may_be(emulator: Emulator) -> None:
    Problem(tuple(CODES)[::-1] * 6 + ("skip", "conv_1x1"), (2, 3), 3).check(emulator)


@pytest.mark.parametrize("need_x", [True, False])
def test_slices_of_larger_tensors(emulator: Emulator, need_x: bool) -> None:
    spread, dense = Problem(REPEATED, channels=6, gap=5), Problem(REPEATED, channels=6)
    assert_same(spread.run(emulator, need_x=need_x), dense.run(emulator, need_x=need_x))


@pytest.mark.parametrize("operations", [SPACE_A, REPEATED], ids=str)
@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bits_are_storage_only(emulator: Emulator, operations: tuple[str, ...], dtype: str) -> None:
    """Sums are in float32: the results are those of float32 with tf32 products, rounded once."""
    problem = Problem(operations, (9, 34), 8, dtype=dtype)
    narrow = problem.run(emulator)
    problem.tf32 = True
    wide = problem.run(emulator, dtype="f32")
    assert_same(narrow, [encode(torch.from_numpy(value), dtype) for value in wide])
    assert max(problem.errors(narrow)) < ROUNDING[dtype]


@pytest.mark.parametrize("operations", [("conv_1x1",), ("dil_2_conv_3x3", "sep_conv_3x3")], ids=str)
def test_products_of_one_tf32_pass(emulator: Emulator, operations: tuple[str, ...]) -> None:
    """As inexact as factors of eleven bits: the second and third product of the exact form are really not made."""
    problem = Problem(operations, (9, 69), 32, tf32=True)
    errors = problem.errors(problem.run(emulator))
    assert TF32 / 20 < errors[0] < TF32 and errors[-1] < TF32  # of x and of a point-wise weight


@pytest.mark.parametrize("operations", [SPACE_A, REPEATED], ids=str)
def test_only_what_is_wanted(emulator: Emulator, operations: tuple[str, ...]) -> None:
    """Each half alone is what it was beside the other; without an addend, the input's gradient is less by it."""
    problem = Problem(operations, (9, 20), 8)
    everything = problem.run(emulator)
    assert_same(problem.run(emulator, need_weight=False), everything[:1])
    assert_same(problem.run(emulator, need_x=False), everything[1:])
    alone = decode(problem.run(emulator, addend=False, need_weight=False)[0], "f32")
    assert relative_error(alone, problem.reference()[0] - problem.addend) < TOLERANCE["f32"]


def test_the_addend_may_be_the_result(emulator: Emulator) -> None:
    """It is what kernels of other operations have left there."""
    problem = Problem(REPEATED, (9, 37), 8)
    assert_same(problem.run(emulator, in_place=True), problem.run(emulator))


def test_no_images(emulator: Emulator) -> None:
    grad_x, *grads = Problem(SPACE_A, (4, 5), 8, batch=0).run(emulator)
    assert grad_x.shape == (0, 4, 5, 8) and not any(grad.any() for grad in grads)


@pytest.mark.parametrize(
    ("operations", "size", "channels"), [(SPACE_A, (9, 34), 8), (REPEATED, (2, 3), 34)], ids=["A", "repeated"]
)
def test_any_order_of_threads_and_blocks_gives_the_same_bits(
    emulator: Emulator, operations: tuple[str, ...], size: tuple[int, int], channels: int
) -> None:
    problem = Problem(operations, size, channels, batch=2)
    first, *others = [problem.run(emulator, order) for order in ORDERS]
    for other in others:
        assert_same(first, other)


def test_the_gradient_of_x_does_not_depend_on_the_batch(emulator: Emulator) -> None:
    many, one = Problem(REPEATED, (9, 40), 8, batch=3), Problem(REPEATED, (9, 40), 8)
    one.x, one.grad, one.addend = (t[1:2] for t in (many.x, many.grad, many.addend))
    one.alphas, one.weights = many.alphas, many.weights
    np.testing.assert_array_equal(one.run(emulator)[0], many.run(emulator)[0][1:2])


class OpProblem:
    """A node whose edges the op hands to the kernels as on a GPU, by addresses; layouts and alphas need copies."""

    def __init__(self, operations: tuple[str, ...], edges: int = 2, channels: int = 6) -> None:
        rng = torch.Generator().manual_seed(len(operations))
        sizes: dict[str, list[tuple[int, ...]]] = {"skip": [], "none": [], "conv_1x1": [(channels, channels)]}
        sizes["conv_9x1_1x9"] = [(channels, 9)] * 2
        depthwise = [(channels, 3, 3), (channels, channels)]
        self.operations = list(operations)
        self.inputs = [torch.randn(2, channels, 9, 11, generator=rng) for _ in range(edges)]
        self.grad = torch.randn(2, channels, 9, 11, generator=rng)
        self.alphas = torch.randn(len(operations), edges, generator=rng).t()
        names = edges * self.operations
        self.weights = [torch.randn(*s, generator=rng) for name in names for s in sizes.get(name, depthwise)]

    def on_the_cpu(self) -> list[torch.Tensor]:
        arguments = (self.grad, self.inputs, self.operations, self.alphas, self.weights, True, True)
        grad_inputs, grads = supernet_node._backward(*arguments)
        return [*grad_inputs, *grads]

    def by_edges(self, need_x: bool = True, need_weight: bool = True) -> list[torch.Tensor]:
        grad_inputs = [supernet_node.pixels.empty(x, x.shape).fill_(torch.nan) for x in self.inputs if need_x]
        arguments = (self.grad, self.inputs, self.operations, self.alphas, self.weights, grad_inputs, need_weight)
        return [*grad_inputs, *supernet_node._backward_by_edges(*arguments)]


@pytest.fixture
def launches(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels that the op launches; those of an edge are the CUDA kernels."""
    kernels, names = supernet_node.kernels, []
    launch = kernels.launch

    def numbers(args: Any) -> list[int]:
        terms = [[int(getattr(term, name)) for name in fields(_core.EdgeTerm)] for term in args.term]
        rest = [int(getattr(args, name)) for name in fields(_core.SupernetEdgeBackwardArgs) if name != "term"]
        return [len(terms), *(number for term in terms for number in term), *rest]

    def fields(struct: Any) -> list[str]:
        return [name for name in vars(struct) if isinstance(getattr(struct, name), property)]

    def launch_in_emulator(name: str, like: torch.Tensor, args: Any) -> None:
        names.append(name)
        if name != "supernet_edge_backward":
            return launch(name, like, args)
        n_bytes = np.zeros(1, np.int64)
        emulator.call("edge_scratch_bytes_at_addresses", [n_bytes], numbers(args))
        emulator.call("edge_at_addresses", [np.full(int(n_bytes[0]), 0xFF, np.uint8)], numbers(args))

    monkeypatch.setattr(kernels, "launch", launch_in_emulator)
    return names


@pytest.mark.parametrize(
    "operations",
    [
        (*SPACE_A, "none"),
        ("sep_conv_3x3", "dil_2_conv_3x3", "conv_9x1_1x9", "skip", "none"),
        ("sep_conv_3x3", "dil_2_conv_3x3", "dil_3_conv_3x3", "conv_9x1_1x9", "skip", "none"),
        ("none", "skip", "conv_9x1_1x9", "conv_1x1", "conv_9x1_1x9", "skip"),
        ("conv_9x1_1x9",),
        ("none",),
    ],
    ids=str,
)
def test_the_op_around_the_kernels(launches: list[str], operations: tuple[str, ...]) -> None:
    problem = OpProblem(operations)
    expected = problem.on_the_cpu()
    launches.clear()
    results = problem.by_edges()
    together = any(name not in {"none", "conv_9x1_1x9"} for name in operations)
    edge = operations.count("conv_9x1_1x9") * ["separable_node_backward"] + together * ["supernet_edge_backward"]
    assert launches == 2 * edge
    for value, other in zip(results, expected, strict=True):
        assert relative_error(value.double(), other.double()) < TOLERANCE["f32"]
    for one, other in zip(problem.by_edges(need_weight=False), results[:2], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(problem.by_edges(need_x=False), results[2:], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "problem", [(SPACE_A, (9, 34), 4), (REPEATED, (2, 9), 34, 34), (("conv_1x1",), (1, 3), 3, 35)], ids=str
)
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_overrun_and_no_race(
    cuda_cache: Path, needs_sanitizer: Callable[[str], None], sanitizer: str, problem: tuple[object, ...]
) -> None:
    needs_sanitizer(sanitizer)
    under = variant(cuda_cache, sanitizer=sanitizer)
    Problem(*problem).check(under)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "edit",
    [
        (ROOM / "backward.cuh", "= sum; });\n  __syncthreads();\n", "= sum; });\n"),
        (KERNELS, "if (i > 0) __syncthreads();", ""),
    ],
    ids=["between products and their sum", "between an operation's taps and the next one's"],
)
def test_a_missing_barrier_is_found(
    cuda_cache: Path, needs_sanitizer: Callable[[str], None], edit: tuple[Path, str, str]
) -> None:
    needs_sanitizer("thread")
    with pytest.raises(SanitizerError, match="data race"):
        Problem(SPACE_B, (2, 3), 3).run(variant(cuda_cache, edit, sanitizer="thread"))


def test_an_overrun_is_found(cuda_cache: Path, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address,undefined")
    edit = (KERNELS, "kWarps + kWarps * kPixels * kChunk", "kWarps * kPixels * kChunk")
    with pytest.raises(SanitizerError, match="heap-buffer-overflow"):
        Problem(SPACE_B, (8, 9), 32).run(variant(cuda_cache, edit, sanitizer="address,undefined"))
