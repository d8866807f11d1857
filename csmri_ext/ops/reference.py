"""The specification: every op in plain PyTorch, differentiable, on any device.

``with csmri_ext.reference_ops():`` makes the public functions of `csmri_ext.ops`, and with them the modules of
`csmri_ext.nn`, use these instead of the compiled kernels. Nothing else ever does: there is no silent fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor

_blocks = 0  # `reference_ops` blocks that have been entered and not left, in all threads
_counting = Lock()


@contextmanager
def reference_ops() -> Iterator[None]:
    """Run the ops inside the ``with`` block as plain PyTorch, in this process (all threads).

    For checking the kernels, and for machines without them. A backward pass belongs to its forward pass, wherever it
    runs. Where several threads have entered a block, it is in force until all of them have left.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _blocks
    with _counting:
        _blocks += change


def active() -> bool:
    """Whether `reference_ops` is in force."""
    return _blocks > 0


def fft2c(x: Tensor) -> Tensor:
    """Centred unitary 2-D Fourier transform of the last two axes."""
    return _centred(torch.fft.fft2, x)


def ifft2c(x: Tensor) -> Tensor:
    """Inverse, and adjoint, of `fft2c`."""
    return _centred(torch.fft.ifft2, x)


def _centred(transform: Callable[..., Tensor], x: Tensor) -> Tensor:
    if x.numel() == 0:
        return x + 0j  # torch.fft refuses it
    axes = (-2, -1)
    return torch.fft.fftshift(transform(torch.fft.ifftshift(x, axes), norm="ortho"), axes)


def data_consistency(image: Tensor, kspace: Tensor, mask: Tensor, eta: Tensor | float) -> Tensor:
    """``image + eta F^H M (kspace - F image)``; see `csmri_ext.ops.data_consistency`."""
    if not image.is_complex():
        one_k_space = (image.shape[0], 1, *image.shape[-2:])
        shared = kspace.reshape(one_k_space), mask.expand(kspace.shape).reshape(one_k_space)
        return _from_replicas(data_consistency(_to_replicas(image), *shared, eta))
    residual = kspace - fft2c(image)
    # a product with 0 keeps NaN; a float mask may be a parameter, whose gradient where it is 0 needs the product
    acquired = torch.where(mask, residual, 0) if mask.dtype == torch.bool else mask * residual
    return image + eta * ifft2c(acquired)


def data_consistency_normal_term(image: Tensor, kspace: Tensor, mask: Tensor, eta: Tensor | float) -> Tensor:
    """``-eta F^H M F image``; see `csmri_ext.ops.data_consistency_normal_term`."""
    return data_consistency(image, torch.zeros_like(kspace), mask, eta) - image


def sense_normal(image: Tensor, sens_maps: Tensor | None, mask: Tensor) -> Tensor:
    """``sum_c conj(S_c) F^H M F S_c image``; see `csmri_ext.ops.sense_normal`."""
    if sens_maps is None:
        return ifft2c(mask * fft2c(image))
    return (sens_maps.conj() * ifft2c(mask * fft2c(sens_maps * image.unsqueeze(-3)))).sum(-3)


