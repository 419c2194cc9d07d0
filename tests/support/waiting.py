"""How tests wait: they look until something is so, and say what they waited for where it never comes.

No test bounds how long something takes (`tests/bench` measures); a deadline here is only there to end a test that would
hang otherwise, and is longer than anything takes on a busy machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0  # seconds
EVERY = 0.01  # seconds between two looks


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], timeout: float = DEADLINE, every: float = EVERY
) -> T:
    """Return the first true value of `condition`; AssertionError with `what` was waited for after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        _check(end, timeout, what)
        time.sleep(every)
    return found


async def wait_until_async(
    condition: Callable[[], T], what: str | Callable[[], str], timeout: float = DEADLINE, every: float = EVERY
) -> T:
    """As `wait_until`, while the loop goes on."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        _check(end, timeout, what)
        await asyncio.sleep(every)
    return found


def wait_for_result(call: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """Return what `call` returns, or raise what it raises, where it might never end; AssertionError if it does not."""
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=work, daemon=True).start()
    wait_until(result.done, what, timeout, every=0.001)
    return result.result()


def _check(end: float, timeout: float, what: str | Callable[[], str]) -> None:
    if time.monotonic() > end:
        raise AssertionError(f"waited {timeout:g} s in vain for: {what if isinstance(what, str) else what()}")
