"""Every case of `ops_speed`, by short name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import cases_convolution, cases_data_consistency
from benchmarks.timing import Case


def all_cases(only: str | None = None) -> list[Callable[[bool], Case]]:
    """Builders of the cases whose short name contains `only`."""
    builders = cases_data_consistency.cases() | cases_convolution.cases()
    return [build for name, build in builders.items() if only is None or only in name]
