"""Goes through what a search finds, page by page, by the bus's own times. Pure: it makes calls and reads answers.

Where an answer names its next page, that one follows. Where it names none and is full, the rest is what was changed at
its last instant or later; that holds only where the answers are in the order of change, which is looked at. What is
done where it does not hold, or where an instant fills a page, is decided by who asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.bus.fhir import Resource, bus_time, items, member
from broker.bus.transport.dialect import Call, Dialect, next_link

FEWEST = 20  # entries of a page, however large they are
AHEAD = timedelta(days=1)  # a change that the bus dates later than this from now moves no cursor


@dataclass(slots=True)
class PagedSearch:
    """One pass of a search: `begin`, then `call`, `take`, and everything of `entries`, until there is no `more`."""

    kind: str
    parameters: dict[str, str]
    size: int  # entries of a full page
    under_way: bool = False
    more: bool = False
    wrong: str = ""  # why the rest cannot be asked for
    stuck: bool = False  # a page is full of one instant: the rest of it cannot be asked for, what came later can
    in_order: bool = True  # everything of this pass came in the order of its last change
    newest: datetime | None = None  # change that was seen in this pass
    entries: deque[Any] = field(default_factory=deque)
    _since: datetime | None = None
    _following: Call | None = None
    _reached: datetime | None = None

    def begin(self, since: datetime | None = None) -> None:
        """Start a pass from an instant on, or of everything."""
        self.under_way, self.more, self.wrong, self.newest = True, True, "", None
        self.stuck, self.in_order, self._reached = False, True, None
        self._since, self._following = since and _milliseconds(since), None
        self.entries = deque()

    def call(self, dialect: Dialect) -> Call:
        """Ask for the next page."""
        if self._following:
            return self._following
        parameters = dict(self.parameters)
        if self._since:
            since = self._since.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            parameters["_lastUpdated"] = f"ge{since}Z"
        parameters["_count"] = str(self.size)
        if dialect.name != "n3":  # which knows no order but this one
            parameters["_sort"] = "_lastUpdated"
        return dialect.search(self.kind, parameters)

    def take(self, searchset: Resource, dialect: Dialect, base_url: str, now: datetime | None = None) -> None:
        """Read a page, and decide how to go on after it. `now` is for whoever wants to know what was `reached`."""
        self.entries = deque(items(searchset, "entry", None))
        found = [resource for entry in self.entries if self._is_found(resource := member(entry, "resource"))]
        dates = [bus_time(resource) for resource in found]
        known = [at for at in dates if at]
        self._note_order(known, whole=len(known) == len(dates))
        self.newest = max((at for at in (*known, self.newest) if at and (not now or at <= now + AHEAD)), default=None)
        self._following = dialect.next_page(searchset, base_url)
        self.more = bool(self._following or next_link(searchset) or len(found) >= self.size)
        if self._following or not self.more:
            return
        if not known or not self.in_order:
            self.wrong = "the bus's answer is cut, and not in the order of change: the rest cannot be asked for"
        elif self._since and _milliseconds(known[-1]) <= self._since:
            self.stuck = True
        else:
            self._since = _milliseconds(known[-1])

    def step_over(self) -> None:
        """Go on after the instant that fills a page."""
        if self._since:
            self._since += timedelta(milliseconds=1)
        self.stuck = False

    def reached(self) -> datetime | None:
        """Return the instant up to which everything was seen; None in the middle of pages whose order is unknown."""
        return None if self._following or self.wrong else self.newest

    def abandon(self, *, too_much: bool = False) -> None:
        """End the pass: the address of its next page may have expired. After `too_much`, ask for less at once."""
        self.under_way = False
        self.entries = deque()
        if too_much:
            self.size = max(min(FEWEST, self.size), self.size // 2)

    def _is_found(self, resource: object) -> bool:
        """Return True if this counts as found: what a server includes or remarks does not, what is unreadable does."""
        return member(resource, "resourceType") in (None, self.kind)

    def _note_order(self, known: list[datetime], *, whole: bool) -> None:
        follows = not known or self._reached is None or self._reached <= known[0]
        self.in_order = self.in_order and whole and known == sorted(known) and follows
        if known:
            self._reached = _milliseconds(known[-1])  # a page that is asked for from an instant on begins so early


def _milliseconds(moment: datetime) -> datetime:
    """Cut an instant to what is written of it in a search."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
