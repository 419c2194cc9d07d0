"""Indexes of the practice bus's resources by search parameters.

Stored resources by type, parameter and value, each list in the order of the last change. Without a lock, as `records`,
whose part it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from broker.bus.fhir_server.requests import SEARCHABLE, Filters, last_updated, search_values
from broker.bus.fhir_server.rules import Resource


class Index:
    """Resources by (type, parameter, value); the most recently changed are the last of each."""

    def __init__(self) -> None:
        self._types: dict[str, dict[str, Resource]] = {}  # in order of arrival
        self._values: dict[tuple[str, str, str], dict[str, Resource]] = {}  # in order of change

    def put(self, reference: str, resource: Resource, before: Resource | None) -> None:
        """Take in a resource that was changed later than every other, in place of its older version."""
        kind = resource["resourceType"]
        self._types.setdefault(kind, {})[reference] = resource
        for key in _keys(before) if before else ():
            listed = self._values[key]
            del listed[reference]
            if not listed:
                del self._values[key]
        for key in _keys(resource):
            self._values.setdefault(key, {})[reference] = resource

    def of_type(self, resource_type: str) -> list[Resource]:
        """List the resources of one type, in order of arrival."""
        return list(self._types.get(resource_type, {}).values())

    def having(self, resource_type: str, name: str, value: str) -> list[Resource]:
        """List the resources that a parameter's value finds, oldest change first."""
        return list(self._values.get((resource_type, name, value), {}).values())

    def count(self, resource_type: str, name: str, value: str) -> int:
        """Count what a parameter's value finds."""
        return len(self._values.get((resource_type, name, value), {}))

    def newest(self, resource_type: str, name: str, value: str) -> Iterator[Resource]:
        """Yield the resources that a parameter's value finds, newest change first, as far as the caller wants."""
        return reversed(self._values.get((resource_type, name, value), {}).values())

    def search(self, resource_type: str, filters: Filters, since: datetime | None) -> list[Resource]:
        """List what passes every filter and was changed at `since` or later, oldest change first."""
        lists = [
            [self._values.get((resource_type, name, value), {}) for value in values]
            for name, values in [*filters, ("", frozenset({""}))]
        ]
        shortest = min(lists, key=lambda each: sum(map(len, each)))
        found: dict[str, Resource] = {}
        for each in shortest:
            for reference, resource in reversed(each.items()):  # newest first: a poll stops at `since`
                if since is not None and last_updated(resource) < since:
                    break
                found[reference] = resource
        passed = [r for r in found.values() if all(values & search_values(r, name) for name, values in filters)]
        # What one transaction wrote has one instant; the id makes the order the same at every reading.
        return sorted(passed, key=lambda r: (r["meta"]["lastUpdated"], r["id"]))


def _keys(resource: Resource) -> Iterator[tuple[str, str, str]]:
    """Yield the index keys of a resource; (type, "", "") has all resources of a searchable type."""
    kind = resource["resourceType"]
    if kind in SEARCHABLE:
        yield kind, "", ""
    for name in {*SEARCHABLE.get(kind, ()), "identifier"}:  # by which conditions find resources of every type
        for value in search_values(resource, name):
            yield kind, name, value
