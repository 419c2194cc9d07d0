"""Tests wait in one way, which says what it waited for."""

from __future__ import annotations

import ast
import re
import threading

import pytest

from tests.support.waiting import at_most, wait_for_result, wait_until, wait_until_async
from tests.test_clock import FILES, TESTS

# What sleeps, and why it is not waiting for anything.
SLEEPERS = {
    "conftest.py": "for uvicorn, which sleeps",
    "support/waiting.py": "the waiter itself",
    "acceptance/test_kill.py": "kills come at random moments, a device goes on at its own pace",
    "dicom/upper_layer/test_attacks.py": "a byte is sent now and then",
    "dicom/worklist/test_server.py": "a list is written slowly",
}


def test_what_never_comes_is_named() -> None:
    with pytest.raises(AssertionError, match=re.escape("waited 0.02 s in vain for the bus")):
        wait_until(lambda: False, "the bus", timeout=0.02)
    never = False
    with pytest.raises(AssertionError, match=r"lambda: never"):
        wait_until(lambda: never, timeout=0.02)


async def test_the_loop_goes_on_while_something_is_waited_for() -> None:
    looks: list[int] = []
    assert await wait_until_async(lambda: looks.append(1) or len(looks) > 2)  # type: ignore[func-returns-value]
    with pytest.raises(AssertionError, match="in vain for 3 looks"):
        await wait_until_async(lambda: False, lambda: f"{len(looks)} looks", timeout=0.02)


def test_a_call_that_may_hang_gives_its_result_or_its_error() -> None:
    assert wait_for_result(lambda: 7, "seven") == 7
    with pytest.raises(ZeroDivisionError):
        wait_for_result(lambda: 1 // 0, "nothing")


def test_what_never_ends_fails() -> None:
    with pytest.raises(TimeoutError), at_most(0.05):
        threading.Event().wait()


def test_no_test_sleeps_instead_of_waiting() -> None:
    sleeping = {
        path.relative_to(TESTS).as_posix()
        for path in FILES
        if "sleep" in path.read_text("utf-8")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
        and ast.unparse(node) != "asyncio.sleep(0)"  # lets others have a turn
    }
    assert sleeping == {*SLEEPERS}
