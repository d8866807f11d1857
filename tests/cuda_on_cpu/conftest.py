from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from cuda_on_cpu import emulator


@pytest.fixture(scope="session")
def cuda_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels are kept; the next run of the tests finds them again."""
    if emulator.compiler() is None:
        pytest.skip("no C++ compiler: set CXX, or install g++")
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("cuda_on_cpu")) if cache else tmp_path_factory.mktemp("cuda_on_cpu")


@pytest.fixture(scope="session")
def needs_sanitizer(cuda_cache: Path) -> Callable[[str], None]:
    """needs_sanitizer(name) skips the test where the compiler cannot build, or the machine not run, such programs."""
    works: dict[str, bool] = {}

    def check(sanitizer: str) -> None:
        if sanitizer not in works:
            works[sanitizer] = emulator.sanitizer_works(sanitizer, cuda_cache)
        if not works[sanitizer]:
            pytest.skip(f"{emulator.compiler()} -fsanitize={sanitizer} does not work here")

    return check


@pytest.fixture(scope="class")
def plain(request: pytest.FixtureRequest, cuda_cache: Path) -> emulator.Emulator:
    """The kernel of a class of tests, as it is."""
    return emulator.Emulator(request.cls.sources, cuda_cache)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests of `hsab_forward` the shapes of their kernel."""
    if metafunc.cls is not None and "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", metafunc.cls.shapes, ids=lambda shape: "-".join(map(str, shape)))


QUICK = ("test_emulator.py", "test_data_consistency_cuda.py", "test_split_depthwise_cuda.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call slow what takes long to build: kernels for a sanitizer, or with a fault planted, and those not `QUICK`."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent:
            asked = inspect.signature(item.function).parameters
            if "cuda_cache" in asked or "needs_sanitizer" in asked or item.path.name not in QUICK:
                item.add_marker("slow")
