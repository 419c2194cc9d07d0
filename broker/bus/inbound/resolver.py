"""Resolve references from resource to resource of the bus, within limits: what comes from there is not trusted.

Only a reference to the bus itself is followed, each once for an item, so that no loop has an end to find. It reads by
the call that it is given, retries nothing and checks no member of a resource but its type and its id.
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
MAX_SIZE = 4 * 1024 * 1024  # characters of all texts of a resource, and as many members
SHARED = ("Organization", "Practitioner", "PractitionerRole")  # many items name the same ones
MAX_SHARED = 300  # shared resources …
MAX_SHARED_SIZE = 20_000  # … of at most this size
SHARED_LIFETIME = 600.0  # seconds for which a shared resource is taken for current


class Unusable(Exception):
    """What came is wrong, however good the connection is; `reason` is plain English without patients' data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BusUnavailable(Exception):
    """What was asked for did not come; `answer` says why."""

    def __init__(self, answer: Retry | Paused) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class ReferenceResolver:
    """Reads resources for one item after the other; `begin` forgets the item before."""

    def __init__(
        self,
        read: Callable[[str, str], Answer],
        base_url: str,
        *,
        most: int = MAX_REFERENCES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take `read`, which asks the bus for (type, id); `base_url` is what an absolute reference must begin with."""
        self._read = read
        self._base = base_url.rstrip("/") + "/"
        self._most = most
        self._monotonic = monotonic
        self._shared: OrderedDict[str, tuple[float, Resource]] = OrderedDict()
        self._seen: dict[str, Resource] = {}
        self._asked = 0

    def begin(self) -> None:
        """Start on another item."""
        self._seen = {}
        self._asked = 0

    @property
    def seen(self) -> list[Resource]:
        """List what this item's references have led to, in the order of reading."""
        return list(self._seen.values())

    def resource(self, reference: object, *kinds: str) -> Resource:
        """Return what a Reference, or its text, points to; without `kinds` it may be of any type.

        Raise Unusable if it points away from the bus, to nothing, or to what cannot be read; BusUnavailable if no
        answer came.
        """
        kind, id = self.target(reference)
        if kinds and kind not in kinds:
            raise Unusable(f"a reference leads to {kind} instead of {' or '.join(kinds)}")
        name = f"{kind}/{id}"
        if name not in self._seen:
            self._seen[name] = self._remembered(name) or self._ask(kind, id)
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

    def _remembered(self, name: str) -> Resource | None:
        found = self._shared.get(name)
        return found[1] if found and self._monotonic() - found[0] < SHARED_LIFETIME else None

    def _ask(self, kind: str, id: str) -> Resource:
        if self._asked >= self._most:
            raise Unusable(f"it refers to more than {self._most} resources")
        self._asked += 1
        answer = self._read(kind, id)
        if isinstance(answer, Rejected):
            raise Unusable(f"{kind}/{id} cannot be read: {answer.reason}"[:300])
        if not isinstance(answer, Delivered):
            raise BusUnavailable(answer)
        resource = answer.resource
        if resource.get("resourceType") != kind or resource.get("id") != id:
            raise Unusable(f"{kind}/{id} was asked for, and something else came")
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
