"""What the connections of a port share: its services and limits, who is let in, and threads that work answers out.

Called in the port's loop alone, but for what it says itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from broker.dicom.upper_layer import answering
from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request, ServiceProvider
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator

log = logging.getLogger(__name__)

THREADS = 16
STEP = 0.01  # seconds after which responses that were worked out are sent
MOST_A_STEP = 100  # … or so many of them


class LogThrottle(Protocol):
    """What bounds how many lines peers that break the rules may write into the log."""

    def allow(self, key: Hashable) -> bool:
        """Return True if a line may be written for this key now, and count it."""

    def suppressed(self) -> int:
        """Return how many lines were not allowed, for want of room, since this was asked last."""


class Peer(Protocol):
    """A connection as it is counted."""

    calling: str  # empty before there is an association
    address: str

    def shut_down(self) -> None:
        """End: at once, or as soon as the answer that is under way has gone out."""

    def abort(self) -> None:
        """Abort whatever is under way, and close."""


TakeReply = Callable[[Request, Reply], None]  # takes the reply that was deferred
TakeStep = Callable[[bytes, bool], None]  # takes the PDUs of some responses, and whether they were the last


class Host:
    """One for all connections of a port."""

    def __init__(
        self, services: ServiceProvider, negotiator: Negotiator, limits: Limits, log_throttle: LogThrottle
    ) -> None:
        self.services, self.negotiator, self.limits = services, negotiator, limits
        self._log_throttle = log_throttle
        self.collected = 0  # bytes of unfinished messages
        self.stopping = False
        self.counts: Counter[str] = Counter()  # of what was refused, and why
        self.connections: dict[Peer, None] = {}  # those without an association included
        self.associations: dict[Peer, None] = {}
        self._asking: dict[Peer, None] = {}  # those that have no association yet, the oldest first
        self._connected_from: Counter[str] = Counter()
        self._associated_from: Counter[str] = Counter()
        self._to_begin: list[tuple[Request, DeferredReply, TakeReply]] = []

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let connections come, all of them in this loop."""
        self.loop, self.threads, self.stopping = loop, ThreadPoolExecutor(THREADS, "dicom"), False

    # ---- who is let in ----

    def admit(self, connection: Peer) -> bool:
        """Count a connection; return False if it exceeds the limits."""
        if self.stopping or self.is_crowded(connection.address):
            self.refused("too many connections from one address", connection.address)
            return False
        if len(self.connections) >= self.limits.connections:
            oldest = next(iter(self._asking), None)
            if oldest is None:
                self.refused("too many connections", connection.address)
                return False
            # The oldest connection without an association is closed for a permitted one.
            self.refused("silent when there was no room", oldest.address)
            oldest.abort()
            self.forget(oldest)
        self.connections[connection] = None
        self._asking[connection] = None
        self.count_address(connection.address)
        return True

    def is_crowded(self, address: str) -> bool:
        """Return True if an address has its maximum of connections."""
        return self._connected_from[address] >= 2 * self.limits.per_address

    def count_address(self, address: str) -> None:
        """Count a connection from an address, be it one whose TLS handshake has not ended."""
        self._connected_from[address] += 1

    def uncount_address(self, address: str) -> None:
        """Count it no more."""
        _count_down(self._connected_from, address)

    def has_room(self, connection: Peer) -> bool:
        """Return True if there is room for one association more."""
        full = len(self.associations) >= self.limits.associations
        crowded = self._associated_from[connection.address] >= self.limits.per_address
        if full or crowded:
            self.refused("too many associations", connection.address)
        return not (full or crowded)

    def associated(self, connection: Peer) -> None:
        """Count an association."""
        self._asking.pop(connection, None)
        self.associations[connection] = None
        self._associated_from[connection.address] += 1

    def forget(self, connection: Peer) -> None:
        """Count a connection no more; twice does no harm."""
        self._asking.pop(connection, None)
        for counted, counter in (
            (self.connections, self._connected_from),
            (self.associations, self._associated_from),
        ):
            if connection in counted:
                del counted[connection]
                _count_down(counter, connection.address)

    def refused(self, words: str, address: str, calling: str = "") -> None:
        """Log, and count, what a peer does wrong, or why it is not let in; lines are throttled, the rest is counted."""
        kind = words.split(":")[0]
        self.counts[kind if len(self.counts) < 100 else "others"] += 1
        if self._log_throttle.allow((address, kind)):
            suppressed = self._log_throttle.suppressed()
            more = f" (and {suppressed} others)" if suppressed else ""
            log.warning("connection from %s %sclosed: %s%s", address, f"({calling}) " if calling else "", words, more)

    # ---- answers that take their time ----

    def await_reply(self, request: Request, deferred: DeferredReply, take: TakeReply) -> None:
        """Pass a deferred reply to `take`, once it is there; no thread waits for it meanwhile.

        All requests of one turn of the loop are started together, and so share a commit.
        """
        if not self._to_begin:
            self.loop.call_soon(self._begin)
        self._to_begin.append((request, deferred, take))

    def _begin(self) -> None:
        together, self._to_begin = self._to_begin, []
        for request, deferred, take in together:
            try:
                deferred.begin().add_done_callback(partial(self._done, request, deferred, take))
            except Exception as error:  # whatever is broken here, the device gets an answer, and so do the others
                take(request, _failed(request, error))

    def _done(self, request: Request, deferred: DeferredReply, take: TakeReply, done: Future[Any]) -> None:
        """Notice, on whatever thread, that a deferred reply is there."""

        def answer() -> None:
            try:
                reply = deferred.reply(done)
            except Exception as error:  # whatever is broken here, the device gets an answer
                reply = _failed(request, error)
            take(request, reply)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and nothing waits for it
            self.loop.call_soon_threadsafe(answer)

    def step(self, request: Request, work: Iterator[Reply], max_length: int, take: TakeStep) -> None:
        """Work out some more responses on a thread, and pass them to `take`."""

        def run() -> None:
            data, done = _some_of(work, request, max_length)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nothing waits for it
                self.loop.call_soon_threadsafe(take, data, done)

        self.threads.submit(run)

    def close_work(self, work: Iterator[Reply]) -> None:
        """End an abandoned answer on a thread: it may have notes to write."""
        close: Callable[[], None] | None = getattr(work, "close", None)
        if close is not None:
            self.threads.submit(close)


def _count_down(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if not counter[address]:
        del counter[address]


def _some_of(work: Iterator[Reply], request: Request, max_length: int) -> tuple[bytes, bool]:
    """Work out responses for a moment; return their PDUs, and whether they were the last."""
    written: list[bytes] = []
    end = 0.0  # counted from the first answer on: it is then that others begin to wait
    try:
        for answer, more in answering.wires(request, work, max_length):
            written.append(answer)
            end = end or time.monotonic() + STEP
            # After the last one it is let run to its end, lest a C-CANCEL that comes now be answered, too.
            if more and (len(written) >= MOST_A_STEP or time.monotonic() > end):
                return b"".join(written), False
    except Exception as error:  # whatever is broken here, the device gets an answer
        written.append(answering.wire(request, _failed(request, error), max_length))
    return b"".join(written), True


def _failed(request: Request, error: Exception) -> Reply:
    log.error("request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
    return Reply(answering.failure(request.command))
