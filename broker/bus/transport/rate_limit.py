"""Rate limit and back-off of the bus, shared by all its callers, by a monotonic clock.

Setting the wall clock neither stops the outbox nor floods the bus. The state is in memory only: after a restart the bus
is tried at once. Safe to use from any thread.

Three things can wait: the connection as a whole, one message that fails by itself, and the poll for referrals.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.bus.transport.answers import Retry
from broker.domain.messages import OutboxRow

FIRST_WAIT = 5.0  # seconds; doubled by every consecutive failure
MIN_WAIT = 1.0
MAX_WAIT = 3600.0
PAUSE = 900.0  # seconds after which the token is read from its file and tried again
MESSAGE_FAULT_AFTER = 3  # consecutive failures of one message after which the message may be the cause
POLLING_DIVISOR = 5  # one of so many requests of a minute is reserved for polling
REFERRAL_REQUESTS = 10  # requests that one referral usually takes, with the resources that it refers to


def wait_after(failures: int, chance: float, requested_wait: float) -> float:
    """Return the seconds to wait after a failure that followed `failures` others; at least `requested_wait`.

    Random in the upper half below a ceiling that doubles (`chance`, 0 to 1), so that a thousand clinics do not return
    in the same minute.
    """
    ceiling = min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(failures, 20))
    return max(MIN_WAIT, (0.5 + chance / 2) * ceiling, requested_wait)


@dataclass(slots=True)
class _MessageFailures:
    """The consecutive failures of one message."""

    answers: int  # to other messages, when this one failed first
    failures: int = 0
    until: float = 0.0  # monotonic; only the message waits


class RateLimiter:
    """Counts the requests of the last minute, and keeps the waits.

    `rate` is requests per minute; `chance` returns a random number from 0 to 1. `epoch` is the number of connection
    failures: the result of an attempt that started before the last failure says nothing about the connection. A caller
    with several messages in progress passes the epoch at the start of each attempt to `answered` and `failed`.
    """

    def __init__(
        self,
        rate: int,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.monotonic = monotonic
        self.wait_shown = False  # the present wait is written to `bus_channel`, and no person has ended it
        self._rate = rate
        self._chance = chance
        self._lock = threading.RLock()
        self._requests: deque[float] = deque()  # of the last minute
        self._wait_until = 0.0  # the whole connection waits
        self._held_until = 0.0  # … because the bus has asked for it: not even a message that is begun goes on
        self._failures = 0  # of the connection, consecutive
        self._epoch = 0
        self._answers = 0  # to messages, since the start
        self._last_contact = -math.inf
        self._messages: dict[int, _MessageFailures] = {}
        self._poll_until = 0.0  # the poll alone waits
        self._poll_failures = 0  # consecutive

    # ---- the requests of a minute ----

    @property
    def polling_share(self) -> int:
        """Return the requests of a minute that are reserved for polling: at least those of one referral.

        With a low rate, sending and polling get half each.
        """
        return min(max(self._rate // POLLING_DIVISOR, REFERRAL_REQUESTS), self._rate // 2)

    def has_room(self, needed: int = 1, leaving: int = 0) -> bool:
        """Return True if `needed` requests may be made now and `leaving` remain; True if the last minute had none."""
        with self._lock:
            while self._requests and self._requests[0] <= self.monotonic() - 60:
                self._requests.popleft()
            return not self._requests or len(self._requests) + needed <= self._rate - leaving

    def take(self, needed: int = 1, leaving: int = 0) -> bool:
        """Count `needed` requests and return True if they may be made now; see `has_room`."""
        with self._lock:
            room = self.has_room(needed, leaving)
            for _ in range(needed if room else 0):
                self.note_request()
            return room

    def note_request(self) -> None:
        """Count a request."""
        with self._lock:
            self._requests.append(self.monotonic())

    def return_unused(self, unused: int) -> None:
        """Uncount requests that were counted by `take` and not made."""
        with self._lock:
            for _ in range(min(unused, len(self._requests))):
                self._requests.pop()

    # ---- the waits ----

    @property
    def waiting(self) -> bool:
        """Return True while the connection as a whole waits."""
        with self._lock:
            return self.monotonic() < max(self._wait_until, self._held_until)

    @property
    def held(self) -> bool:
        """Return True while the bus wants no request at all."""
        with self._lock:
            return self.monotonic() < self._held_until

    def hold(self, answer: Retry) -> None:
        """Make everybody wait at once, as the bus asks; the caller's `failed` may make the wait longer."""
        with self._lock:
            wait = max(MIN_WAIT, _requested_wait(answer))
            self._held_until = max(self._held_until, self.monotonic() + wait)
            self.wait_shown = False

    @property
    def poll_waiting(self) -> bool:
        """Return True while the poll for referrals waits, by itself or because the connection does."""
        with self._lock:
            return self.waiting or self.monotonic() < self._poll_until

    @property
    def epoch(self) -> int:
        """Return how often the connection has failed so far."""
        with self._lock:
            return self._epoch

    @property
    def seconds_since_contact(self) -> float:
        """Return the seconds since the bus answered last, infinite if it never did."""
        with self._lock:
            return self.monotonic() - self._last_contact

    def note_contact(self) -> None:
        """Note that the bus has answered something."""
        with self._lock:
            self._last_contact = self.monotonic()

    def due(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Return the rows that may be sent now, in the given order; messages that keep failing come last."""
        no_failures = _MessageFailures(0)
        with self._lock:
            known = {row.seq: self._messages.get(row.seq, no_failures) for row in rows}
            ready = [row for row in rows if known[row.seq].until <= self.monotonic()]
            return sorted(ready, key=lambda row: known[row.seq].failures >= MESSAGE_FAULT_AFTER)

    def answered(self, message: int, epoch: int | None = None) -> None:
        """Note that the bus accepted or refused a message: the connection works, unless it has failed since `epoch`."""
        with self._lock:
            self._answers += 1
            self._last_contact = self.monotonic()
            if epoch in (None, self._epoch):
                self._failures, self._wait_until = 0, 0.0
            self._messages.pop(message, None)

    def failed(self, message: int | None, answer: Retry, epoch: int | None = None) -> tuple[float, bool]:
        """Make the connection wait, or only the message; return the seconds, and True if only the message waits.

        Only the message waits if it has failed several times while others were answered: a server error caused by its
        content must not stop the others.
        """
        requested_wait = _requested_wait(answer)
        with self._lock:
            if epoch not in (None, self._epoch) and self.waiting:  # the same failure, met by another message
                self._wait_until = max(self._wait_until, self.monotonic() + requested_wait)
                return self._wait_until - self.monotonic(), False
            message_only = False
            failures = self._failures
            if message is not None and answer.uncertain and answer.after is None:
                own = self._messages.setdefault(message, _MessageFailures(self._answers))
                own.failures += 1
                message_only = own.failures >= MESSAGE_FAULT_AFTER and self._answers > own.answers
                failures = own.failures - MESSAGE_FAULT_AFTER if message_only else failures
            wait = wait_after(failures, self._chance(), requested_wait)
            if message is not None and message_only:
                self._messages[message].until = self.monotonic() + wait
            else:
                self._failures += 1
                self._connection_waits(wait)
            return wait, message_only

    def poll_answered(self) -> None:
        """Note that the poll for referrals was answered."""
        with self._lock:
            self._last_contact = self.monotonic()
            self.reset_poll()

    def poll_failed(self, answer: Retry) -> float:
        """Make the poll wait; return the seconds.

        The connection waits too if it could not be established or the bus asks for a wait. After time-outs and server
        errors only the poll waits: a bus whose searches fail may still accept messages.
        """
        with self._lock:
            wait = wait_after(self._poll_failures, self._chance(), _requested_wait(answer))
            self._poll_failures += 1
            self._poll_until = self.monotonic() + wait
            self.wait_shown = False
            if not answer.uncertain or answer.after is not None:
                self._connection_waits(wait)
            return wait

    def pause(self, message: int | None = None) -> float:
        """Make the connection wait until a person resumes the exchange, or PAUSE seconds have passed; return them.

        The message at which it happened is sent last from now on: the bus may forbid only this one.
        """
        with self._lock:
            if message is not None:
                self._messages[message] = _MessageFailures(self._answers, MESSAGE_FAULT_AFTER)
            self._connection_waits(PAUSE)
        return PAUSE

    def reset(self) -> None:
        """End all waits: a person has resumed the exchange."""
        with self._lock:
            self._wait_until, self._held_until, self._failures = 0.0, 0.0, 0
            self._messages.clear()
            self.reset_poll()

    def reset_poll(self) -> None:
        """End the wait of the poll."""
        with self._lock:
            self._poll_until, self._poll_failures = 0.0, 0

    def _connection_waits(self, seconds: float) -> None:
        self._epoch += 1
        self.wait_shown = False
        self._wait_until = max(self._wait_until, self.monotonic() + seconds)


def _requested_wait(answer: Retry) -> float:
    """Return the seconds that the bus asked to wait, at most MAX_WAIT."""
    return min(answer.after or 0.0, MAX_WAIT)
