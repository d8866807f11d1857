"""`mirrored`: a method whose network reconstructs the mirror images of its data too, and takes the mean."""

from __future__ import annotations

from csmri_ext.recon.methods import Method, as_method


def mirrored(method: Method) -> Method:
    """Return the method with its network in a `csmri_ext.models.mirrored.Mirrored`.

    Raises
    ------
    InputError
        A method without a network of PyTorch.
    """
    network = method.network_for("--mirrored")
    from csmri_ext.models.mirrored import Mirrored

    return as_method(network.with_module(Mirrored(network.module)), method.description)
