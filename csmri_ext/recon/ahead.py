"""One step ahead in a thread: the next slices are read and calibrated while a method works on those before."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@contextmanager
def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Iterator[Made]]:
    """Give ``map(make, items)``, each made while the body works on the one before it.

    One at a time is made, in the order of the items, so that at most two are in memory. What `make` raises comes where
    its result would have come. Leaving the body, by an error too, waits for the one that is being made.

    Parameters
    ----------
    make
        Called in threads, with the context variables of the caller.
    items
        What to call it with.
    """
    results = _results(make, items)
    try:
        yield results
    finally:
        results.close()


def _results(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made, None, None]:
    context = contextvars.copy_context()
    thread: threading.Thread | None = None
    waiting = iter(items)

    def start() -> Future[Made] | None:
        nonlocal thread
        for item in waiting:
            future: Future[Made] = Future()
            thread = threading.Thread(target=context.run, args=(_fill, future, make, item), name="ahead")
            thread.start()
            return future
        return None

    try:
        future = start()
        while future is not None:
            made = future.result()
            if thread is not None:
                thread.join()  # its context is free for the next one
            future = start()
            yield made
            del made
    finally:
        if thread is not None:
            thread.join()


def _fill(future: Future[Made], make: Callable[[Item], Made], item: Item) -> None:
    try:
        future.set_result(make(item))
    except BaseException as error:  # told where the result is asked for
        future.set_exception(error)