def encode(image: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    """``M F S_c image``; see `csmri_ext.ops.encode`."""
    return _weighted(fft2c(image if sens_maps is None else sens_maps * image.unsqueeze(-3)), mask)


def encode_adjoint(kspace: Tensor, sens_maps: Tensor | None, mask: Tensor | None) -> Tensor:
    """``sum_c conj(S_c) F^H M kspace_c``; see `csmri_ext.ops.encode_adjoint`."""
    coil_images = ifft2c(_weighted(kspace, mask))
    return coil_images if sens_maps is None else (sens_maps.conj() * coil_images).sum(-3)


def _weighted(kspace: Tensor, mask: Tensor | None) -> Tensor:
    return kspace if mask is None else torch.where(mask != 0, mask * kspace, 0)


def _to_replicas(image: Tensor) -> Tensor:
    """Real ``(batch, 2 m, ny, nx)`` to complex ``(batch, m, ny, nx)``."""
    return (
        torch.complex(*image.float().chunk(2, dim=1)) if image.itemsize < 4 else torch.complex(*image.chunk(2, dim=1))
    )


def _from_replicas(image: Tensor) -> Tensor:
    return torch.cat([image.real, image.imag], dim=1)


def split_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """``B_1 = S_1, B_2 = d_2 S_2, B_i = d_i (S_i + B_{i-1})``, concatenated; see `csmri_ext.ops.split_depthwise`."""
    groups = x.chunk(weight.shape[0] + 1, dim=1)
    outputs = [groups[0]]
    for i, kernel in enumerate(weight.unsqueeze(2)):
        fed = groups[i + 1] if i == 0 else groups[i + 1] + outputs[-1]
        outputs.append(torch.nn.functional.conv2d(fed, kernel, padding=1, groups=kernel.shape[0]))
    return torch.cat(outputs, dim=1)


def half_shuffle_attention(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    query: Tensor,
    key_value: Tensor,
    project: Tensor,
    bias: Tensor,
    heads: int,
    epsilon: float,
    attention: Callable[..., Tensor] | None = None,
) -> Tensor:
    """``x + O o + b``, o what the heads attend to; see `csmri_ext.ops.half_shuffle_attention`.

    `attention` of queries, keys and values ``(..., tokens, width)`` each is `softmax_attention` unless another is
    given; torch's own has neither forward-mode nor second derivatives.
    """
    attention = attention or softmax_attention
    functional = torch.nn.functional
    batch, channels, ny, nx = x.shape
    down, across, width = ny // 8, nx // 8, channels // heads
    local = 1 if heads == 1 else heads // 2
    if x.numel() == 0:
        unused = sum(weight.sum() for weight in (norm_weight, norm_bias, query, key_value, project))
        return x + (bias + 0 * unused)[:, None, None]  # gradients of zero, for what nothing passes
    windows = x.permute(0, 2, 3, 1).reshape(batch, down, 8, across, 8, channels).transpose(2, 3)
    windows = windows.reshape(batch, down * across, 64, channels)
    tokens = _layer_norm(windows, norm_weight, norm_bias, epsilon)
    q, (k, v) = functional.linear(tokens, query), functional.linear(tokens, key_value).chunk(2, dim=-1)
    by_head = [t.unflatten(-1, (heads, width)) for t in (q, k, v)]  # (batch, windows, 64, heads, width)

    def attend(first: int, last: int, tokens_axis: int) -> Tensor:
        moved = [t[..., first:last, :].movedim(tokens_axis, -2) for t in by_head]
        flat = [t.flatten(0, -3) for t in moved]  # four axes at most: torch.compile fails with more
        attended = attention(*(t.unsqueeze(1) for t in flat)).squeeze(1)
        return attended.reshape(moved[0].shape).movedim(-2, tokens_axis)

    parts = [attend(0, local, 2)]
    if local < heads:
        parts.append(attend(local, heads, 1))
    projected = functional.linear(torch.cat(parts, dim=-2).flatten(-2), project, bias)
    added = (windows + projected).reshape(batch, down, across, 8, 8, channels).transpose(2, 3)
    return added.reshape(batch, ny, nx, channels).permute(0, 3, 1, 2)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Written out: derivatives of torch's own are wrong where forward mode is differentiated again."""
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight + bias


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(width)) v`` of queries, keys and values ``(..., tokens, width)``."""
    return torch.softmax(q * q.shape[-1] ** -0.5 @ k.mT, -1) @ v


def hsab_feed_forward(x: Tensor, expand: Tensor, depthwise: Tensor, contract: Tensor) -> Tensor:
    """``V gelu(D gelu(U x))``; see `csmri_ext.ops.hsab_feed_forward`."""
    functional = torch.nn.functional
    hidden = functional.gelu(functional.linear(x.permute(0, 2, 3, 1), expand)).permute(0, 3, 1, 2)
    hidden = functional.conv2d(hidden, depthwise.unsqueeze(1), padding=1, groups=depthwise.shape[0])
    return functional.linear(functional.gelu(hidden).permute(0, 2, 3, 1), contract).permute(0, 3, 1, 2)


def pyramid_convolution(
    parts: Sequence[Tensor], weights: Sequence[Tensor], groups: Sequence[int], scales: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Group convolutions of one (concatenated, scaled) input, their means and maxima; see the op of the same name."""
    x = torch.cat([scale * part for scale, part in zip(scales, parts, strict=True)], dim=1)
    convolved = [
        torch.nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=group)
        for weight, group in zip(weights, groups, strict=True)
    ]
    features = torch.cat(convolved, dim=1)
    pixels = features.flatten(2)
    return features, pixels.mean(-1), pixels.max(-1).values


