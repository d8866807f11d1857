"""`ProximalSteps`: the data steps of a cascade, NasN's eq. 7 for one coil and for many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from csmri_ext.physics import Encoding

START = 0.1
"""mu at noise of `NOISE`, sensitivities of unit root sum of squares; `benchmarks.proximal_start` compares values."""

NOISE = 0.014
"""Standard deviation of real and imaginary part, relative to the brightest pixel of the zero-filled image."""

RANGE = (0.25, 2.0)
"""Of the factor ``(noise / NOISE)^2``. Below, errors of estimated sensitivities are what data and network differ by;
above, the image of a network that was trained without noise is no better than the data."""

LAST = 0.3
"""Where mu of the last step starts to learn, at noise of `NOISE`: the noise that it lets in nothing removes."""

MAPS = 0.1
"""What errors of estimated sensitivities add to ``(noise / NOISE)^2`` where mu is learned."""

ITERATIONS = 10
"""Conjugate gradients of a step. They start at the image of the network, which is near."""


class ProximalSteps(nn.Module):
    """``argmin_x 1/2 ||y - A x||^2 + mu_k/2 ||x - image||^2`` after network k, `Encoding.proximal`.

    NasN's eq. 7 weights the data, ``lambda = 1 / mu``. As published, lambda is infinite and nothing is learned: with
    one coil the acquired samples are replaced, whatever `mu`. Several coils have no such limit that a few iterations
    reach (where they leave the image open it is the network's, and data and network contradict each other by noise and
    by errors of the maps). They trust the data as far as the noise lets them: by default ``mu = START (sigma /
    NOISE)^2``, sigma the noise of each slice (`Encoding.relative_noise_variance`), the factor within `RANGE`.

    One coil with sensitivities of magnitude 1 is one coil; otherwise its step is the gradient step of size 1.

    With `trainable`, mu is a parameter of each step. The network learns how good its images are beside the data, and
    nothing limits the factor (`learned_noise_factor`). One coil, whose noise cannot be told from its signal, keeps the
    acquired samples unless `mu` is given: ``eta = 1 / (1 + mu_k)``. The counts of parameters in the papers are those
    without it.

    Parameters
    ----------
    steps
        Number of steps, K.
    mu
        Where all of them are, or start; positive, and the same for any noise. Several numbers: that of each step at
        noise of `NOISE`, as a training with `trainable` found them; they follow the noise as learned ones do
        (``--set mu=0.06,0.07,0.5`` of ``csmri train`` for three). None: as the noise of each slice asks; with
        `trainable` from `START`, the last from `LAST`.
    trainable
        Make ``log_mu``, ``(steps,)``, a parameter, stored with the weights. Otherwise it is a constant that no file of
        weights holds.

    Raises
    ------
    ValueError
        A `mu` that is no number, not positive or not finite; or several that are not one for each step.
    """

    log_mu: Tensor

    def __init__(self, steps: int, mu: float | Sequence[float] | None = None, *, trainable: bool = False) -> None:
        super().__init__()
        given: Any = mu.tolist() if mu is not None and hasattr(mu, "tolist") else mu  # of numpy or torch
        several = isinstance(given, Sequence) and not isinstance(given, str)
        each = list(given) if several else [START if given is None else given] * steps
        if not all(isinstance(value, (int, float)) and type(value) is not bool for value in each):
            raise ValueError(f"mu is {given!r}, expected a positive number, or one for each of {steps} data steps")
        if not all(0 < value < math.inf for value in each):
            raise ValueError(f"mu is {given}, expected a positive number")
        if len(each) != steps:
            raise ValueError(f"mu has {len(each)} numbers, {given}; expected one, or one for each of {steps} steps")
        self.trainable, self.by_noise = trainable, mu is None or several
        self.learned = trainable or several
        if trainable and mu is None:
            each[-1:] = [LAST]
        start = torch.tensor([math.log(value) for value in each])  # the logarithm keeps mu positive
        if trainable:
            self.log_mu = nn.Parameter(start)
        else:
            self.register_buffer("log_mu", start, persistent=False)

    def forward(self, encoding: Encoding, image: Tensor, k: int) -> Tensor:
        """Take step k.

        Parameters
        ----------
        encoding
            The data.
        image
            What the network made, complex ``(batch, ny, nx)``.
        k
            Number of the step, from 0.

        Returns
        -------
            dtype and shape of `image`.
        """
        if not encoding.multi_coil and (self.by_noise or not self.trainable):
            return encoding.step(image, 1.0)
        mu = self.log_mu[k].exp()
        if self.by_noise:
            mu = mu * (learned_noise_factor(encoding) if self.learned else noise_factor(encoding))
        return encoding.proximal(image, mu, iterations=ITERATIONS)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows of the layer."""
        mu = [round(float(mu), 4) for mu in self.log_mu.detach().exp()]
        return f"mu={mu}, by_noise={self.by_noise}, trainable={self.trainable}"


def noise_factor(encoding: Encoding) -> Tensor | float:
    """How much less than at noise of `NOISE` the data of several coils are to be trusted: ``(sigma / NOISE)^2``.

    Parameters
    ----------
    encoding
        The data.

    Returns
    -------
        Within `RANGE`, ``(batch, 1, 1)``, to multiply the mu of `Encoding.proximal` with; 1.0 for one coil.
    """
    if not encoding.multi_coil:
        return 1.0
    return (encoding.relative_noise_variance / NOISE**2).clamp(*RANGE)


def learned_noise_factor(encoding: Encoding) -> Tensor:
    """By how much mu of several coils differs from that at noise of `NOISE`, for networks that learned mu.

    The best mu is the variance of the data's error over that of the image's::

        (sigma / NOISE)^2 + MAPS

    Parameters
    ----------
    encoding
        The data, of several coils.

    Returns
    -------
        ``(batch, 1, 1)``, to multiply the mu of `Encoding.proximal` with.
    """
    return encoding.relative_noise_variance / NOISE**2 + MAPS
