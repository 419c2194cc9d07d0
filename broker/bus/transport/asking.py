"""Asks the bus things, within what a minute's requests, a deadline and the line allow: searches, and single resources.

It reads only, retries nothing, and stands back behind what is to be sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from broker.bus.inbound.json_access import member
from broker.bus.inbound.parse_report import ReportGraph, onward_references, references
from broker.bus.inbound.resolver import BusUnavailable, ReferenceResolver, Unusable, check_size
from broker.bus.profile import Resource
from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.bus.transport.client import BODY_LIMIT, BusClient
from broker.bus.transport.dialect import Call, Dialect
from broker.bus.transport.paging import PagedSearch
from broker.bus.transport.rate_limit import RateLimiter
from broker.store.database import Store, Tx
from broker.store.tables import outbox

PAGE = 200  # resources in an answer
PAGES = 50  # of one search
FEWEST = 8  # requests that one question may cost, however few a minute has
ROOM_EVERY = 0.2  # seconds between looks for room among the minute's requests

OUT_OF_TIME = "no time left"
NO_ROOM = "no more requests for now"


@dataclass(frozen=True, slots=True)
class Unasked(Retry):
    """Nothing was asked: there is no time, no room, or the line is known to be down."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what a search finds."""

    resources: list[Resource]
    last: bool  # nothing follows; False on the last page that is given: the bus, or the limit, keeps something back
    in_order: bool  # so far everything came in the order of its last change


class Line:
    """The bus as it is asked. `client` must be its own where questions have a deadline: hanging up ends all its calls.

    `seconds` is the deadline of a question as a whole, None for none. In `store` it is noted for people, and for who
    sends, that the bus asks everybody to wait.
    """

    def __init__(
        self,
        client: BusClient,
        dialect: Dialect,
        limiter: RateLimiter,
        *,
        store: Store | None = None,
        seconds: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resolver = ReferenceResolver(self._read, client.url, monotonic=monotonic)
        self.stopping = threading.Event()
        self._client, self._dialect, self._limiter, self._store = client, dialect, limiter, store
        self._seconds, self._monotonic = seconds, monotonic
        self._until: float | None = None
        self._left: int | None = None

    @contextmanager
    def question(self) -> Iterator[None]:
        """Bound what is asked inside by the deadline, to the last byte, and by a share of the minute's requests."""
        if self._seconds is None:
            yield
            return
        self._until = self._monotonic() + self._seconds
        self._left = max(FEWEST, 2 * self._limiter.share)
        end = threading.Timer(self._seconds, self._client.hang_up)
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()
            end.join()
            self._until = self._left = None

    def stop(self) -> None:
        """End what is being asked; nothing can be asked any more."""
        self.stopping.set()
        self._client.hang_up()

    def search(self, kind: str, parameters: Mapping[str, str]) -> tuple[list[Resource], bool]:
        """Give the resources that a search finds, and whether that is all of them; raise as `pages` does."""
        pages = list(self.pages(kind, parameters))
        return [each for page in pages for each in page.resources], pages[-1].last

    def pages(self, kind: str, parameters: Mapping[str, str]) -> Iterator[Page]:
        """Give what a search finds, page by page, each resource once.

        It ends where the bus does not let it go on (see `paging`), or tells nothing new. Raise LineDown where an answer
        did not come, Unusable where the search is refused.
        """
        ids: set[str] = set()
        pages = PagedSearch(kind, dict(parameters), PAGE)
        pages.begin()
        for _ in range(PAGES):
            searchset = self._delivered(pages.call(self._dialect))
            check_size(searchset, BODY_LIMIT)
            pages.take(searchset, self._dialect, self._client.url)
            listed = [member(entry, "resource") for entry in pages.entries]
            page = [each for each in listed if member(each, "resourceType") == kind]
            news = {id: each for each in page if isinstance(id := member(each, "id"), str) and id not in ids}
            ids |= set(news)
            yield Page(list(news.values()), not pages.more, pages.in_order)
            if not pages.more or pages.wrong or pages.stuck or not news:
                return

    def told(self, report: Resource, task: Resource | None = None) -> ReportGraph:
        """Give a report with what its references lead to; one that leads nowhere is left out. Raise LineDown."""
        found: list[Resource] = []
        for reference, kinds in references(report):
            found += self._followed(reference, kinds)
        return ReportGraph(report, task, found)

    def _followed(self, reference: object, kinds: tuple[str, ...]) -> list[Resource]:
        try:
            resource = self.resolver.resource(reference, *kinds)
        except Unusable:
            return []
        return [resource, *(each for to, its in onward_references(resource) for each in self._followed(to, its))]

    def _delivered(self, call: Call) -> Resource:
        answer = self._ask(call)
        if isinstance(answer, Rejected):
            raise Unusable(f"the bus refuses the search: {answer.reason}"[:300])
        if not isinstance(answer, Delivered):
            raise BusUnavailable(answer)
        return answer.resource

    def _read(self, kind: str, id: str) -> Answer:
        return self._ask(self._dialect.read(kind, id))

    def _ask(self, call: Call) -> Answer:
        """Make a call if there is time and room for it; else say why not, as if the line had."""
        if why := self._hindrance():
            return Unasked(why, uncertain=False)
        answer = self._client.call(call)
        if isinstance(answer, Retry | Paused):
            if isinstance(answer, Retry) and answer.after is not None:  # the bus asks everybody here to wait
                wait, _ = self._limiter.failed(0, replace(answer, uncertain=False))
                self._note_wait(answer.reason, wait)
            return Unasked(OUT_OF_TIME) if self._is_late() else answer
        self._limiter.heard()
        return answer

    def _note_wait(self, reason: str, seconds: float) -> None:
        """Show that the line waits: one that is noted to be good is taken for one that a person wants to be tried."""

        def verb(tx: Tx) -> None:
            outbox.set_channel(tx, "waiting", reason, tx.now + timedelta(seconds=seconds), answered=False)
            tx.notify()

        if self._store:
            self._store.write(verb)

    def _hindrance(self) -> str:
        """Wait for room; say why nothing can be asked, empty if it can."""
        if self._left is not None:
            if self._left <= 0:
                return NO_ROOM
            self._left -= 1
        while True:
            if self.stopping.is_set():
                return "stopping"
            if self._limiter.waiting:
                return "the line to the bus is down"
            if self._is_late():
                return OUT_OF_TIME
            if self._limiter.take():
                return ""
            if self._until is None or self.stopping.wait(ROOM_EVERY):
                return NO_ROOM

    def _is_late(self) -> bool:
        return self._until is not None and self._monotonic() >= self._until
