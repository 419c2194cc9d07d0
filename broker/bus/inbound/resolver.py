"""Resolves references between resources of the bus, within limits: resources of the bus are not trusted.

Only references to the bus itself are followed, each once for an item, so that loops end. Only type and id of a resource
are checked; nothing is retried.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from broker.bus.fhir import Resource, Target, relative_target
from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry

MAX_REFERENCES = 16  # resources that are read for one item
MAX_DEPTH = 32  # levels of objects and arrays in a resource
MAX_SIZE = 4 * 1024 * 1024  # of a resource: characters of all texts, and number of members
SHARED = ("Organization", "Practitioner", "PractitionerRole")  # types that many items have in common
MAX_SHARED = 300  # shared resources …
MAX_SHARED_SIZE = 20_000  # … of at most this size
SHARED_LIFETIME = 600.0  # seconds after which a shared resource is read again


class Unusable(Exception):
    """A resource is invalid; `reason` is plain English without patients' data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BusUnavailable(Exception):
    """The bus did not answer; `answer` says why."""

    def __init__(self, answer: Retry | Paused) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class ReferenceResolver:
    """Reads the resources of one item after another; `begin` starts an item."""

    def __init__(
        self,
        read: Callable[[str, str], Answer],
        base_url: str,
        *,
        max_references: int = MAX_REFERENCES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` reads a resource by type and id; an absolute reference must begin with `base_url`."""
        self._read = read
        self._base = base_url.rstrip("/") + "/"
        self._max_references = max_references
        self._monotonic = monotonic
        self._shared: OrderedDict[str, tuple[float, Resource]] = OrderedDict()
        self._seen: dict[str, Resource] = {}
        self._requests = 0

    def begin(self) -> None:
        """Start on another item."""
        self._seen = {}
        self._requests = 0

    @property
    def seen(self) -> list[Resource]:
        """Return the resources that were read for this item, in order."""
        return list(self._seen.values())

    def resource(self, reference: object, *kinds: str) -> Resource:
        """Return the resource of a Reference or its text; without `kinds` it may be of any type.

        Raise Unusable if the reference is missing, leads away from the bus, or to something that cannot be read;
        BusUnavailable if the bus did not answer.
        """
        kind, id = self.target(reference)
        if kinds and kind not in kinds:
            raise Unusable(f"a reference leads to {kind} instead of {' or '.join(kinds)}")
        name = f"{kind}/{id}"
        if name not in self._seen:
            self._seen[name] = self._from_cache(name) or self._request(kind, id)
        return self._seen[name]

    def target(self, reference: object) -> Target:
        """Return (type, id) of a Reference or its text; raise Unusable unless it is one of this bus."""
        text = reference.get("reference") if isinstance(reference, dict) else reference
        if not isinstance(text, str) or not text:
            raise Unusable("a reference is missing")
        found = relative_target(text.removeprefix(self._base))
        if not found:
            raise Unusable("a reference leads away from the bus")
        return found

    def _from_cache(self, name: str) -> Resource | None:
        found = self._shared.get(name)
        return found[1] if found and self._monotonic() - found[0] < SHARED_LIFETIME else None

    def _request(self, kind: str, id: str) -> Resource:
        if self._requests >= self._max_references:
            raise Unusable(f"it refers to more than {self._max_references} resources")
        self._requests += 1
        answer = self._read(kind, id)
        if isinstance(answer, Rejected):
            raise Unusable(f"{kind}/{id} cannot be read: {answer.reason}"[:300])
        if not isinstance(answer, Delivered):
            raise BusUnavailable(answer)
        resource = answer.resource
        if resource.get("resourceType") != kind or resource.get("id") != id:
            raise Unusable(f"{kind}/{id} was requested, and the bus returned another resource")
        if check_size(resource) <= MAX_SHARED_SIZE and kind in SHARED:
            self._shared[f"{kind}/{id}"] = (self._monotonic(), resource)
            self._shared.move_to_end(f"{kind}/{id}")
            if len(self._shared) > MAX_SHARED:
                self._shared.popitem(last=False)
        return resource


def check_size(resource: Resource, longest: int = MAX_SIZE) -> int:
    """Return the size of a resource, in characters and members; raise Unusable if it is too large or too deep."""
    level: list[Any] = [resource]
    total = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                total += sum(map(len, node)) + len(node)
                below += node.values()
            elif isinstance(node, list):
                total += len(node)
                below += node
            elif isinstance(node, str):
                total += len(node)
        if total > longest:
            raise Unusable("it is too large")
        if not below:
            return total
        level = below
    raise Unusable("it is nested too deep")
