"""Every case of `ops_speed` and `gpu_all`, by short name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import cases_attention, cases_convolution, cases_data_consistency, cases_feed_forward, cases_nasn
from benchmarks.timing import Case

Builder = Callable[[bool], Case]  # argument: with torch.compile among the rivals


def all_cases(only: str | None = None) -> dict[str, Builder]:
    """Builders of the cases whose short name contains `only`."""
    builders = cases_data_consistency.cases() | cases_convolution.cases()
    builders |= cases_attention.cases() | cases_feed_forward.cases() | cases_nasn.cases()
    return {name: build for name, build in builders.items() if only is None or only in name}


# Cases that are repeated at every instruction set.
MAIN = [
    "data_consistency column 8x320",
    "data_consistency 2-D 8x320",
    "split_depthwise forward 8",
    "split_depthwise backward 8",
    "half_shuffle_attention forward 32",
    "half_shuffle_attention training 32",
    "hsab_feed_forward forward 32",
    "hsab_feed_forward training 32",
    "pyramid_attention forward 1",
    "pyramid_attention training 1",
    "separable_node forward 1",
    "nasn_cascade forward 1",
]
# Cases with torch.compile among the rivals, which takes half a minute each.
COMPILED = [*MAIN, "separable_node training 1", "supernet_node training 1", "nasn module training 1"]
