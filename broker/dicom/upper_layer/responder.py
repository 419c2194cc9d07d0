"""The requests of one association and their answers: one at a time, in their order.

Runs in the port's loop alone and never waits; what may wait is stepped through on the port's threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from broker.dicom.upper_layer import answering
from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request
from broker.dicom.upper_layer.deadlines import NEVER, Deadlines
from broker.dicom.upper_layer.dimse.command_set import C_FIND, CommandSet
from broker.dicom.upper_layer.host import Host
from broker.dicom.upper_layer.limits import MOST_WAITING


class Channel(Protocol):
    """The connection that answers are sent on."""

    def can_send(self) -> bool:
        """Return True while there is an association, a release asked for or not."""

    def is_paused(self) -> bool:
        """Return True while the peer does not take what was sent."""

    def send(self, data: bytes) -> None:
        """Send PDUs."""

    def stall(self) -> None:
        """Read no more for now."""

    def answered(self) -> None:
        """Go on: nothing is being answered, and nothing waits."""


class Responder:
    """Answers the requests of one association."""

    def __init__(self, channel: Channel, host: Host, deadlines: Deadlines) -> None:
        self._channel, self._host, self._deadlines = channel, host, deadlines
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None  # that is being answered
        self._work: Iterator[Reply] | None = None  # … by steps on a thread
        self._chunks: Iterator[bytes] | None = None  # … or from memory
        self._stepping = self._cancelled = False
        self.max_length = 0  # bytes of a PDU that the peer receives; 0: any number

    @property
    def is_busy(self) -> bool:
        """True while a request is being answered."""
        return self._request is not None

    @property
    def has_waiting(self) -> bool:
        """True while requests wait for their turn."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """True while as many requests wait as may."""
        return len(self._waiting) >= MOST_WAITING

    @property
    def has_work(self) -> bool:
        """True while an answer is worked out by steps."""
        return self._work is not None

    def take(self, request: Request) -> None:
        """Answer a request, or let it wait for its turn."""
        self._waiting.append(request)
        if self._request is None:
            self._next()
        elif self.is_full:
            self._channel.stall()

    def cancel(self, command: CommandSet) -> None:
        """End an answer (PS3.7 9.3.2.3); one that has ended, or waits for its turn, is not touched."""
        request = self._request
        if request is None or request.command.field != C_FIND or request.command.message_id != command.message_id:
            return
        self._cancelled = True
        if self._chunks is not None:
            self._chunks = None
            self._finish(answering.CANCELLED)

    def drop_list(self) -> bool:
        """End a C-FIND whose device asks for a release, and what waits; return False if there is none.

        The result of a running step is dropped.
        """
        if self._request is None or self._request.command.field != C_FIND:
            return False
        self._cancelled = True
        self._waiting.clear()
        self._chunks = None
        if self._work is None:
            self._request = None
        return True

    def go_on(self) -> None:
        """Send on: the peer takes it again."""
        if self._chunks is not None:
            self._send_chunks()
            self._next()
        elif self._work is not None and not self._stepping:
            self._step()

    def close(self) -> None:
        """Abandon an answer; the result of a running step is dropped."""
        self._cancelled = True
        if self._work is not None and not self._stepping:
            self._host.close_work(self._work)
            self._work = None
        if self._work is None:
            self._request = None

    def clear(self) -> None:
        """Let go of everything: the connection is gone."""
        self._waiting.clear()
        self._chunks = None
        self.close()

    # ---- called by the host ----

    def _replied(self, request: Request, reply: Reply) -> None:
        """Send the reply that was deferred, unless it is not wanted any more."""
        if self._request is request:
            self._request, self._deadlines.answer = None, NEVER
            if self._channel.can_send():
                self._channel.send(answering.wire(request, reply, self.max_length))
            self._next()

    def _stepped(self, data: bytes, done: bool) -> None:
        """Send what a thread has worked out, and go on."""
        self._stepping, self._deadlines.answer = False, NEVER
        work, self._work = self._work, None if done else self._work
        alive = self._channel.can_send()
        if alive and data:
            self._channel.send(data)
        if not done and (self._cancelled or not alive):
            self._work = None
            if work is not None:
                self._host.close_work(work)
            self._finish(answering.CANCELLED)
        elif done:
            self._request = None
            self._next()
        elif not self._channel.is_paused():
            self._step()

    # ---- one after the other ----

    def _next(self) -> None:
        """Answer what waits, until something takes its time."""
        services = self._host.services
        while self._waiting and self._request is None and self._channel.can_send():
            request = self._waiting.popleft()
            ready = services.at_once(request)
            if ready is None:
                self._request, self._cancelled = request, False
                self._work = services.answer(request)
                self._step()
            elif isinstance(ready, Reply):
                self._channel.send(answering.wire(request, ready, self.max_length))
            else:
                self._request, self._cancelled = request, False
                if services.wants_sample(request):
                    self._host.threads.submit(services.sample, request)
                if isinstance(ready, DeferredReply):
                    self._expect()
                    self._host.await_reply(request, ready, self._replied)
                else:
                    self._chunks = answering.list_wires(request, ready, self.max_length)
                    self._send_chunks()
        if self._request is None and self._channel.can_send():
            self._channel.answered()

    def _send_chunks(self) -> None:
        while self._chunks is not None and not self._channel.is_paused():
            chunk = next(self._chunks, None)
            if chunk is None:
                self._chunks = self._request = None
            else:
                self._channel.send(chunk)

    def _finish(self, status: int) -> None:
        """Send a last status in the place of what was to come."""
        request, self._request = self._request, None
        if request is not None and self._channel.can_send():
            self._channel.send(answering.wire(request, Reply(status), self.max_length))
        self._next()

    def _step(self) -> None:
        """Work out the next responses on a thread; `_stepped` sends them."""
        assert self._work is not None
        assert self._request is not None
        self._stepping = True
        self._expect()
        self._host.step(self._request, self._work, self.max_length, self._stepped)

    def _expect(self) -> None:
        """Begin to wait for an answer that is worked out here."""
        self._deadlines.answer = self._host.loop.time() + self._host.limits.answer
        self._deadlines.watch()
