"""Run the program so that it dies, as by a power cut, at a named place: `python -m tests.support.dying PLACE run …`.

The product has no such switch: this module replaces the method at that place before the program starts.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import NoReturn

from pydicom.dataset import Dataset

from broker.bus.transport.answers import Answer, Delivered
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.dicom.mpps.service import PendingMessage
from broker.workflow.studies.performed_steps import ChangeResult

COMMITTED_NOT_ANSWERED = "committed-not-answered"  # the store has an MPPS message, the device has no answer yet
POSTED_NOT_DELIVERED = "posted-not-delivered"  # the bus has a message, the outbox does not know it yet


def after_post(die: Callable[[], NoReturn]) -> Callable[[BusClient, Call], Answer]:
    """Return a replacement of `BusClient.call` that dies once the bus has taken what was sent to it."""
    send = BusClient.call

    def call(client: BusClient, call: Call) -> Answer:
        answer = send(client, call)
        reads = call.method == "GET" or "/_search" in call.path
        if isinstance(answer, Delivered) and not reads:
            die()
        return answer

    return call


def _after_commit(pending: PendingMessage, committed: Future[ChangeResult]) -> Dataset:
    committed.result()
    _kill()


def _kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


if __name__ == "__main__":
    place = sys.argv.pop(1)
    if place == COMMITTED_NOT_ANSWERED:
        PendingMessage.status = _after_commit  # type: ignore[assignment,method-assign]
    elif place == POSTED_NOT_DELIVERED:
        BusClient.call = after_post(_kill)  # type: ignore[assignment,method-assign]
    else:
        raise SystemExit(f"no such place: {place}")
    runpy.run_module("broker", run_name="__main__", alter_sys=True)
