"""Goes through what a search finds, page by page, by the bus's own times. Pure: it makes calls and reads answers.

Where an answer names its next page, that one follows. Where it names none and is full, the rest is what was changed at
its last instant or later; that holds only where the answer is in the order of change, which is looked at.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.bus.dialect import Call, Dialect, next_link
from broker.bus.members import changed_at
from broker.bus.profile import Resource

log = logging.getLogger(__name__)

FEWEST = 20  # entries of a page, however large they are
AHEAD = timedelta(days=1)  # a change that the bus dates later than this from now moves no cursor


@dataclass(slots=True)
class Pages:
    """One pass of a search: `begin`, then `call`, `take`, and everything of `entries`, until there is no `more`."""

    kind: str
    parameters: dict[str, str]
    size: int  # entries of a full page
    under_way: bool = False
    more: bool = False
    wrong: str = ""  # why the rest cannot be asked for
    newest: datetime | None = None  # change that was seen in this pass
    entries: deque[Any] = field(default_factory=deque)
    _since: datetime = datetime.min
    _following: Call | None = None

    def begin(self, since: datetime) -> None:
        """Start a pass from an instant on."""
        self.under_way, self.more, self.wrong, self.newest = True, True, "", None
        self._since, self._following = _milliseconds(since), None
        self.entries = deque()

    def call(self, dialect: Dialect) -> Call:
        """Ask for the next page."""
        if self._following:
            return self._following
        since = self._since.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        parameters = self.parameters | {"_lastUpdated": f"ge{since}Z", "_count": str(self.size)}
        if dialect.name != "n3":  # which knows no order but this one
            parameters["_sort"] = "_lastUpdated"
        return dialect.search(self.kind, parameters)

    def take(self, searchset: Resource, dialect: Dialect, base_url: str, now: datetime) -> None:
        """Read a page, and decide how to go on after it."""
        listed = searchset.get("entry")
        self.entries = deque(listed if isinstance(listed, list) else [])
        resources = (entry.get("resource") for entry in self.entries if isinstance(entry, dict))
        dates = [changed_at(resource) for resource in resources if isinstance(resource, dict)]
        known = [at for at in dates if at]
        seen = [at for at in (*known, self.newest) if at and at <= now + AHEAD]
        self.newest = max(seen, default=None)
        self._following = dialect.next_page(searchset, base_url)
        self.more = bool(self._following or next_link(searchset) or len(self.entries) >= self.size)
        if self._following or not self.more:
            return
        if not known or len(known) < len(dates) or known != sorted(known):
            self.wrong = "the bus's answer is cut, and not in the order of change: the rest cannot be asked for"
        elif _milliseconds(known[-1]) <= self._since:
            log.error("the bus changed %d Tasks or more at one instant: those beyond are not seen", len(self.entries))
            self._since += timedelta(milliseconds=1)
        else:
            self._since = _milliseconds(known[-1])

    def reached(self) -> datetime | None:
        """Give the instant up to which everything was seen; None in the midst of pages whose order nothing tells."""
        return None if self._following or self.wrong else self.newest

    def give_up(self, *, too_much: bool = False) -> None:
        """End the pass: the address of its next page may have expired. After `too_much`, ask for less at once."""
        self.under_way = False
        self.entries = deque()
        if too_much:
            self.size = max(min(FEWEST, self.size), self.size // 2)


def _milliseconds(moment: datetime) -> datetime:
    """Cut an instant to what is written of it in a search."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
