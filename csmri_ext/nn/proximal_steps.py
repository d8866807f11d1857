"""`ProximalSteps`: the data steps of a cascade, NasN's eq. 7 for one coil and for many."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from csmri_ext.physics import Encoding

START = 0.1
"""mu at the start, with sensitivities of unit root sum of squares; `benchmarks.proximal_start` compares values."""


ITERATIONS = 5
"""Conjugate gradients of a step. They start at the image of the network, which is near."""


class ProximalSteps(nn.Module):
    """``argmin_x 1/2 ||y - A x||^2 + mu_k/2 ||x - image||^2`` after network k, `Encoding.proximal`.

    NasN's eq. 7 weights the data, ``lambda = 1 / mu``. As published, lambda is infinite and nothing is learned: with
    one coil the acquired samples are replaced, whatever `mu`. Several coils have no such limit that a few iterations
    reach (where they leave the image open it is the network's, and data and network contradict each other by noise and
    by errors of the maps), so that they take the step with the number `mu`.

    One coil with sensitivities of magnitude 1 is one coil; otherwise its step is the gradient step of size 1.

    With `trainable`, mu is a parameter of each step, with one coil as well: ``eta = 1 / (1 + mu_k)``. The counts of
    parameters in the papers are those without it.

    Parameters
    ----------
    steps
        Number of steps, K.
    mu
        Where all of them are, or start; positive.
    trainable
        Make ``log_mu``, ``(steps,)``, a parameter, stored with the weights. Otherwise it is a constant that no file of
        weights holds.

    Raises
    ------
    ValueError
        A `mu` that is not positive and finite.
    """

    log_mu: Tensor

    def __init__(self, steps: int, mu: float = START, *, trainable: bool = False) -> None:
        super().__init__()
        if not 0 < mu < math.inf:
            raise ValueError(f"mu is {mu}, expected a positive number")
        self.trainable = trainable
        start = torch.full((steps,), math.log(mu))  # the logarithm keeps mu positive
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
        if not (self.trainable or encoding.multi_coil):
            return encoding.step(image, 1.0)
        return encoding.proximal(image, self.log_mu[k].exp(), iterations=ITERATIONS)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows of the layer."""
        return f"mu={[round(float(mu), 4) for mu in self.log_mu.detach().exp()]}, trainable={self.trainable}"
