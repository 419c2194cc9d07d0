"""The line to the bus as a look for referrals finds it: whether it may go on, how long it rests, what people are told.

It counts requests, notes in the channel whether the bus answers, and waits under a ceiling that doubles. What is asked,
and what is done with an answer, is for `fetch`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.bus.transport.rate_limit import LONGEST_WAIT, RateLimiter, wait_after
from broker.store.database import Store, Tx
from broker.store.tables import incoming, outbox
from broker.store.tables.incoming import ItemKind, ItemState
from broker.workflow.incoming_referrals import BUS

log = logging.getLogger(__name__)

SEARCH = "Task/_search"  # the name in the ledger under which a refused search is complained of


class Stopped(Exception):
    """The look ends here."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FetchLine:
    """The line of one that looks; `begin` starts a look."""

    def __init__(
        self,
        store: Store,
        client: BusClient,
        limiter: RateLimiter,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.stopping = threading.Event()
        self._store, self._client, self._limiter = store, client, limiter
        self._monotonic, self._chance = monotonic, chance
        self._quiet_until = -1.0
        self._failures = 0  # looks that the line ended, in a row
        self._noted = False  # in this look, that the line is good

    def begin(self) -> None:
        """Start a look; raise Stopped where the line rests."""
        self._noted = False
        self._heed_people()

    def stop(self) -> None:
        """Let nothing more be asked, and end the client's calls."""
        self.stopping.set()
        self._client.hang_up()

    def _heed_people(self) -> None:
        """Look at once when the channel is noted to be good: a person wants it, or what is sent goes through."""
        if self._monotonic() < self._quiet_until:
            with self._store.read() as reader:
                if outbox.channel_state(reader) != "ok":
                    raise Stopped("waiting")
            self._quiet_until = -1.0

    def check(self, requests: int) -> None:
        """Stop the look where so many requests may not go out now."""
        if self.stopping.is_set():
            raise Stopped("stopping")
        if self._limiter.waiting:
            raise Stopped("waiting")
        if not self._limiter.has_room(min(requests, max(1, self._limiter.share))):
            raise Stopped("rate")

    def ask(self, call: Call) -> Answer:
        """Make a call; raise Stopped where it is to end."""
        if self.stopping.is_set():
            raise Stopped("stopping")
        self._limiter.note_request()
        answer = self._client.call(call)
        if isinstance(answer, Delivered | Rejected):
            self._limiter.heard()
        return answer

    def note_good(self) -> None:
        """Note, once in a look, that the line is good."""
        self._failures = 0
        if self._noted or self._limiter.waiting:
            return
        self._noted = True
        with self._store.read() as reader:
            changed = outbox.channel_state(reader) != "ok"
            complaint = incoming.named(reader, BUS, SEARCH, ItemKind.REFERRAL)

        def verb(tx: Tx) -> None:
            outbox.set_channel(tx, "ok", "", None, answered=True)
            if complaint and complaint.state is not ItemState.TAKEN:
                incoming.settle(tx, ItemKind.REFERRAL, BUS, SEARCH)
            if changed:
                tx.notify()

        self._store.write(verb)

    def note_down(self, answer: Retry | Paused) -> Stopped:
        """Note how the line is, and wait: until a person has seen to it, or under a ceiling that doubles."""
        if self.stopping.is_set():
            return Stopped("stopping")
        if isinstance(answer, Paused):
            state, wait = "paused", self._limiter.pause()
        else:
            asked = min(answer.after or 0.0, LONGEST_WAIT)
            state, wait = "waiting", wait_after(self._failures, self._chance(), asked)
            self._failures += 1
            self._quiet_until = self._monotonic() + wait
        log.warning("fetching from the bus is %s: %s", state, answer.reason)

        def verb(tx: Tx) -> None:
            outbox.set_channel(tx, state, answer.reason, tx.now + timedelta(seconds=wait), answered=False)
            tx.notify()

        self._store.write(verb)
        return Stopped(answer.reason)
