"""Goes through the results of a search page by page. No network: it makes calls and reads answers.

If an answer has a link to the next page, that one follows. If it has none and its page is full, the rest is searched
for from the last change of the page on; this works only if the resources are in the order of change, which is checked.
The caller decides what to do if they are not (`error`), or if a page is full of one instant (`stuck`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.bus.fhir import Resource, bus_time, items, member
from broker.bus.transport.dialect import Call, Dialect, next_link

MIN_PAGE_SIZE = 20  # entries of a page
MAX_AHEAD = timedelta(days=1)  # a change that the bus dates later than this from now does not move the cursor


@dataclass(slots=True)
class PagedSearch:
    """One pass of a search: `begin`, then `call`, `take` and read `entries` while `more` is True."""

    kind: str
    parameters: dict[str, str]
    size: int  # entries of a full page
    in_progress: bool = False
    more: bool = False
    error: str = ""  # why the rest cannot be searched for; empty if it can
    stuck: bool = False  # a page is full of one instant: its rest cannot be searched for, later changes can
    in_order: bool = True  # the resources of this pass so far are in the order of their last change
    newest: datetime | None = None  # last change of the resources of this pass
    entries: deque[Any] = field(default_factory=deque)
    _since: datetime | None = None
    _next_call: Call | None = None
    _reached: datetime | None = None

    def begin(self, since: datetime | None = None) -> None:
        """Start a pass of what was changed at an instant or later, or of everything."""
        self.in_progress, self.more, self.error, self.newest = True, True, "", None
        self.stuck, self.in_order, self._reached = False, True, None
        self._since, self._next_call = since and _milliseconds(since), None
        self.entries = deque()

    def call(self, dialect: Dialect) -> Call:
        """Return the call for the next page."""
        if self._next_call:
            return self._next_call
        parameters = dict(self.parameters)
        if self._since:
            since = self._since.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            parameters["_lastUpdated"] = f"ge{since}Z"
        parameters["_count"] = str(self.size)
        if dialect.name != "n3":  # which has no other order
            parameters["_sort"] = "_lastUpdated"
        return dialect.search(self.kind, parameters)

    def take(self, searchset: Resource, dialect: Dialect, base_url: str, now: datetime | None = None) -> None:
        """Read a page, and decide how to go on after it. `reached` needs `now`, an aware datetime."""
        self.entries = deque(items(searchset, "entry", None))
        found = [resource for entry in self.entries if self._is_found(resource := member(entry, "resource"))]
        dates = [bus_time(resource) for resource in found]
        known = [at for at in dates if at]
        self._note_order(known, whole=len(known) == len(dates))
        self.newest = max(
            (at for at in (*known, self.newest) if at and (not now or at <= now + MAX_AHEAD)), default=None
        )
        self._next_call = dialect.next_page(searchset, base_url)
        self.more = bool(self._next_call or next_link(searchset) or len(found) >= self.size)
        if self._next_call or not self.more:
            return
        if not known or not self.in_order:
            self.error = "the bus's answer is cut, and not in the order of change: the rest cannot be asked for"
        elif self._since and _milliseconds(known[-1]) <= self._since:
            self.stuck = True
        else:
            self._since = _milliseconds(known[-1])

    def skip_instant(self) -> None:
        """Go on after the instant of which a page is full."""
        if self._since:
            self._since += timedelta(milliseconds=1)
        self.stuck = False

    def reached(self) -> datetime | None:
        """Return the instant up to which everything was returned; None between pages that are linked."""
        return None if self._next_call or self.error else self.newest

    def abandon(self, *, page_too_large: bool = False) -> None:
        """End the pass: the address of its next page may have expired. `page_too_large` halves the next pages."""
        self.in_progress = False
        self.entries = deque()
        if page_too_large:
            self.size = max(min(MIN_PAGE_SIZE, self.size), self.size // 2)

    def _is_found(self, resource: object) -> bool:
        """Return True if this was searched for: included resources and outcomes were not, unreadable entries were."""
        return member(resource, "resourceType") in (None, self.kind)

    def _note_order(self, known: list[datetime], *, whole: bool) -> None:
        follows = not known or self._reached is None or self._reached <= known[0]
        self.in_order = self.in_order and whole and known == sorted(known) and follows
        if known:
            self._reached = _milliseconds(known[-1])  # searches are cut to milliseconds: the next page begins here


def _milliseconds(moment: datetime) -> datetime:
    """Return an instant in UTC, cut to milliseconds as it is written in a search."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
