"""Searches of the bus page by page, and what a report's references lead to, asked in the background.

It reads only, retries nothing, and stands back behind what is sent and polled for (`SessionPriority.BACKGROUND`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.bus.fhir import Resource, member
from broker.bus.inbound.parse_report import ReportGraph, onward_references, references
from broker.bus.inbound.resolver import BusUnavailable, ReferenceResolver, Unusable, check_size
from broker.bus.transport.answers import Answer, Delivered, Rejected
from broker.bus.transport.client import BODY_LIMIT
from broker.bus.transport.dialect import Call, Dialect
from broker.bus.transport.paging import PagedSearch
from broker.bus.transport.session import BusSession

PAGE = 200  # resources in an answer
PAGES = 50  # of one search


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A part of what a search finds."""

    resources: list[Resource]
    last: bool  # nothing follows; False on the last page that is returned: the bus, or the limit, keeps something back
    in_order: bool  # so far everything came in the order of its last change


class BusSearch:
    """Searches by way of a session, and resolves references."""

    def __init__(self, session: BusSession, dialect: Dialect) -> None:
        self._session, self._dialect = session, dialect
        self.resolver = ReferenceResolver(self._read, session.url, monotonic=session.limiter.monotonic)

    def search(self, kind: str, parameters: Mapping[str, str]) -> tuple[list[Resource], bool]:
        """Return the resources that a search finds, and whether that is all of them; raise as `pages` does."""
        pages = list(self.pages(kind, parameters))
        return [each for page in pages for each in page.resources], pages[-1].last

    def pages(self, kind: str, parameters: Mapping[str, str]) -> Iterator[SearchPage]:
        """Yield what a search finds, page by page, each resource once.

        It ends where the bus does not let it go on (see `paging`), or returns nothing new. Raise BusUnavailable if an
        answer did not come, Unusable if the search is refused.
        """
        ids: set[str] = set()
        pages = PagedSearch(kind, dict(parameters), PAGE)
        pages.begin()
        for _ in range(PAGES):
            searchset = self._searchset(pages.call(self._dialect))
            check_size(searchset, BODY_LIMIT)
            pages.take(searchset, self._dialect, self._session.url)
            listed = [member(entry, "resource") for entry in pages.entries]
            page = [each for each in listed if member(each, "resourceType") == kind]
            news = {id: each for each in page if isinstance(id := member(each, "id"), str) and id not in ids}
            ids |= set(news)
            yield SearchPage(list(news.values()), not pages.more, pages.in_order)
            if not pages.more or pages.wrong or pages.stuck or not news:
                return

    def report_graph(self, report: Resource, task: Resource | None = None) -> ReportGraph:
        """Return a report with what its references lead to, without those that lead nowhere; raise BusUnavailable."""
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

    def _searchset(self, call: Call) -> Resource:
        answer = self._session.request(call)
        if isinstance(answer, Rejected):
            raise Unusable(f"the bus refuses the search: {answer.reason}"[:300])
        if not isinstance(answer, Delivered):
            raise BusUnavailable(answer)
        return answer.resource

    def _read(self, kind: str, id: str) -> Answer:
        return self._session.request(self._dialect.read(kind, id))
