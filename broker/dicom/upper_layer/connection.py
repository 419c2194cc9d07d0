"""One connection: bytes in, the table's actions, bytes out.

Runs in the port's loop alone and never waits; what may wait is stepped through on the port's threads. Whatever a peer
sends or leaves out, it ends within its deadlines and holds no more than its limits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from broker.dicom.upper_layer import answering, message, pdu
from broker.dicom.upper_layer.answering import Later, Reply, Request
from broker.dicom.upper_layer.limits import AFTER_ABORT, AFTER_RELEASE, MOST_AT_ONCE, MOST_IGNORED, MOST_WAITING
from broker.dicom.upper_layer.message import Collector, Command, Message
from broker.dicom.upper_layer.negotiation import Context
from broker.dicom.upper_layer.pdu import HEADER, Invalid
from broker.dicom.upper_layer.table import Action, Event, State, next_step

if TYPE_CHECKING:
    from broker.dicom.upper_layer.port import Port

log = logging.getLogger(__name__)

NEVER = math.inf
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)  # PS3.8 9.3.4: transiently, by the service provider
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_BODIES = {Action.AE_6, Action.DT_2}  # actions that read what follows a PDU's header


class Connection(asyncio.Protocol):
    """A peer's connection, from its acceptance to its end."""

    def __init__(self, port: Port, accepted: float | None = None) -> None:
        self._port, self._loop = port, port.loop
        self._state = State.STA1
        self._accepted = accepted
        self._rest = bytearray()  # of a PDU that has not come whole
        self._collector = Collector(port.limits.max_message)
        self._ignored = 0  # bytes that came after the end
        self._held = 0  # bytes counted in port.collected
        self._contexts: dict[int, Context] = {}
        self._most = 0
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None  # that is being answered
        self._work: Iterator[Reply] | None = None  # … by steps on a thread
        self._chunks: Iterator[bytes] | None = None  # … or from memory
        self._stepping = self._cancelled = self._paused = self._stalled = False
        self._timer: asyncio.TimerHandle | None = None
        self._due_phase = self._due_part = self._due_idle = self._due_sending = self._due_answer = NEVER
        self.calling = self.address = ""

    # ---- asyncio ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: PS3.8 Evt5."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).removeprefix("::ffff:") if peer else ""
        self._socket = transport.get_extra_info("socket")
        self._event(Event.CONNECTED)
        if not self._port.admit(self):
            self._state = State.STA13
            self._transport.abort()
            return
        self._due_phase = (self._accepted or self._loop.time()) + self._port.limits.association
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: PS3.8 Evt17."""
        if self._state is not State.STA1:
            self._event(Event.CLOSED)
        self._waiting.clear()
        self._rest.clear()
        self._chunks = None
        self._hold(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop_work()
        self._port.forget(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; whatever it is, nothing is raised."""
        if self._state is State.STA13 or self._state is State.STA1:  # AA-6: what comes after the end is ignored
            self._ignored += len(data)
            if self._ignored > MOST_IGNORED and not self._stalled:  # and whoever sends on and on is not heard any more
                self._stall()
            return
        try:
            self._read(data)
        except Invalid as error:
            self._refuse(error)
        except Exception as error:  # a fault of ours must not leave a connection half alive
            log.error("a connection from %s failed: %s", self.address, type(error).__name__, exc_info=error)
            self._end(Event.ABORT_IT)

    def pause_writing(self) -> None:
        """Stop sending: the peer does not take it as fast."""
        self._paused = True
        self._due_sending = self._loop.time() + self._port.limits.sending
        self._watch()

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._due_sending = NEVER
        self._go_on()

    # ---- reading ----

    def _read(self, data: bytes) -> None:
        rest = self._rest
        if rest:
            rest += data
        at = self._take_pdus(rest or data)
        if rest:
            del rest[:at]
        elif at < len(data):
            rest += data[at:]
        if self._state in (State.STA1, State.STA13):
            return
        if (not rest and not self._collector.within) or len(self._waiting) >= MOST_WAITING:
            self._due_part = NEVER
        else:
            if self._due_part is NEVER:
                self._due_part = self._loop.time() + self._port.limits.message
            self._acknowledge()
        self._due_idle = self._loop.time() + self._port.limits.idle
        if not self._hold(len(rest) + self._collector.size):
            raise Invalid("too much unfinished")
        self._watch()

    def _take_pdus(self, data: bytes | bytearray) -> int:
        """Take the whole PDUs; give how many bytes they were."""
        at, end, count = 0, len(data), 0
        while end - at >= HEADER and not self._stalled and self._state in (State.STA2, State.STA6, State.STA8):
            if count == MOST_AT_ONCE:
                self._stall()
                self._loop.call_soon(self._unstall)
                break
            count += 1
            kind, length = pdu.header(data, at)
            event = pdu.EVENTS[kind]
            action, _ = next_step(self._state, event)
            after = at + HEADER + length
            if after > end and action in _BODIES:
                break
            if action in _BODIES:
                self._event(event, bytes(data[at + HEADER : after]), bytes(data[at:after]) if kind == 1 else b"")
            else:
                self._event(event)  # what follows is not read
            at = after
        return min(at, end)

    def _acknowledge(self) -> None:
        """Acknowledge at once: DCMTK sends the rest only then (Nagle), and the system would wait 40 ms."""
        if _QUICKACK is not None and self._socket is not None:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            except OSError:
                self._socket = None

    def _hold(self, size: int) -> bool:
        """Count what is kept of unfinished messages; say whether there is room."""
        port = self._port
        port.collected += size - self._held
        self._held = size
        return not size or port.collected <= port.limits.most_collected

    # ---- the table ----

    def _event(self, event: Event, body: bytes = b"", whole: bytes = b"") -> None:
        action, self._state = next_step(self._state, event)
        match action:
            case Action.DT_2:
                for context, control, fragment in pdu.values(body):
                    done = self._collector.add(context, control, fragment)
                    if done is not None:
                        self._message(done)
            case Action.AE_6:
                self._associate(whole)
            case Action.AR_2:
                self._release_asked()
            case Action.AR_4:
                self._transport.write(pdu.RELEASE_RP)
                self._close_within(AFTER_RELEASE)
            case Action.AA_1:
                self._abort(0)
            case Action.AA_8:
                self._abort(2, 2)  # unexpected PDU
            case Action.AA_2 | Action.AA_3:
                self._transport.abort()
            case _:  # what is sent is sent by whoever raises the event; connections end by themselves
                pass

    def _associate(self, request: bytes) -> None:
        try:
            outcome = self._port.negotiator.answer(request)
        except Invalid:
            self._state = State.STA2  # it was no request
            raise
        rejected = self._port.services.judge(outcome.calling, outcome.called, self.address)
        if rejected is None and not self._port.has_room(self):
            rejected = LOCAL_LIMIT_EXCEEDED
        if rejected is not None or outcome.reject:
            self._event(Event.REJECT)
            self._transport.write(pdu.reject(*rejected) if rejected else outcome.reject)
            self._close_within(AFTER_RELEASE)
            return
        self.calling, self._contexts, self._most = outcome.calling, outcome.contexts, outcome.most
        self._port.associated(self)
        self._event(Event.ACCEPT)
        self._due_phase = NEVER
        self._transport.write(outcome.accept)

    def _release_asked(self) -> None:
        if self._request is not None and self._request.command.field == message.C_FIND:
            self._cancelled = True  # nobody waits for it any more
            self._waiting.clear()
            self._chunks = None
            if self._work is None:
                self._request = None
            self._event(Event.ANSWER_RELEASE)
            return
        self._answer_release()

    def _answer_release(self) -> None:
        if self._state is State.STA8 and self._request is None and not self._waiting:
            self._event(Event.ANSWER_RELEASE)

    def _refuse(self, error: Invalid) -> None:
        """End what cannot be understood: PS3.8 Evt19."""
        self._port.complain(self, str(error))
        self._end(Event.INVALID, error.reason)

    def _end(self, event: Event, reason: int = 0) -> None:
        if self._state in (State.STA1, State.STA13):
            return
        action, self._state = next_step(self._state, event)
        if action is Action.AA_8:
            self._abort(2, reason)
        else:
            self._abort(0)

    def _abort(self, source: int, reason: int = 0) -> None:
        self._transport.write(pdu.abort(source, reason))
        self._close_within(AFTER_ABORT)

    def _close_within(self, seconds: float) -> None:
        self._rest.clear()
        self._collector = Collector(0)
        self._hold(0)
        self._due_part = self._due_idle = self._due_sending = self._due_answer = NEVER
        self._due_phase = self._loop.time() + seconds
        self._watch()
        self._drop_work()

    def shut_down(self) -> None:
        """End: at once, or as soon as the answer that is under way has gone out."""
        if self._request is None:
            self.abort()

    def abort(self) -> None:
        """Abort whatever is under way, and close."""
        if self._state in (State.STA3, State.STA6, State.STA8):
            self._transport.write(pdu.abort(0))
            self._state = State.STA13
            self._transport.close()
            self._due_phase = self._loop.time() + AFTER_ABORT
            self._watch()
        else:
            self._transport.abort()

    # ---- answering ----

    def _message(self, done: Message) -> None:
        self._due_part = NEVER  # what follows has its own time
        context = self._contexts.get(done.context)
        if context is None:
            raise Invalid("a message in a presentation context that was not accepted")
        if done.command.field == message.C_CANCEL:
            self._cancel(done.command)
            return
        self._waiting.append(Request(self.calling, self.address, context, done.command, done.dataset))
        if self._request is None:
            self._next()
        elif len(self._waiting) >= MOST_WAITING and not self._stalled:
            self._stall()

    def _next(self) -> None:
        """Answer what waits, until something takes its time."""
        while self._waiting and self._request is None and self._state in (State.STA6, State.STA8):
            request = self._waiting.popleft()
            ready = self._port.services.at_once(request)
            if ready is None:
                self._request, self._cancelled = request, False
                self._work = self._port.services.answer(request)
                self._step()
            elif isinstance(ready, Reply):
                self._transport.write(answering.wire(request, ready, self._most))
            else:
                self._request, self._cancelled = request, False
                if self._port.services.due(request):
                    self._port.threads.submit(self._port.services.sample, request)
                if isinstance(ready, Later):
                    self._expect()
                    self._port.await_reply(self, request, ready)
                else:
                    self._chunks = answering.listing(request, ready, self._most)
                    self._send_chunks()
        if self._request is None and self._state in (State.STA6, State.STA8):
            if self._port.stopping:
                self.abort()
            self._answer_release()
            self._due_idle = self._loop.time() + self._port.limits.idle
            if self._stalled and not self._waiting:
                self._loop.call_soon(self._unstall)

    def _stall(self) -> None:
        """Read no more for now."""
        self._stalled = True
        self._transport.pause_reading()

    def _unstall(self) -> None:
        """Read on, where nothing is in the way."""
        if self._stalled and self._state is State.STA6 and len(self._waiting) < MOST_WAITING:
            self._stalled = False
            self._transport.resume_reading()
            self.data_received(b"")

    def _cancel(self, command: Command) -> None:
        """End an answer (PS3.7 9.3.2.3); one that has ended, or waits for its turn, is not touched."""
        request = self._request
        if request is None or request.command.field != message.C_FIND or request.command.id != command.id:
            return
        self._cancelled = True
        if self._chunks is not None:
            self._chunks = None
            self._finish(answering.CANCELLED)

    def _go_on(self) -> None:
        if self._chunks is not None:
            self._send_chunks()
            self._next()
        elif self._work is not None and not self._stepping:
            self._step()

    def _send_chunks(self) -> None:
        while self._chunks is not None and not self._paused:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._chunks = self._request = None
            else:
                self._transport.write(chunk)

    def _finish(self, status: int) -> None:
        """Answer a last status in the place of what was to come."""
        request, self._request = self._request, None
        if request is not None and self._state in (State.STA6, State.STA8):
            self._transport.write(answering.wire(request, Reply(status), self._most))
        self._next()

    def replied(self, request: Request, reply: Reply) -> None:
        """Send the answer that was waited for, unless it is not wanted any more."""
        if self._request is request:
            self._request, self._due_answer = None, NEVER
            if self._state in (State.STA6, State.STA8):
                self._transport.write(answering.wire(request, reply, self._most))
            self._next()

    def _step(self) -> None:
        """Work out the next answers on a thread; `_stepped` sends them."""
        assert self._work is not None
        assert self._request is not None
        self._stepping = True
        self._expect()
        self._port.step(self, self._work, self._request, self._most)

    def stepped(self, data: bytes, done: bool) -> None:
        """Send what a thread has worked out, and go on."""
        self._stepping, self._due_answer = False, NEVER
        work, self._work = self._work, None if done else self._work
        alive = self._state in (State.STA6, State.STA8)
        if alive and data:
            self._transport.write(data)
        if not done and (self._cancelled or not alive):
            self._work = None
            if work is not None:
                self._port.close_work(work)
            self._finish(answering.CANCELLED)
        elif done:
            self._request = None
            self._next()
        elif not self._paused:
            self._step()

    def _drop_work(self) -> None:
        """Let go of an answer that nobody waits for; a step that runs is let go when it comes back."""
        self._cancelled = True
        if self._work is not None and not self._stepping:
            self._port.close_work(self._work)
            self._work = None
        if self._work is None:
            self._request = None

    # ---- deadlines ----

    def _expect(self) -> None:
        """Begin to wait for an answer that is worked out here."""
        self._due_answer = self._loop.time() + self._port.limits.answer
        self._watch()

    def _due(self) -> float:
        idle = self._due_idle if self._request is None and self._state is State.STA6 else NEVER
        return min(self._due_phase, self._due_part, self._due_sending, self._due_answer, idle)

    def _watch(self) -> None:
        """Be woken at the next deadline; a timer that is too early winds itself up again."""
        due = self._due()
        if self._timer is not None:
            if due >= self._timer.when():
                return
            self._timer.cancel()
            self._timer = None
        if due < NEVER:
            self._timer = self._loop.call_at(due, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now < self._due():
            # An answer that takes its time hides the idle deadline; look again before it could matter.
            self._watch()
            if self._timer is None and self._state is State.STA6:
                self._timer = self._loop.call_at(now + self._port.limits.idle, self._time_is_up)
            return
        if self._state in (State.STA2, State.STA13):
            self._event(Event.TIME_IS_UP)
        elif now >= self._due_sending:
            self._port.complain(self, "nothing is taken of what is sent")
            self._transport.abort()
        elif now >= self._due_answer:
            self._port.complain(self, "its answer was not worked out in time")
            self._end(Event.ABORT_IT)
        else:
            self._port.complain(self, "a message that does not end" if now >= self._due_part else "silent")
            self._end(Event.ABORT_IT)
