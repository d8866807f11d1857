"""`DataConsistency`: the data step of an unrolled network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csmri_ext.nn.learned_number import learned_number, load_numbers_without_axis
from csmri_ext.ops import PreparedKspace, data_consistency, data_consistency_prepared


class DataConsistency(nn.Module):
    """Move an image towards its measured k-space: ``image + eta F^H M (kspace - F image)``.

    F is the centred unitary Fourier transform, M the mask; see `csmri_ext.ops.data_consistency`. Without parameters
    unless `learnable`.

    Parameters
    ----------
    eta
        Step. 1, the default, replaces what was acquired; ``1 / (1 + mu)`` is the exact proximal step of GA-HQS (eq. 6),
        ``lam / (1 + lam)`` that of NasN (eq. 7).
    learnable
        Make the step a parameter `theta`, which starts at `eta`.
    bounded
        Of a learned step: True, ``eta = sigmoid(theta)``, which stays between 0 and 1 and must start strictly between
        them; False, ``eta = theta``, any number, as the ``dc_weight`` of fastMRI's VarNet, which starts at 1.

    Raises
    ------
    ValueError
        If `learnable` and `bounded`, and `eta` is not strictly between 0 and 1.

    Examples
    --------
    >>> layer = DataConsistency()
    >>> image = layer(image, kspace, mask)  # once
    >>> prepared = prepare_data_consistency(kspace, mask)  # or prepared for several stages
    >>> for stage in stages:
    ...     image = layer(stage(image), prepared)
    >>> layer = DataConsistency(learnable=True, bounded=False)  # a data step of VarNet, with its weight
    >>> layer.theta.data.copy_(varnet_block.dc_weight)
    """

    def __init__(self, eta: float = 1.0, *, learnable: bool = False, bounded: bool = True) -> None:
        super().__init__()
        self.theta: nn.Parameter | None = None
        self._eta = float(eta)
        self.bounded = bounded
        if learnable:
            if bounded and not 0 < eta < 1:
                raise ValueError(
                    f"DataConsistency: a learnable eta must start between 0 and 1, got {eta}; bounded=False lifts that"
                )
            self.theta = learned_number(torch.logit(torch.tensor(self._eta)) if bounded else self._eta)
            load_numbers_without_axis(self)

    @property
    def eta(self) -> Tensor | float:
        """The step: a number, or a function of the parameter."""
        if self.theta is None:
            return self._eta
        return torch.sigmoid(self.theta) if self.bounded else self.theta

    def forward(
        self,
        image: Tensor,
        kspace: Tensor | PreparedKspace,
        mask: Tensor | None = None,
        eta: Tensor | float | None = None,
    ) -> Tensor:
        """Apply the step.

        Parameters
        ----------
        image
            complex ``(..., ny, nx)``; with prepared data also real ``(batch, 2 m, ny, nx)``, m replicas.
        kspace
            Measured data like `image`, centred, with its `mask`; or what `prepare_data_consistency` made of both.
        mask
            bool or real weights, broadcastable to `kspace`; None with prepared data.
        eta
            Step, instead of the layer's own.

        Returns
        -------
            dtype and shape of `image`.

        Raises
        ------
        TypeError, ValueError
            If a mask is missing or superfluous, or tensors do not fit together.
        """
        step = self.eta if eta is None else eta
        if isinstance(kspace, PreparedKspace):
            if mask is not None:
                raise TypeError("DataConsistency: prepared k-space brings its mask along; pass mask=None")
            return data_consistency_prepared(image, kspace, step)
        if mask is None:
            raise TypeError("DataConsistency: a mask is needed, unless k-space is prepared")
        return data_consistency(image, kspace, mask, step)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows of the layer."""
        eta = self.eta.detach() if isinstance(self.eta, Tensor) else self.eta
        return f"eta={float(eta):g}, learnable={self.theta is not None}"
