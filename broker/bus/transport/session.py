"""What every call of the bus goes through: the region's rate, back-off, the channel that people see, and stopping.

A caller asks whether it may (`admit`), makes calls (`request`), and says what came of it (`succeeded`, `failed`); it
decides nothing about waits and writes nothing about the connection. Here is the only writer of `bus_channel`, but for
the person who wants it tried at once (`workflow.outbox.go_on`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.bus.transport.rate_limit import RateLimiter
from broker.store.database import Store, Tx
from broker.store.tables import outbox

log = logging.getLogger(__name__)

MIN_QUESTION_REQUESTS = 8  # that one question may cost, however few a minute has
ROOM_EVERY = 0.2  # seconds between looks for room among the minute's requests

STOPPING = "stopping"
WAITING = "waiting"
RATE = "rate"
OUT_OF_TIME = "no time left"
NO_ROOM = "no more requests for now"
NO_CONNECTION = "the connection to the bus is down"

Record = Callable[[Tx], object]  # what a caller writes in the same transaction as the channel


class SessionPriority(Enum):
    """Who goes first when requests are few, and whose failures make others wait."""

    DELIVERY = auto()  # first, but for the share that is left to polling
    POLLING = auto()  # for referrals: at least that share
    BACKGROUND = auto()  # look-ups: what is left; a failure makes nobody wait, unless the bus asks for it


@dataclass(frozen=True, slots=True)
class NotAsked(Retry):
    """No call was made: there is no time, no room, the connection is known to be down, or the program stops."""


class BusSession:
    """One caller's way to the bus.

    The `client` is its own, so that `stop` or a deadline cuts off no other caller's calls; the `limiter` is shared by
    all sessions, so that together they keep the region's rate and one back-off. In `bus_channel` people see how the
    connection is: written once in a run, and whenever it changes.
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

    # ---- may it go on? ----

    def begin(self) -> None:
        """Begin a run: a wait is over if the channel that was noted to be bad is `ok` by now.

        A person has set it so who wants it tried at once, or a message has just proved that the bus answers.
        """
        self._channel = None
        if self.limiter.poll_waiting and self.limiter.wait_shown:
            with self._store.read() as reader:
                if outbox.channel_state(reader) != "ok":
                    return
            if self.limiter.waiting:
                self.limiter.reset()
            else:
                self.limiter.reset_poll()

    def hindrance(self) -> str:
        """Return why nothing can be asked now, `STOPPING` or `WAITING`; empty if it can."""
        if self.stopping.is_set():
            return STOPPING
        waiting = self.limiter.poll_waiting if self._priority is SessionPriority.POLLING else self.limiter.waiting
        return WAITING if waiting else ""

    def admit(self, requests: int = 1) -> str:
        """Count so many requests beforehand for this thread; return why that cannot be, empty if it can.

        What the thread was admitted before and has not used is given back.
        """
        self.release()
        if reason := self.hindrance():
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
        """Return back what this thread was admitted and has not used."""
        self.limiter.give_back(getattr(self._admitted, "left", 0))
        self._admitted.left = 0

    @contextmanager
    def question(self, seconds: float) -> Iterator[None]:
        """Bound all calls inside by a deadline, to the last byte, and by a part of the minute's requests."""
        self._until = self.limiter.monotonic() + seconds
        self._question_requests = max(MIN_QUESTION_REQUESTS, 2 * self.limiter.polling_share)
        end = threading.Timer(seconds, self._client.hang_up)
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()
            end.join()
            self._until = self._question_requests = None

    def stop(self) -> None:
        """Ask nothing any more, and cut off the calls under way; called from another thread."""
        self.stopping.set()
        self._client.hang_up()

    # ---- calls ----

    def request(self, call: Call) -> Answer:
        """Make one call and count it; return `NotAsked` if it may not be made.

        In the background it waits for room among the minute's requests as long as its question has time. Who delivers
        or polls was admitted beforehand, and what one message or referral needs beyond that is counted only.
        """
        if reason := self._refusal():
            return NotAsked(reason, uncertain=False)
        answer = self._client.call(call)
        if isinstance(answer, Delivered | Rejected):
            self.limiter.note_contact()
        elif self._priority is SessionPriority.BACKGROUND:
            if isinstance(answer, Retry) and answer.after is not None:  # the bus asks everybody here to wait
                self.failed(answer)
            if self._is_late():
                return NotAsked(OUT_OF_TIME)
        return answer

    def _refusal(self) -> str:
        """Return why a call may not be made; empty if it may, and then it is counted."""
        if self._priority is SessionPriority.BACKGROUND:
            return self._wait_for_room()
        if self.stopping.is_set():
            return STOPPING
        left = getattr(self._admitted, "left", 0)
        if left:
            self._admitted.left = left - 1
        else:
            self.limiter.note_request()
        return ""

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
            if self._until is None or self.stopping.wait(ROOM_EVERY):
                return NO_ROOM

    def _is_late(self) -> bool:
        return self._until is not None and self.limiter.monotonic() >= self._until

    # ---- what came of it ----

    def succeeded(self, record: Record | None = None, *, message: int | None = None, epoch: int | None = None) -> None:
        """Note that the bus has answered, and run `record`, in one transaction.

        `message` is the number of an outbox row that was taken or refused in that `epoch` of the limiter.
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
            if not self.limiter.waiting:  # another call may have found otherwise
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
        """Back off, note how the connection is, and run `record` in the same transaction; return the seconds of wait.

        If one message alone is to blame, only that one waits. A call that was cut off because the program stops says
        nothing about the connection.
        """
        if self.stopping.is_set():
            if record:
                self._store.write(record)
            return 0.0
        state, alone = "waiting", False
        if isinstance(answer, Paused):
            state, wait = "paused", self.limiter.pause(message)
            log.error("calls of the bus are paused: %s", answer.reason)
        elif self._priority is SessionPriority.POLLING:
            wait = self.limiter.poll_failed(answer)
        else:
            wait, alone = self.limiter.failed(message, answer, epoch)

        def note(tx: Tx) -> None:
            if record:
                record(tx)
            if not alone:
                self._note_channel(tx, state, answer.reason, wait)

        self._store.write(note)
        if not alone:
            self.limiter.wait_shown = True
        return wait

    def _note_channel(self, tx: Tx, state: str, reason: str = "", wait: float = 0.0) -> None:
        """Write how the connection is, unless this run has written just that."""
        if self._channel == (state, reason):
            return
        retry_at = tx.now + timedelta(seconds=wait) if state != "ok" else None
        changed = state != "ok" or outbox.channel_state(tx) != "ok"
        outbox.set_channel(tx, state, reason, retry_at, answered=state == "ok")
        self._channel = (state, reason)
        if changed:
            tx.notify()
