"""What a connection and its answers need of the port that they belong to, and the port of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol

from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request, ServiceProvider
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator


class Peer(Protocol):
    """A connection as the port counts it."""

    calling: str  # empty before there is an association
    address: str

    def shut_down(self) -> None:
        """End: at once, or as soon as the answer that is under way has gone out."""

    def abort(self) -> None:
        """Abort whatever is under way, and close."""


class Waiting(Protocol):
    """Whoever waits for answers that are worked out elsewhere; called in the port's loop."""

    def replied(self, request: Request, reply: Reply) -> None:
        """Take the reply that was deferred."""

    def stepped(self, data: bytes, done: bool) -> None:
        """Take the PDUs of some responses, and whether they were the last."""


class WorkerThreads(Protocol):
    """Threads that may wait."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function on one of them."""


class Host(Protocol):
    """What all connections of a port share; called in its loop."""

    loop: asyncio.AbstractEventLoop
    threads: WorkerThreads
    collected: int  # bytes of unfinished messages
    stopping: bool

    @property
    def limits(self) -> Limits:
        """What a peer may cost."""

    @property
    def services(self) -> ServiceProvider:
        """What answers requests."""

    @property
    def negotiator(self) -> Negotiator:
        """What answers association requests."""

    def admit(self, connection: Peer) -> bool:
        """Count a connection; return False if there is no room for it."""

    def has_room(self, connection: Peer) -> bool:
        """Return True if there is room for one association more."""

    def associated(self, connection: Peer) -> None:
        """Count an association."""

    def forget(self, connection: Peer) -> None:
        """Count a connection no more; twice does no harm."""

    def complain(self, connection: Peer, words: str) -> None:
        """Log, and count, what a peer does wrong."""

    def await_reply(self, waiting: Waiting, request: Request, deferred: DeferredReply) -> None:
        """Hand a deferred reply to whoever waits, once it is there."""

    def step(self, waiting: Waiting, work: Iterator[Reply], request: Request, max_length: int) -> None:
        """Work out some more responses on a thread, and hand them to whoever waits."""

    def close_work(self, work: Iterator[Reply]) -> None:
        """End an answer that nobody waits for."""
