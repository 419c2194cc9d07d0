"""The stored resources of the practice bus: by reference, with matched people, and a journal.

Assigns ids, versions and accession numbers and resolves urn:uuid references. `service` validates and locks. Stored
resources are replaced, never changed in place.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from broker.bus.fhir_server.records import (
    accession_number,
    as_stored,
    assign_references,
    identity_keys,
    is_assigned,
    is_order,
    resolve_references,
)
from broker.bus.fhir_server.rules import Resource
from broker.bus.practice.index import Index

log = logging.getLogger(__name__)

NOWHERE: Mapping[str, str] = MappingProxyType({})


class Records:
    """Resources in memory, and in `directory`/practice-bus.jsonl if a directory is given."""

    def __init__(self, directory: Path | None, accession_format: str, clock: Callable[[], datetime]) -> None:
        self._accession_format = accession_format
        self._clock = clock
        self._resources: dict[str, Resource] = {}  # "Type/id" -> resource
        self.index = Index()
        self._matched: dict[tuple[str, ...], str] = {}
        self._orders = 0
        self._last = datetime.min.replace(tzinfo=UTC)
        self._journal = directory / "practice-bus.jsonl" if directory else None
        if self._journal:
            self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replay(self._journal)

    def find(self, reference: str) -> Resource | None:
        """Find what "Type/id" names."""
        return self._resources.get(reference)

    def write(
        self,
        kind: str,
        entries: dict[str, Resource],
        placed: Mapping[str, str] = NOWHERE,
        unchanged: Collection[str] = (),
    ) -> list[Resource]:
        """Store checked resources, keyed by fullUrl, all or nothing; return them as stored, in the same order.

        `placed` is the "Type/id" of those that are to take the place of a stored one; those among `unchanged` leave it
        as it is.
        """
        now = self._now()
        targets = assign_references(
            entries, lambda key, _: self._match(key, now), lambda: str(uuid4()), now.date(), placed=placed
        )
        written: dict[str, Resource] = {}
        orders = self._orders
        for url, resource in entries.items():
            reference = targets[url]
            if url in unchanged:
                continue
            before = written.get(reference) or self._resources.get(reference)
            written[reference] = kept = as_stored(resolve_references(resource, targets), reference, before, now)
            if is_order(kept) and before is None:
                orders += 1
                own = [each for each in kept["identifier"] if not is_assigned(each)]
                kept["identifier"] = [*own, accession_number(self._accession_format.format(orders))]
            elif is_order(kept) and before is not None:
                own = [each for each in kept["identifier"] if not is_assigned(each)]
                kept["identifier"] = [*own, *filter(is_assigned, before["identifier"])]
        if written:
            self.commit(kind, list(written.values()), now)
        return [written.get(targets[url]) or self._resources[targets[url]] for url in entries]

    def identified(self, kind: str, identifier: str) -> list[Resource]:
        """Return the resources of a type that bear an identifier, "system|value" or the value alone."""
        return self.index.having(kind, "identifier", identifier)

    def _match(self, key: tuple[str, ...], now: datetime) -> str | None:
        """Return what an identity key leads to; None also where the identifier has ended since it was written."""
        reference = self._matched.get(key)
        is_in_force = reference is not None and key in identity_keys(self._resources[reference], now.date())
        return reference if is_in_force else None

    def revise(self, kind: str, resource: Resource, **changes: Any) -> Resource:
        """Store a new version of a resource with some members changed."""
        now = self._now()
        reference = f"{resource['resourceType']}/{resource['id']}"
        revised = as_stored(resource | changes, reference, resource, now)
        self.commit(kind, [revised], now)
        return revised

    def commit(self, kind: str, resources: list[Resource], now: datetime) -> None:
        """Write to the journal, then to memory; OSError leaves both as they were."""
        if self._journal:
            _append(self._journal, {"at": now.isoformat(), "kind": kind, "resources": resources})
        self._take(resources, now)

    def _take(self, resources: list[Resource], now: datetime) -> None:
        """Put committed resources into memory."""
        self._last = max(self._last, now)
        for resource in resources:
            reference = f"{resource['resourceType']}/{resource['id']}"
            before = self._resources.get(reference)
            if before is None and is_order(resource):
                self._orders += 1
            for key in identity_keys(before, date.min) if before else []:  # also those that have ended since
                if self._matched.get(key) == reference:
                    del self._matched[key]  # a corrected СНИЛС no longer leads here
            self._matched.update(dict.fromkeys(identity_keys(resource, now.date()), reference))
            self._resources[reference] = resource
            self.index.put(reference, resource, before)

    def _replay(self, journal: Path) -> None:
        """Read the journal; a torn last line was never acknowledged and is cut off."""
        if not journal.exists():
            os.close(os.open(journal, os.O_CREAT | os.O_WRONLY, 0o600))
            _sync_directory(journal.parent)
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            log.warning("practice bus: the last line of %s was torn and is dropped", journal.name)
            os.truncate(journal, whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                self._take(record["resources"], datetime.fromisoformat(record["at"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{journal}:{number}: not a record of the practice bus") from error

    def _now(self) -> datetime:
        """Return the time in milliseconds, later than every earlier write, so that `_lastUpdated` orders them."""
        now = self._clock()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return now if now > self._last else self._last + timedelta(milliseconds=1)


def patient_line(patient: Resource) -> str:
    """Write a patient as «Фамилия Имя Отчество, 12.03.1961»."""
    if not patient:
        return ""
    name = patient["name"][0]
    born = datetime.fromisoformat(patient["birthDate"])
    return f"{' '.join([name['family'], *name['given']])}, {born:%d.%m.%Y}"


def _append(journal: Path, record: Resource) -> None:
    """Append one line and wait until it is on the disk; on failure cut it off again and raise OSError."""
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    with journal.open("ab") as file:
        end = file.tell()
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(journal, end)
            raise


def _sync_directory(directory: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
