"""Which of our orders the bus is asked about in a poll for results, and since when: the plan of the lists of Tasks.

New orders come first, as far back as they go. Of the others the last ones are in every poll, for most results come
soon; the older ones take turns, one list in a poll, each since the round before the last began. A list that was
answered is noted at once, so a poll that is cut is continued by the next one, and no order waits for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from broker.store.database import Store, Tx
from broker.store.tables import incoming
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import ReferredOrder

OVERLAP = timedelta(minutes=10)  # of a search with the last one: changes may appear late on the bus
# Names of cursors. KNOWN: by our clock, up to which delivery all orders were asked about once; NEW: where the others
# are. LAST: by the bus's clock, the last change as of the last list of the last orders; ROUND: where the older ones
# are.
KNOWN, NEW = "results looked", "results of new orders"
LAST, ROUND = "results of the last orders", "results of older orders"


class Part(NamedTuple):
    """One list of Tasks to be asked about."""

    kind: Literal["new", "last", "older"]
    tasks: list[str]
    since: datetime | None  # last change, by the bus's clock; None: without a limit
    reached: int  # its last order (id)


class ResultsPlan:
    """Plans lists of at most `size` Tasks.

    A referral is asked about for the time `horizon`, one that is done or cancelled for `amended`.
    """

    def __init__(self, store: Store, size: int, horizon: timedelta, amended: timedelta) -> None:
        self._store, self._size, self._horizon, self._amended = store, size, horizon, amended

    def parts(self, now: datetime) -> Iterator[Part]:
        """Yield the lists of a poll."""
        with self._store.read() as reader:
            known, last = incoming.cursor(reader, KNOWN), incoming.cursor(reader, LAST)
            began, reached = _pass(incoming.cursor(reader, NEW), now)
            round = _Round.parse(incoming.cursor(reader, ROUND))
            referred = external_studies.referred(reader, now - self._amended, now - self._horizon)
        old_before = datetime.fromisoformat(known) - OVERLAP if known else None
        new = [each for each in referred if old_before is None or each.delivered_at >= old_before]
        if new:
            self._store.write(lambda tx: incoming.set_cursor(tx, NEW, json.dumps([began, reached])))
        rest = [each for each in new if each.order_id > reached]
        for at in range(0, len(rest), self._size):
            yield _part("new", rest[at : at + self._size], None)
        old = [each for each in referred if old_before is not None and each.delivered_at < old_before]
        if old:
            yield _part("last", old[-self._size :], _since(last))
        older = old[: -self._size]
        if older:
            turn = [each for each in older if each.order_id > round.reached][: self._size]
            if not turn:
                self._begin_round(round, last)
                round, turn = round.next(last), older[: self._size]
            yield _part("older", turn, _since(round.since))

    def done(self, part: Part, newest: str) -> None:
        """Note that a list was answered; `newest` is the last change by the bus's clock that was seen before."""

        def note(tx: Tx) -> None:
            match part.kind:
                case "new":
                    began, _ = json.loads(incoming.cursor(tx, NEW))
                    incoming.set_cursor(tx, NEW, json.dumps([began, part.reached]))
                case "last" if newest:
                    incoming.set_cursor(tx, LAST, newest)
                case "older":
                    round = _Round.parse(incoming.cursor(tx, ROUND))
                    incoming.set_cursor(tx, ROUND, json.dumps(round._replace(reached=part.reached)))

        self._store.write(note)

    def finished(self, started: datetime, newest: str) -> None:
        """Note that every list of a poll that began then (by our clock) was answered; `newest` as of `done`."""

        def note(tx: Tx) -> None:
            began, _ = _pass(incoming.cursor(tx, NEW), started)
            incoming.set_cursor(tx, KNOWN, began)
            incoming.set_cursor(tx, NEW, "")
            if newest:  # the new orders are among the last ones from now on
                incoming.set_cursor(tx, LAST, newest)

        self._store.write(note)

    def _begin_round(self, round: _Round, last: str) -> None:
        self._store.write(lambda tx: incoming.set_cursor(tx, ROUND, json.dumps(round.next(last))))


class _Round(NamedTuple):
    """The turn of the older orders."""

    reached: int = 0  # the last order (id) that was asked about in this round
    since: str = ""  # last change by the bus's clock as the last round began; "": without a limit
    began: str = ""  # … as this one began

    @classmethod
    def parse(cls, cursor: str) -> _Round:
        return cls(*json.loads(cursor)) if cursor else cls()

    def next(self, last: str) -> _Round:
        return _Round(0, self.began, last)


def _part(kind: Literal["new", "last", "older"], listed: list[ReferredOrder], since: datetime | None) -> Part:
    return Part(kind, [each.task for each in listed], since, listed[-1].order_id)


def _pass(cursor: str, now: datetime) -> tuple[str, int]:
    """Return when a pass through the new orders began, by our clock, and the last one (id) that it has reached."""
    began, reached = json.loads(cursor) if cursor else (now.isoformat(), 0)
    return began, reached


def _since(cursor: str) -> datetime | None:
    return datetime.fromisoformat(cursor) - OVERLAP if cursor else None
