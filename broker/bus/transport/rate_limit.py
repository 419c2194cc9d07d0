"""When may the exchange send: the requests of a minute, the waits of a bad line, the waits of one bad message.

Pure arithmetic over a monotonic clock, so that a jump of the wall clock neither holds the queue nor floods the bus.
Kept in memory: after a restart the line is simply tried. One Pace is shared by all that call the bus, from any thread.
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
SHORTEST_WAIT = 1.0
LONGEST_WAIT = 3600.0
PAUSE = 900.0  # seconds after which a refused token is tried again: it is read anew, and may have been replaced
PATIENCE = 3  # failures of one message after which it may be its own fault
LEFT_TO_FETCHING = 5  # every so many requests of a minute one is left to what is fetched, however much is to be sent
ITEM_REQUESTS = 10  # that one referral usually takes, with all that it refers to


def wait_after(failures: int, chance: float, asked: float) -> float:
    """Give the seconds to wait after so many failures before this one; never shorter than the bus `asked`.

    Jitter in the upper half under a ceiling that doubles: of a thousand clinics that wait so, about as many come back
    in every minute, where waits of any length would let twice the mean come in the first.
    """
    ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 20))
    return max(SHORTEST_WAIT, (0.5 + chance / 2) * ceiling, asked)


@dataclass(slots=True)
class _Trouble:
    answers: int  # that the bus had given to others when this message failed first
    failures: int = 0
    until: float = 0.0  # the message alone waits


class RateLimiter:
    """The waits. `rate` is requests per minute; `monotonic` gives seconds, `chance` a number from 0 to 1.

    `mark` names a moment: what began before the line failed says nothing of the line after it. Whoever has several
    messages under way gives the mark of each one's beginning to `answered` and `failed`.
    """

    def __init__(
        self,
        rate: int,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._chance = chance
        self._lock = threading.RLock()
        self._requests: deque[float] = deque()  # of the last minute
        self._wait_until = 0.0  # the whole line waits
        self._failures = 0  # of the line, in a row
        self._mark = 0  # counts the failures of the line for ever
        self._answers = 0  # that concerned a message, all in all
        self._last_contact_at = -math.inf
        self._troubles: dict[int, _Trouble] = {}

    @property
    def waiting(self) -> bool:
        """Say whether the line waits."""
        with self._lock:
            return self._monotonic() < self._wait_until

    @property
    def mark(self) -> int:
        """Name this moment."""
        with self._lock:
            return self._mark

    @property
    def silence(self) -> float:
        """Give the seconds since the bus answered last, infinite where it never did."""
        with self._lock:
            return self._monotonic() - self._last_contact_at

    @property
    def share(self) -> int:
        """Give the requests of a minute that what is sent leaves to what is fetched: at least those of one referral.

        Where a minute has few, each of the two has half of them.
        """
        return min(max(self._rate // LEFT_TO_FETCHING, ITEM_REQUESTS), self._rate // 2)

    def has_room(self, needed: int = 1, leaving: int = 0) -> bool:
        """Say whether so many requests may go out now; an empty minute has room for whatever belongs together."""
        with self._lock:
            while self._requests and self._requests[0] <= self._monotonic() - 60:
                self._requests.popleft()
            return not self._requests or len(self._requests) + needed <= self._rate - leaving

    def take(self, needed: int = 1, leaving: int = 0) -> bool:
        """Count so many requests if they may go out now; say whether they may."""
        with self._lock:
            room = self.has_room(needed, leaving)
            for _ in range(needed if room else 0):
                self.note_request()
            return room

    def note_request(self) -> None:
        """Count a request."""
        with self._lock:
            self._requests.append(self._monotonic())

    def give_back(self, unused: int) -> None:
        """Count so many requests less: they were taken and not needed."""
        with self._lock:
            for _ in range(min(unused, len(self._requests))):
                self._requests.pop()

    def heard(self) -> None:
        """Note that the bus has answered something that was no message of the outbox."""
        with self._lock:
            self._last_contact_at = self._monotonic()

    def ready(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Pick what may be sent now, in the given order; what keeps failing goes last."""
        none = _Trouble(0)
        with self._lock:
            troubles = {row.seq: self._troubles.get(row.seq, none) for row in rows}
            able = [row for row in rows if troubles[row.seq].until <= self._monotonic()]
            return sorted(able, key=lambda row: troubles[row.seq].failures >= PATIENCE)

    def answered(self, seq: int, mark: int | None = None) -> None:
        """Note that the bus has taken or refused a message: the line is good, unless it has failed since."""
        with self._lock:
            self._answers += 1
            self._last_contact_at = self._monotonic()
            if mark in (None, self._mark):
                self._failures, self._wait_until = 0, 0.0
            self._troubles.pop(seq, None)

    def failed(self, seq: int, why: Retry, mark: int | None = None) -> tuple[float, bool]:
        """Make the line wait, or the message alone; give the seconds, and whether it is the message alone.

        A message is to blame when it failed often while others were answered: a server error at what it holds must not
        keep them from the bus.
        """
        asked = min(why.after or 0.0, LONGEST_WAIT)
        with self._lock:
            if mark not in (None, self._mark) and self.waiting:  # one failure of the line, met by several messages
                self._wait_until = max(self._wait_until, self._monotonic() + asked)
                return self._wait_until - self._monotonic(), False
            alone = False
            failures = self._failures
            if why.uncertain and why.after is None:
                trouble = self._troubles.setdefault(seq, _Trouble(self._answers))
                trouble.failures += 1
                alone = trouble.failures >= PATIENCE and self._answers > trouble.answers
                failures = trouble.failures - PATIENCE if alone else failures
            wait = wait_after(failures, self._chance(), asked)
            if alone:
                self._troubles[seq].until = self._monotonic() + wait
            else:
                self._failures += 1
                self._mark += 1
                self._wait_until = self._monotonic() + wait
            return wait, alone

    def pause(self, seq: int | None = None) -> float:
        """Make the line wait until somebody has seen to it, or a while has passed; give the seconds.

        The message at which it happened goes last from now on: should it alone be forbidden, the others get through.
        """
        with self._lock:
            if seq is not None:
                self._troubles[seq] = _Trouble(self._answers, PATIENCE)
            self._mark += 1
            self._wait_until = self._monotonic() + PAUSE
        return PAUSE

    def forgive(self) -> None:
        """Forget all waits: a person wants it tried at once."""
        with self._lock:
            self._wait_until, self._failures = 0.0, 0
            self._troubles.clear()
