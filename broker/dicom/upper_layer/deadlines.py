"""The deadlines of one connection and the one timer that wakes it at the next of them."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

NEVER = math.inf


class DeadlineOwner(Protocol):
    """The connection whose deadlines these are."""

    def is_established(self) -> bool:
        """Return True while there is an association and no release was asked for."""

    def is_idle(self) -> bool:
        """Return True if it is established and nothing is being answered, so that the idle deadline counts."""

    def time_is_up(self, now: float) -> None:
        """End what has passed its deadline; `now` is the loop's time."""


class Deadlines:
    """Points in the loop's time, NEVER where one does not count; call `watch` after setting one."""

    def __init__(self, owner: DeadlineOwner, loop: asyncio.AbstractEventLoop, idle_seconds: float) -> None:
        self._owner, self._loop, self._idle_seconds = owner, loop, idle_seconds
        self._timer: asyncio.TimerHandle | None = None
        self.phase = NEVER  # for the A-ASSOCIATE-RQ, or for the peer to close: the ARTIM timer of PS3.8 9.1.5
        self.message = NEVER  # for a message, or a PDU, that has begun to come whole
        self.idle = NEVER  # for the next message
        self.sending = NEVER  # for the peer to take what is sent
        self.answer = NEVER  # for the next part of an answer to be worked out here

    def close_within(self, seconds: float) -> None:
        """Leave one deadline: for the peer to close the connection."""
        self.message = self.idle = self.sending = self.answer = NEVER
        self.phase = self._loop.time() + seconds
        self.watch()

    def watch(self) -> None:
        """Be woken at the next deadline; a timer that is too early winds itself up again."""
        next_one = self._next()
        if self._timer is not None:
            if next_one >= self._timer.when():
                return
            self._timer.cancel()
            self._timer = None
        if next_one < NEVER:
            self._timer = self._loop.call_at(next_one, self._wake)

    def cancel(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> float:
        return min(self.phase, self.message, self.sending, self.answer, self.idle if self._owner.is_idle() else NEVER)

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now >= self._next():
            self._owner.time_is_up(now)
            return
        self.watch()
        # An answer that takes its time hides the idle deadline; look again before it could matter.
        if self._timer is None and self._owner.is_established():
            self._timer = self._loop.call_at(now + self._idle_seconds, self._wake)
