"""The session that every call of the bus goes through: rate limit, back-off, state of the channel, and stopping.

A caller asks for requests (`admit`), makes calls (`request`), and reports the result (`succeeded`, `failed`). Waits and
the table `bus_channel` are managed here only, except that a person can end a wait (`workflow.outbox.resume_exchange`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.bus.transport.rate_limit import RateLimiter
from broker.store.database import Store, Tx
from broker.store.tables import bus_channel

log = logging.getLogger(__name__)

MIN_QUESTION_REQUESTS = 8  # of one question, even if the rate is lower
ROOM_CHECK_INTERVAL = 0.2  # seconds

STOPPING = "stopping"
WAITING = "waiting"
RATE = "rate"
OUT_OF_TIME = "no time left"
NO_ROOM = "no more requests for now"
NO_CONNECTION = "the connection to the bus is down"

Record = Callable[[Tx], object]  # writes a caller's result in the transaction that writes the channel


class SessionPriority(Enum):
    """How the requests of a minute are shared, and whose failures make others wait."""

    DELIVERY = auto()  # all requests except the share of polling
    POLLING = auto()  # polls for referrals: at least that share
    BACKGROUND = auto()  # look-ups: the rest; a failure makes others wait only if the bus asks for it


@dataclass(frozen=True, slots=True)
class NotSent(Retry):
    """No call was made: no time or no requests are left, the connection is down, or the program stops."""


class BusSession:
    """The calls of one caller.

    Each session has a `client` of its own, so that `stop` or a deadline aborts no other caller's calls. All sessions
    share the `limiter`: one rate and one back-off. Screens read the state of the connection from `bus_channel`; it is
    written once in a run, and whenever it changes.
    """

    def __init__(self, store: Store, client: BusClient, limiter: RateLimiter, priority: SessionPriority) -> None:
        self.url = client.url
        self.limiter = limiter
        self.stopping = threading.Event()
        self._store, self._client, self._priority = store, client, priority
        self._channel: tuple[str, str] | None = None  # state and reason as written last in this run
        self._admitted = threading.local()  # `left`: requests that were counted for this thread beforehand
        self._until: float | None = None  # monotonic: the deadline of a question
        self._question_requests: int | None = None  # that the question may still make

    # ---- permission to call ----

    def begin(self) -> None:
        """Begin a run. A wait ends here if the channel, which was noted as bad, has become `ok`:

        a person has resumed the exchange, or another session got an answer.
        """
        self._channel = None
        if self.limiter.poll_waiting and self.limiter.wait_shown:
            with self._store.read() as reader:
                if bus_channel.state(reader) != "ok":
                    return
            if self.limiter.waiting:
                self.limiter.reset()
            else:
                self.limiter.reset_poll()

    def blocked_reason(self) -> str:
        """Return why no call can be made now, STOPPING or WAITING; empty if one can."""
        if self.stopping.is_set():
            return STOPPING
        waiting = self.limiter.poll_waiting if self._priority is SessionPriority.POLLING else self.limiter.waiting
        return WAITING if waiting else ""

    def admit(self, requests: int = 1) -> str:
        """Reserve requests of this minute for this thread; return why that is impossible, empty if it is not.

        What the thread had reserved before and has not used is released.
        """
        self.release()
        if reason := self.blocked_reason():
            return reason
        share = self.limiter.polling_share
        if self._priority is SessionPriority.POLLING:
            requests, leaving = min(requests, max(1, share)), 0
        else:
            leaving = share
        if not self.limiter.take(requests, leaving):
            return RATE
        self._admitted.left = requests
        return ""

    def release(self) -> None:
        """Release the requests that this thread has reserved and not used."""
        self.limiter.return_unused(getattr(self._admitted, "left", 0))
        self._admitted.left = 0

    @contextmanager
    def question(self, seconds: float) -> Iterator[None]:
        """Limit all calls inside the `with` block to `seconds` in total, and to a part of the minute's requests."""
        self._until = self.limiter.monotonic() + seconds
        self._question_requests = max(MIN_QUESTION_REQUESTS, 2 * self.limiter.polling_share)
        end = threading.Timer(seconds, self._client.abort_calls)
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()
            end.join()
            self._until = self._question_requests = None

    def stop(self) -> None:
        """Refuse further calls and abort those in progress; may be called from any thread."""
        self.stopping.set()
        self._client.abort_calls()

    # ---- calls ----

    def request(self, call: Call) -> Answer:
        """Make one call and count it; return NotSent if it may not be made.

        A BACKGROUND session waits for its turn as long as its question has time. The other ones use the requests that
        they have reserved by `admit`; further requests for the same message or referral are counted, not refused.
        """
        if reason := self._refusal():
            return NotSent(reason, uncertain=False)
        answer = self._client.call(call)
        if isinstance(answer, Retry) and answer.asks_to_wait:
            self.limiter.hold(answer)  # before the caller has noted it: others are about to call
        if isinstance(answer, Delivered | Rejected):
            self.limiter.note_contact()
            self._compare_clocks()
        elif self._priority is SessionPriority.BACKGROUND:
            if isinstance(answer, Retry) and answer.asks_to_wait:
                self.failed(answer)
            if self._is_late():
                return NotSent(OUT_OF_TIME)
        return answer

    def _refusal(self) -> str:
        """Return why a call may not be made; otherwise count it and return an empty text."""
        if self._priority is SessionPriority.BACKGROUND:
            return self._wait_for_room()
        if self.stopping.is_set():
            return STOPPING
        if self.limiter.held:
            return WAITING
        left = getattr(self._admitted, "left", 0)
        if left:
            self._admitted.left = left - 1
        else:
            self.limiter.note_request()
        return ""

    def now(self) -> datetime:
        """Return the time by the bus's clock; by ours while the bus has not answered."""
        return self._client.clock.now() or self._store.clock()

    def _compare_clocks(self) -> None:
        clock = self._client.clock
        ahead = clock.ahead_of(self._store.clock())
        if not clock.has_changed(differs=bool(ahead)):
            return
        if ahead:
            log.error("the clock of this server differs from the bus's by %s: set it", abs(ahead))
        else:
            log.info("the clock of this server agrees with the bus's again")
        self._store.submit(lambda tx: tx.notify())  # screens show it

    def _wait_for_room(self) -> str:
        if self._question_requests is not None:
            if self._question_requests <= 0:
                return NO_ROOM
            self._question_requests -= 1
        while True:
            if self.stopping.is_set():
                return STOPPING
            if self.limiter.waiting:
                return NO_CONNECTION
            if self._is_late():
                return OUT_OF_TIME
            if self.limiter.take():
                return ""
            if self._until is None or self.stopping.wait(ROOM_CHECK_INTERVAL):
                return NO_ROOM

    def _is_late(self) -> bool:
        return self._until is not None and self.limiter.monotonic() >= self._until

    # ---- results of calls ----

    def succeeded(self, record: Record | None = None, *, message: int | None = None, epoch: int | None = None) -> None:
        """Note that the bus has answered, and run `record`, in one transaction.

        `message` is the `seq` of an outbox row that the bus accepted or refused; its attempt started in the limiter's
        `epoch`.
        """
        if message is not None:
            self.limiter.answered(message, epoch)
        elif self._priority is SessionPriority.POLLING:
            self.limiter.poll_answered()
        else:
            self.limiter.note_contact()

        def note(tx: Tx) -> None:
            if record:
                record(tx)
            if not self.limiter.waiting:  # another call may have failed meanwhile
                self._note_channel(tx, "ok")

        if record or self._channel != ("ok", ""):
            self._store.write(note)

    def failed(
        self,
        answer: Retry | Paused,
        record: Record | None = None,
        *,
        message: int | None = None,
        epoch: int | None = None,
    ) -> float:
        """Back off, note the state of the connection, and run `record`, in one transaction; return the wait in seconds.

        If the failures are due to one message, only that message waits. While the program stops, only `record` runs: an
        aborted call says nothing about the connection.
        """
        if self.stopping.is_set():
            if record:
                self._store.write(record)
            return 0.0
        state, message_only = "waiting", False
        if isinstance(answer, Paused):
            state, wait = "paused", self.limiter.pause(message)
            log.error("calls of the bus are paused: %s", answer.reason)
        elif self._priority is SessionPriority.POLLING:
            wait = self.limiter.poll_failed(answer)
        else:
            wait, message_only = self.limiter.failed(message, answer, epoch)

        def note(tx: Tx) -> None:
            if record:
                record(tx)
            if not message_only:
                self._note_channel(tx, state, answer.reason, wait)

        self._store.write(note)
        if not message_only:
            self.limiter.wait_shown = True
        return wait

    def _note_channel(self, tx: Tx, state: str, reason: str = "", wait: float = 0.0) -> None:
        """Write the state of the connection, unless this run has written the same one last."""
        if self._channel == (state, reason):
            return
        retry_at = tx.now + timedelta(seconds=wait) if state != "ok" else None
        changed = state != "ok" or bus_channel.state(tx) != "ok"
        bus_channel.set_state(tx, state, reason, retry_at, answered=state == "ok")
        self._channel = (state, reason)
        if changed:
            tx.notify()
