"""`mirrored`: a method whose network reconstructs the mirror images of its data too, and takes the mean."""

from __future__ import annotations

from csmri_ext.errors import InputError
from csmri_ext.recon.methods import Method, as_method


def mirrored(method: Method) -> Method:
    """Return the method with its network in a `csmri_ext.models.mirrored.Mirrored`.

    Raises
    ------
    InputError
        A method without a network of PyTorch.
    """
    if method.network is None or not method.network.adapts:
        raise InputError(f"{method.name} is no network of PyTorch, whose mirror images could be averaged")
    from csmri_ext.models.mirrored import Mirrored

    return as_method(method.network.with_module(Mirrored(method.network.module)), method.description)
