"""Searches of the bus, page by page, and the resources that a report refers to. Reads only, without retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.bus.fhir import Resource, member
from broker.bus.inbound.parse_report import ReportGraph, onward_references, references
from broker.bus.inbound.resolver import (
    BusUnavailable,
    ChangedMeaning,
    ContainedResources,
    Find,
    ReferenceResolver,
    Unusable,
    check_size,
)
from broker.bus.transport.answers import Answer, Delivered, Rejected
from broker.bus.transport.client import BODY_LIMIT
from broker.bus.transport.dialect import Call, Dialect
from broker.bus.transport.paging import PagedSearch
from broker.bus.transport.session import BusSession

PAGE = 200  # resources in an answer
MAX_PAGES = 50  # of one search


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of the results of a search."""

    resources: list[Resource]
    last: bool  # True: everything was returned; False after the last page: the bus or MAX_PAGES held back the rest
    in_order: bool  # the resources so far are in the order of their last change


class BusSearch:
    """Searches through a session, and resolves references."""

    def __init__(self, session: BusSession, dialect: Dialect) -> None:
        self._session, self._dialect = session, dialect
        self.resolver = ReferenceResolver(self._read, session.url, monotonic=session.limiter.monotonic)

    def search(self, kind: str, parameters: Mapping[str, str]) -> tuple[list[Resource], bool]:
        """Return the resources that a search finds, and True if these are all; raise as `pages` does."""
        pages = list(self.pages(kind, parameters))
        return [each for page in pages for each in page.resources], pages[-1].last

    def pages(self, kind: str, parameters: Mapping[str, str]) -> Iterator[SearchPage]:
        """Yield the results of a search page by page, each resource once.

        Ends early if the next page cannot be searched for (see `paging`) or brings nothing new. Raise BusUnavailable if
        the bus does not answer, Unusable if it refuses the search.
        """
        ids: set[str] = set()
        pages = PagedSearch(kind, dict(parameters), PAGE)
        pages.begin()
        for _ in range(MAX_PAGES):
            searchset = self._searchset(pages.call(self._dialect))
            check_size(searchset, BODY_LIMIT)
            pages.take(searchset, self._dialect, self._session.url)
            listed = [member(entry, "resource") for entry in pages.entries]
            page = [each for each in listed if member(each, "resourceType") == kind]
            new = {id: each for each in page if isinstance(id := member(each, "id"), str) and id not in ids}
            ids |= set(new)
            yield SearchPage(list(new.values()), not pages.more, pages.in_order)
            if not pages.more or pages.error or pages.stuck or not new:
                return

    def report_graph(self, report: Resource, task: Resource | None = None) -> ReportGraph:
        """Return a report with the resources that it refers to and that can be read.

        Raise BusUnavailable; ChangedMeaning if one of them has what is not understood.
        """
        contents = ContainedResources(self.resolver.resource)
        report = contents.open(report)
        found: list[Resource] = []
        for reference, kinds in references(report):
            found += self._follow(contents, reference, kinds)
        return ReportGraph(report, task, found)

    def _follow(self, find: Find, reference: object, kinds: tuple[str, ...]) -> list[Resource]:
        try:
            resource = find(reference, *kinds)
        except ChangedMeaning:
            raise
        except Unusable:
            return []
        return [
            resource,
            *(
                each
                for onward, onward_kinds in onward_references(resource)
                for each in self._follow(find, onward, onward_kinds)
            ),
        ]

    def _searchset(self, call: Call) -> Resource:
        answer = self._session.request(call)
        if isinstance(answer, Rejected):
            raise Unusable(f"the bus refuses the search: {answer.reason}"[:300])
        if not isinstance(answer, Delivered):
            raise BusUnavailable(answer)
        return answer.resource

    def _read(self, kind: str, id: str) -> Answer:
        return self._session.request(self._dialect.read(kind, id))
