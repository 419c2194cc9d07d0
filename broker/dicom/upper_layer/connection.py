"""One connection: bytes in, the actions of the state table, bytes out.

Runs in the port's loop alone and never waits. Whatever a peer sends or leaves out, the connection ends within its
deadlines and holds no more than its limits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import cast

from broker.dicom.upper_layer.answering import Request
from broker.dicom.upper_layer.deadlines import NEVER, Deadlines
from broker.dicom.upper_layer.dimse.command_set import C_CANCEL
from broker.dicom.upper_layer.dimse.message import DimseMessage, MessageAssembler
from broker.dicom.upper_layer.host import Host
from broker.dicom.upper_layer.limits import AFTER_ABORT, AFTER_RELEASE, MOST_AT_ONCE, MOST_IGNORED
from broker.dicom.upper_layer.negotiation import AcceptedContext, Problem
from broker.dicom.upper_layer.pdu import reader, writer
from broker.dicom.upper_layer.pdu.types import ASSOCIATE_RQ, HEADER, InvalidPdu
from broker.dicom.upper_layer.responder import Responder
from broker.dicom.upper_layer.table import PDU_EVENTS, AssociationAction, AssociationEvent, AssociationState, next_step

log = logging.getLogger(__name__)

LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)  # PS3.8 9.3.4: transiently, by the service provider
UNEXPECTED_PDU = 2  # PS3.8 9.3.8: reason of an A-ABORT
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)

# Enum members are looked up for every PDU: as globals they cost a third of it.
_STA1, _STA2, _STA3, _STA6, _STA8, _STA13 = AssociationState
_READING = (_STA2, _STA6, _STA8)
_ENDED = (_STA1, _STA13)
_BODIES = {AssociationAction.AE_6, AssociationAction.DT_2}  # actions that read what follows a PDU's header


class Connection(asyncio.Protocol):
    """A peer's connection, from its acceptance to its end."""

    def __init__(self, host: Host, accepted_at: float | None = None) -> None:
        """Belong to a port; `accepted_at` is the loop's time of the TCP connection, where TLS came between."""
        self._host, self._loop = host, host.loop
        self._state = _STA1
        self._accepted_at = accepted_at
        self._rest = bytearray()  # of a PDU that has not come whole
        self._assembler = MessageAssembler(host.limits.max_message, host.limits.stored)
        self._ignored = 0  # bytes that came after the end
        self._held = 0  # bytes counted in host.collected
        self._contexts: Mapping[int, AcceptedContext] = {}
        self._paused = self._stalled = False
        self._deadlines = Deadlines(self, self._loop, host.limits.idle)
        self._responder = Responder(self, host, self._deadlines)
        self.calling = self._called = self.address = ""

    # ---- asyncio ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: PS3.8 Evt5."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).removeprefix("::ffff:") if peer else ""
        self._socket = transport.get_extra_info("socket")
        self._event(AssociationEvent.CONNECTED)
        if not self._host.admit(self):
            self._state = _STA13
            self._transport.abort()
            return
        self._deadlines.phase = (self._accepted_at or self._loop.time()) + self._host.limits.association
        self._deadlines.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: PS3.8 Evt17."""
        if self._state is not _STA1:
            self._event(AssociationEvent.CLOSED)
        self._drop_unfinished()
        self._deadlines.cancel()
        self._responder.clear()
        self._host.forget(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; whatever it is, nothing is raised."""
        if self._state in _ENDED:  # AA-6: what comes after the end is ignored
            self._ignored += len(data)
            if self._ignored > MOST_IGNORED:  # reading stops if the peer goes on sending
                self.stall()
            return
        try:
            self._read(data)
        except InvalidPdu as error:
            self._refuse(error)
        except Exception as error:  # a fault of ours must not leave a connection half alive
            log.error("connection from %s failed: %s", self.address, type(error).__name__, exc_info=error)
            self._end(AssociationEvent.ABORT_IT)

    def pause_writing(self) -> None:
        """Stop sending: the peer does not take it as fast."""
        self._paused = True
        self._deadlines.sending = self._loop.time() + self._host.limits.sending
        self._deadlines.watch()

    def resume_writing(self) -> None:
        """Send on."""
        self._paused = False
        self._deadlines.sending = NEVER
        self._responder.go_on()

    # ---- reading ----

    def _read(self, data: bytes) -> None:
        rest, deadlines = self._rest, self._deadlines
        if rest:
            rest += data
        at = self._take_pdus(rest or data)
        if rest:
            del rest[:at]
        elif at < len(data):
            rest += data[at:]
        if self._state in _ENDED:
            return
        if (not rest and not self._assembler.is_within_message) or self._responder.is_full:
            deadlines.message = NEVER
        else:
            if deadlines.message is NEVER:
                deadlines.message = self._loop.time() + self._host.limits.message
            self._acknowledge()
        deadlines.idle = self._loop.time() + self._host.limits.idle
        if not self._hold(len(rest) + self._assembler.size):
            raise InvalidPdu("too much unfinished")
        deadlines.watch()

    def _take_pdus(self, data: bytes | bytearray) -> int:
        """Take the PDUs that are there whole; return how many bytes they were."""
        at, end, count = 0, len(data), 0
        while end - at >= HEADER and not self._stalled and self._state in _READING:
            if count == MOST_AT_ONCE:
                self.stall()
                self._loop.call_soon(self._unstall)
                break
            count += 1
            kind, length = reader.header(data, at)
            event = PDU_EVENTS[kind]
            action, _ = next_step(self._state, event)
            after = at + HEADER + length
            if after > end and action in _BODIES:
                break
            if action in _BODIES:
                whole = bytes(data[at:after]) if kind == ASSOCIATE_RQ else b""
                self._event(event, bytes(data[at + HEADER : after]), whole)
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
        """Count what is kept of unfinished messages; return False if that is too much for all of them together."""
        host = self._host
        host.collected += size - self._held
        self._held = size
        return not size or host.collected <= host.limits.most_collected

    def stall(self) -> None:
        """Read no more for now."""
        if not self._stalled:
            self._stalled = True
            self._transport.pause_reading()

    def _unstall(self) -> None:
        """Read on, where nothing is in the way."""
        if self._stalled and self._state is _STA6 and not self._responder.is_full:
            self._stalled = False
            self._transport.resume_reading()
            self.data_received(b"")

    # ---- the table ----

    def _event(self, event: AssociationEvent, body: bytes = b"", whole: bytes = b"") -> None:
        action, self._state = next_step(self._state, event)
        match action:
            case AssociationAction.DT_2:
                for context_id, control, fragment in reader.values(body):
                    message = self._assembler.add(context_id, control, fragment)
                    if message is not None:
                        self._take(message)
            case AssociationAction.AE_6:
                self._associate(whole)
            case AssociationAction.AR_2:
                if self._responder.drop_list():
                    self._event(AssociationEvent.ANSWER_RELEASE)
                else:
                    self._answer_release()
            case AssociationAction.AR_4:
                self._transport.write(writer.RELEASE_RP_PDU)
                self._close_within(AFTER_RELEASE)
            case AssociationAction.AA_1:
                self._send_abort(0)
            case AssociationAction.AA_8:
                self._send_abort(2, UNEXPECTED_PDU)
            case AssociationAction.AA_2 | AssociationAction.AA_3:
                self._transport.abort()
            case _:  # the caller sends the PDU; connections end by themselves
                pass

    def _associate(self, request: bytes) -> None:
        try:
            result = self._host.negotiator.answer(request)
        except InvalidPdu:
            self._state = _STA2  # it was not a request
            self._turned_away(*reader.titles(request), Problem.UNREADABLE)
            raise
        rejection = None
        if result.accepted:
            rejection = self._host.services.rejection(result.calling, result.called, self.address)
        if rejection is None and result.accepted and not self._host.has_room(self):
            rejection = LOCAL_LIMIT_EXCEEDED
            self._turned_away(result.calling, result.called, Problem.FULL)
        if rejection is None and result.problem is not None:
            self._turned_away(result.calling, result.called, result.problem, result.details)
        if rejection is not None or not result.accepted:
            self._event(AssociationEvent.REJECT)
            self._transport.write(result.reply if rejection is None else writer.reject(*rejection))
            self._close_within(AFTER_RELEASE)
            return
        self.calling, self._called, self._contexts = result.calling, result.called, result.contexts
        self._responder.max_length = result.max_length
        self._host.associated(self)
        self._event(AssociationEvent.ACCEPT)
        self._deadlines.phase = NEVER
        self._transport.write(result.reply)

    def _turned_away(self, calling: str, called: str, problem: Problem, details: tuple[str, ...] = ()) -> None:
        self._host.services.turned_away(calling, called, self.address, problem, details)

    def _take(self, message: DimseMessage) -> None:
        self._deadlines.message = NEVER  # what follows has its own time
        context = self._contexts.get(message.context_id)
        if context is None:
            raise InvalidPdu("a message in a presentation context that was not accepted")
        if message.command.field == C_CANCEL:
            self._responder.cancel(message.command)
            return
        self._responder.take(
            Request(
                self.calling,
                self.address,
                context,
                message.command,
                message.dataset,
                self._called,
                message.too_long,
            )
        )

    def _answer_release(self) -> None:
        if self._state is _STA8 and not self._responder.is_busy and not self._responder.has_waiting:
            self._event(AssociationEvent.ANSWER_RELEASE)

    def _refuse(self, error: InvalidPdu) -> None:
        """End what cannot be understood: PS3.8 Evt19."""
        self._host.refused(str(error), self.address, self.calling)
        self._end(AssociationEvent.INVALID, error.reason)

    def _end(self, event: AssociationEvent, reason: int = 0) -> None:
        if self._state in _ENDED:
            return
        action, self._state = next_step(self._state, event)
        if action is AssociationAction.AA_8:
            self._send_abort(2, reason)
        else:
            self._send_abort(0)

    def _send_abort(self, source: int, reason: int = 0) -> None:
        self._transport.write(writer.abort(source, reason))
        self._close_within(AFTER_ABORT)

    def _drop_unfinished(self) -> None:
        """Let go of unfinished messages now: the collector looks seldom, and the connection is part of a circle."""
        self._rest.clear()
        self._assembler = MessageAssembler(0)
        self._hold(0)

    def _close_within(self, seconds: float) -> None:
        self._drop_unfinished()
        self._deadlines.close_within(seconds)
        self._responder.close()

    # ---- called by the port ----

    def shut_down(self) -> None:
        """End: at once, or as soon as the answer that is under way has gone out."""
        if not self._responder.is_busy:
            self.abort()

    def abort(self) -> None:
        """Abort whatever is under way, and close."""
        if self._state in (_STA3, _STA6, _STA8):
            self._transport.write(writer.abort(0))
            self._state = _STA13
            self._transport.close()
            self._deadlines.phase = self._loop.time() + AFTER_ABORT
            self._deadlines.watch()
        else:
            self._transport.abort()

    # ---- called by the responder ----

    def can_send(self) -> bool:
        """Return True while there is an association, a release asked for or not."""
        return self._state is _STA6 or self._state is _STA8

    def is_paused(self) -> bool:
        """Return True while the peer does not take what was sent."""
        return self._paused

    def send(self, data: bytes) -> None:
        """Send PDUs."""
        self._transport.write(data)

    def answered(self) -> None:
        """Go on: nothing is being answered, and nothing waits."""
        if self._host.stopping:
            self.abort()
        self._answer_release()
        self._deadlines.idle = self._loop.time() + self._host.limits.idle
        if self._stalled and not self._responder.has_waiting:
            self._loop.call_soon(self._unstall)

    # ---- called by the deadlines ----

    def is_established(self) -> bool:
        """Return True while there is an association and no release was asked for."""
        return self._state is _STA6

    def is_idle(self) -> bool:
        """Return True if it is established and nothing is being answered."""
        return self._state is _STA6 and not self._responder.is_busy

    def time_is_up(self, now: float) -> None:
        """End what has passed its deadline; `now` is the loop's time."""
        if self._state in (_STA2, _STA13):
            self._event(AssociationEvent.TIME_IS_UP)
        elif now >= self._deadlines.sending:
            self._host.refused("nothing is taken of what is sent", self.address, self.calling)
            self._transport.abort()
        elif now >= self._deadlines.answer:
            self._host.refused("its answer was not worked out in time", self.address, self.calling)
            self._end(AssociationEvent.ABORT_IT)
        else:
            self._host.refused(
                "a message that does not end" if now >= self._deadlines.message else "silent",
                self.address,
                self.calling,
            )
            self._end(AssociationEvent.ABORT_IT)
