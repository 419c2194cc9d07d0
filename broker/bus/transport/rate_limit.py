"""Rate limit and back-off of the bus, shared by all that call it: pure arithmetic over a monotonic clock.

A jump of the wall clock neither holds the outbox back nor floods the bus. Kept in memory: after a restart the bus is
simply tried. Safe to use from any thread.

Three things can wait: the connection as a whole, one message that is itself to blame, and the poll for referrals.
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

FIRST_WAIT = 5.0  # seconds; doubled by every failure in a row
MIN_WAIT = 1.0
MAX_WAIT = 3600.0
PAUSE = 900.0  # seconds after which a refused token is tried again: its file is read again, and may have been replaced
BLAMED_AFTER = 3  # failures of one message after which it may be its own fault
POLLING_PART = 5  # one request in so many of a minute is left to polling, however much is to be sent
REFERRAL_REQUESTS = 10  # requests that one referral usually takes, with all that it refers to


def wait_after(failures: int, chance: float, asked: float) -> float:
    """Return the seconds to wait after `failures` in a row before this one; never less than the bus `asked` for.

    Jitter in the upper half under a ceiling that doubles: of a thousand clinics that wait so, about as many come back
    in every minute, where waits of any length would let twice the mean come in the first.
    """
    ceiling = min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(failures, 20))
    return max(MIN_WAIT, (0.5 + chance / 2) * ceiling, asked)


@dataclass(slots=True)
class _MessageFailures:
    """The failures in a row of one message."""

    answers: int  # that the bus had given to other messages when this one failed first
    failures: int = 0
    until: float = 0.0  # monotonic; the message alone waits


class RateLimiter:
    """Requests of the last minute, and the waits. `rate` is requests per minute; `chance` returns 0 to 1.

    `epoch` numbers the states of the connection: what began before the connection failed says nothing about it
    afterwards. Whoever has several messages under way passes the epoch in which each began to `answered` and `failed`.
    """

    def __init__(
        self,
        rate: int,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.monotonic = monotonic
        self.wait_shown = False  # people can see the present wait, and have not ended it
        self._rate = rate
        self._chance = chance
        self._lock = threading.RLock()
        self._requests: deque[float] = deque()  # of the last minute
        self._wait_until = 0.0  # the whole connection waits
        self._failures = 0  # of the connection, in a row
        self._epoch = 0
        self._answers = 0  # to messages, ever
        self._last_contact = -math.inf
        self._messages: dict[int, _MessageFailures] = {}
        self._poll_until = 0.0  # the poll alone waits
        self._poll_failures = 0  # in a row

    # ---- the requests of a minute ----

    @property
    def polling_share(self) -> int:
        """Return the requests of a minute that sending leaves to polling: at least those of one referral.

        Where a minute has few, each of the two has half of them.
        """
        return min(max(self._rate // POLLING_PART, REFERRAL_REQUESTS), self._rate // 2)

    def has_room(self, needed: int = 1, leaving: int = 0) -> bool:
        """Return True if so many requests may go out now; an empty minute has room for whatever belongs together."""
        with self._lock:
            while self._requests and self._requests[0] <= self.monotonic() - 60:
                self._requests.popleft()
            return not self._requests or len(self._requests) + needed <= self._rate - leaving

    def take(self, needed: int = 1, leaving: int = 0) -> bool:
        """Count so many requests if they may go out now; return True if they may."""
        with self._lock:
            room = self.has_room(needed, leaving)
            for _ in range(needed if room else 0):
                self.note_request()
            return room

    def note_request(self) -> None:
        """Count a request."""
        with self._lock:
            self._requests.append(self.monotonic())

    def give_back(self, unused: int) -> None:
        """Take so many requests off the count: they were taken and not needed."""
        with self._lock:
            for _ in range(min(unused, len(self._requests))):
                self._requests.pop()

    # ---- the waits ----

    @property
    def waiting(self) -> bool:
        """Return True while the connection as a whole waits."""
        with self._lock:
            return self.monotonic() < self._wait_until

    @property
    def poll_waiting(self) -> bool:
        """Return True while the poll waits, be it alone or with the connection."""
        with self._lock:
            return self.waiting or self.monotonic() < self._poll_until

    @property
    def epoch(self) -> int:
        """Return the number of the connection's present state."""
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
        """Return the rows that may be sent now, in the given order; what keeps failing goes last."""
        none = _MessageFailures(0)
        with self._lock:
            known = {row.seq: self._messages.get(row.seq, none) for row in rows}
            able = [row for row in rows if known[row.seq].until <= self.monotonic()]
            return sorted(able, key=lambda row: known[row.seq].failures >= BLAMED_AFTER)

    def answered(self, message: int, epoch: int | None = None) -> None:
        """Note that the bus has taken or refused a message: the connection is good, unless it has failed since."""
        with self._lock:
            self._answers += 1
            self._last_contact = self.monotonic()
            if epoch in (None, self._epoch):
                self._failures, self._wait_until = 0, 0.0
            self._messages.pop(message, None)

    def failed(self, message: int | None, why: Retry, epoch: int | None = None) -> tuple[float, bool]:
        """Make the connection wait, or the message alone; return the seconds, and True if it is the message alone.

        A message is to blame when it failed often while others were answered: a server error at what it holds must not
        keep them from the bus.
        """
        asked = _asked(why)
        with self._lock:
            if epoch not in (None, self._epoch) and self.waiting:  # one failure that several messages met
                self._wait_until = max(self._wait_until, self.monotonic() + asked)
                return self._wait_until - self.monotonic(), False
            alone = False
            failures = self._failures
            if message is not None and why.uncertain and why.after is None:
                own = self._messages.setdefault(message, _MessageFailures(self._answers))
                own.failures += 1
                alone = own.failures >= BLAMED_AFTER and self._answers > own.answers
                failures = own.failures - BLAMED_AFTER if alone else failures
            wait = wait_after(failures, self._chance(), asked)
            if message is not None and alone:
                self._messages[message].until = self.monotonic() + wait
            else:
                self._failures += 1
                self._connection_waits(wait)
            return wait, alone

    def poll_answered(self) -> None:
        """Note that the poll for referrals was answered."""
        with self._lock:
            self._last_contact = self.monotonic()
            self.reset_poll()

    def poll_failed(self, why: Retry) -> float:
        """Make the poll wait, and everybody where there is no connection or the bus asks for it; return the seconds.

        A bus whose searches fail may well take messages: its time-outs and server errors hold back the poll alone.
        """
        with self._lock:
            wait = wait_after(self._poll_failures, self._chance(), _asked(why))
            self._poll_failures += 1
            self._poll_until = self.monotonic() + wait
            self.wait_shown = False
            if not why.uncertain or why.after is not None:
                self._connection_waits(wait)
            return wait

    def pause(self, message: int | None = None) -> float:
        """Make the connection wait until somebody has seen to it, or a while has passed; return the seconds.

        The message at which it happened goes last from now on: if it alone is forbidden, the others get through.
        """
        with self._lock:
            if message is not None:
                self._messages[message] = _MessageFailures(self._answers, BLAMED_AFTER)
            self._connection_waits(PAUSE)
        return PAUSE

    def reset(self) -> None:
        """Forget all waits: a person wants it tried at once."""
        with self._lock:
            self._wait_until, self._failures = 0.0, 0
            self._messages.clear()
            self.reset_poll()

    def reset_poll(self) -> None:
        """Forget what the poll alone waits for."""
        with self._lock:
            self._poll_until, self._poll_failures = 0.0, 0

    def _connection_waits(self, seconds: float) -> None:
        self._epoch += 1
        self.wait_shown = False
        self._wait_until = max(self._wait_until, self.monotonic() + seconds)


def _asked(why: Retry) -> float:
    """Return the seconds that the bus asked everybody to wait, within reason."""
    return min(why.after or 0.0, MAX_WAIT)
