"""Resolves references between resources of the bus, within limits: resources of the bus are not trusted.

Only the bus itself is asked, for each resource once for an item, so that loops end. Only type and id of a resource are
checked; nothing is retried.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from broker.bus.fhir import Resource, Target, base_and_target, items, member, organisation_guid, relative_target
from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.domain.patients.identifiers import is_guid

MAX_CONTAINED = 20  # resources inside another one that are read
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


class ChangedMeaning(Unusable):
    """A resource has what may change its meaning, and is not understood."""


class BusUnavailable(Exception):
    """The bus did not answer; `answer` says why."""

    def __init__(self, answer: Retry | Paused) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Find(Protocol):
    """Returns the resource that a Reference leads to, as `ReferenceResolver.resource` does; raises Unusable."""

    def __call__(self, reference: object, *kinds: str) -> Resource: ...


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
        """`read` reads a resource by type and id of the bus at `base_url`."""
        self._read = read
        self._base = base_url.rstrip("/") + "/"
        self._max_references = max_references
        self._monotonic = monotonic
        self._shared: OrderedDict[str, tuple[float, Resource]] = OrderedDict()
        self._seen: dict[str, Resource] = {}
        self._requests = 0
        self._aliases: frozenset[str] = frozenset()

    def begin(self, aliases: frozenset[str] = frozenset()) -> None:
        """Start on another item; `aliases` are other names of the bus in its references, see `names_of_the_bus`."""
        self._seen = {}
        self._requests = 0
        self._aliases = aliases

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
        """Return (type, id) of a Reference or its text; raise Unusable unless it is one of this bus.

        A bus behind a proxy may write an inner address. No address is followed; this bus is asked for the same type
        and id if the address is another name of it, or if the id is one in the whole world: a short id of another
        server may be that of another person here.
        """
        text = reference.get("reference") if isinstance(reference, dict) else reference
        if not isinstance(text, str) or not text:
            raise Unusable("a reference is missing")
        if found := relative_target(text.removeprefix(self._base)):
            return found
        named = base_and_target(text)
        if named is None or not (named[0] in self._aliases or is_guid(named[1].id)):
            raise Unusable("a reference leads away from the bus")
        return named[1]

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


class ContainedResources:
    """Finds resources also inside those that refer to them (FHIR R4 references, "Contained Resources").

    They have no id of their own, and what changes the meaning of any resource stops the reading.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._opened: dict[int, tuple[Resource, Resource]] = {}  # by identity: as it came, and as it is read
        self._contained: dict[str, Resource] = {}

    def open(self, resource: Resource) -> Resource:
        """Return a resource whose references to its own contents are unlike those of others. Raise ChangedMeaning."""
        if id(resource) not in self._opened:
            check_modifiers(resource)
            self._opened[id(resource)] = resource, self._open(resource)
        return self._opened[id(resource)][1]

    def _open(self, resource: Resource) -> Resource:
        contained = items(resource, "contained", MAX_CONTAINED)
        if not contained:
            return resource
        place = f"#{len(self._opened)}/"
        opened: Resource = _with_place(resource, place)
        for each in items(opened, "contained", MAX_CONTAINED):
            if isinstance(name := member(each, "id"), str):
                self._contained[place + name] = {key: value for key, value in each.items() if key != "id"}
        return opened

    def __call__(self, reference: object, *kinds: str) -> Resource:
        """Return the resource of a Reference; raise Unusable, BusUnavailable."""
        text = member(reference, "reference")
        if not isinstance(text, str) or not text.startswith("#"):
            return self.open(self._find(reference, *kinds))
        found = self._contained.get(text)
        if found is None or (kinds and found.get("resourceType") not in kinds):
            raise Unusable("a reference leads to nothing that it contains")
        return found


def _with_place(node: Any, place: str) -> Any:
    """Return a copy in which references to contained resources begin with a place."""
    if isinstance(node, dict):
        return {
            key: place + value[1:]
            if key == "reference" and isinstance(value, str) and value.startswith("#")
            else _with_place(value, place)
            for key, value in node.items()
        }
    return [_with_place(each, place) for each in node] if isinstance(node, list) else node


def names_of_the_bus(task: Resource, organisation: str) -> frozenset[str]:
    """Return the addresses at which a Task of the bus has our own organisation: other names of the bus."""
    named = (task.get("owner"), task.get("requester"))
    ours = [each for each in named if organisation_guid(each).casefold() == organisation.casefold()]
    return frozenset(found[0] for each in ours if (found := base_and_target(member(each, "reference"))))


def check_modifiers(resource: Resource) -> None:
    """Refuse what changes the meaning of a resource and is not understood (FHIR R4 "Is Modifier", Extensibility).

    Also of any part of it, and of what it contains. Raise ChangedMeaning.
    """
    waiting: list[Any] = [resource]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("modifierExtension") or node.get("implicitRules"):
                raise ChangedMeaning("it has an extension that changes its meaning")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


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
