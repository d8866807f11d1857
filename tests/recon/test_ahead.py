from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from csmri_ext.recon.ahead import ahead


def test_the_next_one_is_made_while_the_body_works() -> None:
    """Each is made no sooner than the body has its predecessor, and no later than it asks for it."""
    begun = [threading.Event() for _ in range(4)]
    seen = []

    def make(i: int) -> int:
        begun[i].set()
        return 10 * i

    with ahead(make, range(4)) as results:
        for i, result in enumerate(results):
            if i < 3:
                assert begun[i + 1].wait(10)
            assert not any(event.is_set() for event in begun[i + 2 :])
            seen.append(result)
    assert seen == [0, 10, 20, 30]


def test_an_error_comes_in_its_place() -> None:
    seen = []

    def make(i: int) -> int:
        if i == 2:
            raise ValueError("the third")
        return i

    with pytest.raises(ValueError, match="the third"), ahead(make, range(5)) as results:
        seen.extend(results)
    assert seen == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_leaving_waits_for_the_thread_and_starts_no_other(error: type[BaseException]) -> None:
    made: list[int] = []
    before = threading.active_count()
    with pytest.raises(error), ahead(made.append, range(5)) as results:
        for _ in results:
            raise error
    assert made == [0, 1]
    assert threading.active_count() == before


def test_context_variables_are_those_of_the_caller() -> None:
    variable = ContextVar("variable", default="nobody's")
    variable.set("the caller's")
    with ahead(lambda _: variable.get(), range(2)) as results:
        assert list(results) == ["the caller's"] * 2
    with ahead(lambda i: i, []) as results:
        assert list(results) == []