def pyramid_attention(
    parts: Sequence[Tensor],
    weights: Sequence[Tensor],
    groups: Sequence[int],
    gate: Callable[[Tensor, Tensor], Tensor],
    scales: Tensor,
) -> Tensor:
    """Multiply `pyramid_convolution` by ``gate(mean, maximum)``; see `csmri_ext.ops.pyramid_attention`."""
    features, mean, maximum = pyramid_convolution(parts, weights, groups, scales)
    return gate(mean, maximum)[..., None, None] * features


def separable_node(inputs: Sequence[Tensor], operations: Sequence[str], weights: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sum of NasN operations, one per input; see `csmri_ext.ops.separable_node`."""
    results = [_operation(x, name, own) for x, name, own in zip(inputs, operations, weights, strict=True)]
    total = results[0]
    for result in results[1:]:
        total = total + result
    return total


def supernet_node(
    inputs: Sequence[Tensor], operations: Sequence[str], alphas: Tensor, weights: Sequence[Sequence[Sequence[Tensor]]]
) -> Tensor:
    """Sum of all operations on all inputs, weighted; see `csmri_ext.ops.supernet_node`."""
    total = None
    for x, of_edge, edge in zip(inputs, alphas.unbind(), weights, strict=True):
        for name, alpha, own in zip(operations, of_edge.unbind(), edge, strict=True):
            term = alpha * _operation(x, name, own)
            total = term if total is None else total + term
    assert total is not None
    return total


def separable_cell(
    before: Tensor,
    last: Tensor,
    genotype: Sequence[Sequence[tuple[str, int]]],
    preprocess: Sequence[Tensor],
    weights: Sequence[Sequence[Sequence[Tensor]]],
) -> Tensor:
    """Nodes over two inputs and over one another, concatenated; see `csmri_ext.ops.separable_cell`."""
    states = [_operation(x, "conv_1x1", [w]) for x, w in zip((before, last), preprocess, strict=True)]
    for node, own in zip(genotype, weights, strict=True):
        states.append(separable_node([states[source] for _, source in node], [name for name, _ in node], own))
    return torch.cat(states[2:], dim=1)


def relu_conv(x: Tensor, weight: Tensor, residual: Tensor | None) -> Tensor:
    """``residual + conv3x3(relu(x))``; see `csmri_ext.ops.relu_conv`."""
    convolved = torch.nn.functional.conv2d(torch.relu(x), weight, padding=1)
    return convolved if residual is None else residual + convolved


def nasn_cascade(
    image: Tensor,
    genotype: Sequence[Sequence[tuple[str, int]]],
    stem: Sequence[Tensor],
    preprocess: Sequence[Sequence[Tensor]],
    weights: Sequence[Sequence[Sequence[Sequence[Tensor]]]],
    last: Tensor,
) -> Tensor:
    """Stem, cells and final convolution, added to the image; see `csmri_ext.ops.nasn_cascade`."""
    before = image.to(stem[0].dtype)
    for kernel in stem:
        before = torch.nn.functional.conv2d(before, kernel, padding=1)
    output = before
    for pair, own in zip(preprocess, weights, strict=True):
        before, output = output, separable_cell(before, output, genotype, pair, own)
    return relu_conv(output, last, image)


DILATIONS = {"sep_conv_3x3": 1, "dil_2_conv_3x3": 2, "dil_3_conv_3x3": 3}


def _operation(x: Tensor, name: str, weights: Sequence[Tensor]) -> Tensor:
    """One operation of the NasN search spaces (NasN, table of operations)."""
    convolve, relu = torch.nn.functional.conv2d, torch.nn.functional.relu
    channels = x.shape[1]
    if name == "skip":
        return x
    if name == "none":
        return torch.zeros_like(x)
    if name == "conv_9x1_1x9":
        column, row = weights  # (channels, 9) each
        first = convolve(relu(x), column[:, None, :, None], padding=(4, 0), groups=channels)
        return convolve(relu(first), row[:, None, None, :], padding=(0, 4), groups=channels)
    if name == "conv_1x1":
        return convolve(relu(x), weights[0][:, :, None, None])
    depthwise, pointwise = weights  # (channels, 3, 3), (outputs, channels)
    dilation = DILATIONS[name]
    filtered = convolve(relu(x), depthwise[:, None], padding=dilation, dilation=dilation, groups=channels)
    return convolve(relu(filtered), pointwise[:, :, None, None])
