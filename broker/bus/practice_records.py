"""What the practice bus holds: resources by reference, matched people, and a journal that survives a restart.

It gives ids, versions and accession numbers and resolves urn:uuid references; it judges nothing (see `practice_rules`)
and takes no lock: `practice_service` calls it under its own. Stored resources are replaced, never changed in place.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker.bus.practice_fields import DICOM_UID, N3, OWN_ID, SNILS
from broker.bus.practice_index import Index
from broker.bus.practice_rules import Resource

log = logging.getLogger(__name__)

_FIRST = ("Patient", "Practitioner", "PractitionerRole")  # matched before what refers to them gets its ids


class Records:
    """Resources in memory, and in `directory`/practice-bus.jsonl if a directory is given."""

    def __init__(self, directory: Path | None, accession_format: str) -> None:
        self._accession_format = accession_format
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

    def write(self, kind: str, entries: dict[str, Resource]) -> list[Resource]:
        """Store checked resources, keyed by fullUrl, all or nothing; return them as stored, in the same order."""
        targets: dict[str, str] = {}
        index: dict[tuple[str, ...], str] = {}  # two entries of one bundle may be the same person
        for url in sorted(entries, key=lambda url: entries[url]["resourceType"] not in _FIRST):
            resource = _resolved(entries[url], targets)
            keys = _keys(resource)
            known = [found for key in keys if (found := index.get(key) or self._matched.get(key))]
            targets[url] = known[0] if known else f"{resource['resourceType']}/{uuid4()}"
            index.update(dict.fromkeys(keys, targets[url]))
        now = self._now()
        written: dict[str, Resource] = {}
        orders = self._orders
        for url, resource in entries.items():
            reference = targets[url]
            before = written.get(reference) or self._resources.get(reference)
            stored = self._stored(_resolved(resource, targets), reference, before, now)
            if _is_order(stored) and before is None:
                orders += 1
                stored["identifier"] = [*stored["identifier"], self._accession_number(orders)]
            written[reference] = stored
        self.commit(kind, list(written.values()), now)
        return [written[targets[url]] for url in entries]

    def revise(self, kind: str, resource: Resource, **changes: Any) -> Resource:
        """Store a new version of a resource with some members changed."""
        now = self._now()
        reference = f"{resource['resourceType']}/{resource['id']}"
        revised = self._stored(resource | changes, reference, resource, now)
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
            if before is None and _is_order(resource):
                self._orders += 1
            for key in _keys(before) if before else []:
                self._matched.pop(key, None)  # a corrected СНИЛС no longer leads here
            self._matched.update(dict.fromkeys(_keys(resource), reference))
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
        """Tell the time in milliseconds, later than every earlier write, so that `_lastUpdated` orders them."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return now if now > self._last else self._last + timedelta(milliseconds=1)

    def _stored(self, resource: Resource, reference: str, before: Resource | None, now: datetime) -> Resource:
        """Give a resource its id, version, initial status and, over an older version, the identifiers it had."""
        kind, _, resource_id = reference.partition("/")
        version = int(before["meta"]["versionId"]) + 1 if before else 1
        stamp = {"versionId": str(version), "lastUpdated": now.isoformat(timespec="milliseconds")}
        # The real one reads back these statuses though no client sends them.
        status = {"Task": {"status": "requested"}, "ServiceRequest": {"status": "active"}}.get(kind, {})
        stored = status | resource | {"id": resource_id, "meta": resource.get("meta", {}) | stamp}
        if before and kind in ("Patient", "Practitioner", "Device"):
            replaced = {_issuer(identifier) for identifier in resource["identifier"]}
            kept = [i for i in before["identifier"] if _issuer(i) not in replaced]
            stored["identifier"] = resource["identifier"] + kept
        return stored

    def _accession_number(self, number: int) -> Resource:
        """Make the identifier that the bus adds to an order's Task."""
        coding = {"system": N3 + "122", "version": "1", "code": "ACSN"}
        return {"type": {"coding": [coding]}, "value": self._accession_format.format(number)}


def _is_order(resource: Resource) -> bool:
    """Tell whether a resource is the Task of an order, to which the bus gives an accession number."""
    return bool(resource["resourceType"] == "Task" and resource["intent"] == "original-order")


def _resolved(node: Any, targets: dict[str, str]) -> Any:
    """Copy a resource with each urn:uuid that is already known replaced by its "Type/id"."""
    if isinstance(node, dict):
        return {
            key: targets.get(value, value)
            if key in ("reference", "url") and isinstance(value, str)
            else _resolved(value, targets)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_resolved(item, targets) for item in node]
    return node


def _keys(resource: Resource) -> list[tuple[str, ...]]:
    """List the keys by which a resource is recognised as one that is already there, the surest first."""
    kind = resource["resourceType"]
    if kind == "PractitionerRole":
        concepts = [concept for name in ("code", "specialty") for concept in resource.get(name, [])]
        codes = [c["code"] for concept in concepts for c in concept.get("coding", [])]
        return [(kind, resource["practitioner"]["reference"], resource["organization"]["reference"], *codes)]
    systems = {"Patient": (SNILS, OWN_ID), "Practitioner": (SNILS, OWN_ID), "ImagingStudy": (DICOM_UID,)}
    identifiers = resource["identifier"] if kind == "Device" or kind in systems else []
    if kind in systems:
        identifiers = [i for system in systems[kind] for i in identifiers if i.get("system") == system]
    return [(kind, *_issuer(i), i["value"]) for i in identifiers]


def _issuer(identifier: Resource) -> tuple[str, str]:
    """Tell who gave an identifier: its system, and for own ids the system of the clinic."""
    assigner = identifier.get("assigner")
    display = assigner.get("display") if isinstance(assigner, dict) else None
    own = identifier.get("system") == OWN_ID
    return str(identifier.get("system")), str(display) if own else ""


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
