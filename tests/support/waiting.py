"""How tests wait: they look until something is so, and say what they waited for where it never comes.

No test bounds how long something takes (`tests/bench` measures); a deadline here is only there to end a test that would
hang otherwise, and is longer than anything takes on a busy machine.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
What = str | Callable[[], str]

DEADLINE = 60.0  # seconds
EVERY = 0.01  # seconds between two looks


def wait_until(condition: Callable[[], T], what: What = "", timeout: float = DEADLINE, every: float = EVERY) -> T:
    """Return the first true value of `condition`.

    After `timeout` seconds raise AssertionError with `what` was waited for: a text, a function that makes one of how
    things stand then, or, without either, the source of the condition.
    """
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {_reported(condition, what)}")
        time.sleep(every)
    return found


async def wait_until_async(
    condition: Callable[[], T], what: What = "", timeout: float = DEADLINE, every: float = EVERY
) -> T:
    """As `wait_until`, while the loop goes on."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for {_reported(condition, what)}")
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


def _reported(condition: Callable[[], object], what: What) -> str:
    return source(condition) if not what else what if isinstance(what, str) else what()


def source(condition: Callable[[], object]) -> str:
    """Return the lines of code that a condition was written in, for a message."""
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)


async def assert_stays(condition: Callable[[], object], seconds: float = 0.3) -> None:
    """See that a condition holds for a while: for what must not happen, and of which nothing tells that it did not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"no longer true: {_reported(condition, '')}"
        await asyncio.sleep(EVERY)


@contextmanager
def at_most(seconds: float = DEADLINE) -> Iterator[None]:
    """Fail, not hang, where something never ends or takes for ever; for the main thread."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
