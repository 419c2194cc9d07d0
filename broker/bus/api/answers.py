"""What a local МИС reads of its orders at our /fhir: the Task in its present state, images and report as on the bus.

Nothing of it is stored: it is rendered from present data, by the code that renders for the region, at each reading. The
ids are GUIDs in which the order's id is encoded, so that each resource can be read by itself. Nothing is changed here.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from broker.bus.fhir_server.records import resolved
from broker.bus.fhir_server.rules import Resource
from broker.bus.outbound.messages import MakePdf
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import Profile
from broker.bus.transport.dialect import STUDY, n3
from broker.domain.incoming import IncomingState
from broker.domain.messages import BusReferences
from broker.domain.orders import OrderState
from broker.store.database import Reader
from broker.store.tables import clients, orders, performed, reports
from broker.store.tables.clients import ClientOrder

IN_PROGRESS, COMPLETED = "in-progress", "completed"
_TASK_STATUSES = {IncomingState.DECLINED: "rejected", IncomingState.CANCELLED: "cancelled"}  # FHIR R4 task-status


def status_of(standing: ClientOrder) -> str:
    """Return the status of an order's own Task; results have Tasks of their own."""
    if standing.order_state is OrderState.CANCELLED:
        return "cancelled"
    return _TASK_STATUSES.get(standing.state, "requested")


def task_of(standing: ClientOrder) -> Resource:
    """Return an order's own Task in its present state."""
    task, status = standing.content, status_of(standing)
    numbered = [_with_number(each, standing.accession_number) for each in task["identifier"]]
    if status == task["status"]:
        return task | {"identifier": numbered}
    meta = task["meta"] | {
        "versionId": str(int(task["meta"]["versionId"]) + 1),
        "lastUpdated": _written(max(standing.state_at, standing.updated_at)),
    }
    return task | {"identifier": numbered, "status": status, "meta": meta}


def results_of(standing: ClientOrder, profile: Profile) -> list[Resource]:
    """Return the Tasks that answer an order, without what they are focused on: enough to find them by a search."""
    reached = ((IN_PROGRESS, standing.images_at), (COMPLETED, standing.report_at))
    task = standing.content
    return [
        {
            "resourceType": "Task",
            "id": "",
            "identifier": [profile.number(f"{standing.accession_number}/{status}")],
            "basedOn": [{"reference": f"Task/{standing.task}"}],
            "intent": "reflex-order",
            "status": status,
            "requester": task["requester"],
            "owner": task["owner"],
            "meta": {"lastUpdated": _written(at)},
        }
        for status, at in reached
        if at is not None
    ]


def made_for(reader: Reader, standing: ClientOrder, profile: Profile, make_pdf: MakePdf | None) -> dict[str, Resource]:
    """Make everything that answers an order: "Type/id" -> resource. Without `make_pdf` the document stays empty."""
    order = orders.get(reader, standing.order_id) if standing.order_id else None
    if order is None or standing.images_at is None:
        return {}
    task = standing.content
    known = BusReferences(
        task=standing.task,
        service_request=task["focus"]["reference"].rpartition("/")[2],
        patient=task["for"]["reference"].rpartition("/")[2],
        acsn=order.accession_number,
    )
    steps = performed.completed_of_order(reader, order.id)
    images = _placed(n3(images_bundle(order, steps, known, profile, standing.images_at)), order.id, standing.images_at)
    signed = reports.signed_report(reader, order) if standing.report_at else None
    if signed is None or standing.report_at is None:
        return images
    report = signed.report
    studies = {_study_uid(each): each["id"] for each in images.values() if each["resourceType"] == "ImagingStudy"}
    known = replace(known, extra={f"{STUDY}{uid}": id for uid, id in studies.items()})
    pdf = make_pdf(signed) if make_pdf else b"%"  # not empty, so that it is referred to
    answer = report_bundle(order, report, steps, known, profile, pdf, report.signed_at or standing.report_at)
    return images | _placed(n3(answer), order.id, standing.report_at)


def order_of(resource_id: str) -> int:
    """Return which order an id of something made here belongs to; 0 where it is none of these ids."""
    try:
        number = uuid.UUID(resource_id)
    except ValueError:
        return 0
    return number.int >> 80 if str(number) == resource_id and (number.int >> 76) & 0xF == 8 else 0


def standing_of(reader: Reader, client: str, task: str) -> ClientOrder | None:
    """Return an order of a client by the id of its Task, with its present state."""
    return next(iter(clients.client_orders(reader, client, tasks=[task])), None)


def _id(order_id: int, full_url: str) -> str:
    """Return a GUID made of an order's id and of what distinguishes its resources (RFC 9562 5.8, version 8)."""
    mark = uuid.UUID(full_url.removeprefix("urn:uuid:")).int
    number = order_id << 80 | 8 << 76 | (mark >> 64 & 0xFFF) << 64 | 0b10 << 62 | mark & (1 << 62) - 1
    return str(uuid.UUID(int=number))


def _placed(bundle: Resource, order_id: int, at: datetime) -> dict[str, Resource]:
    """Return the resources of a transaction as if they were stored: with ids of ours, at an instant."""
    targets = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{_id(order_id, entry['fullUrl'])}"
        for entry in bundle["entry"]
    }
    stamp = {"versionId": "1", "lastUpdated": _written(at)}
    placed: dict[str, Resource] = {}
    for entry in bundle["entry"]:
        reference, resource = targets[entry["fullUrl"]], resolved(entry["resource"], targets)
        named = {"id": reference.rpartition("/")[2], "meta": resource.get("meta", {}) | stamp}
        placed[reference] = resource | named
    return placed


def _with_number(identifier: Resource, accession_number: str) -> Resource:
    """Return the order's present number in place of the one that was promised, should they ever differ."""
    codings = identifier.get("type", {}).get("coding", [])
    promised = "system" not in identifier and any(coding.get("code") == "ACSN" for coding in codings)
    return identifier | {"value": accession_number} if promised and accession_number else identifier


def _study_uid(study: dict[str, Any]) -> str:
    [uid] = [str(each["value"]) for each in study["identifier"] if each.get("system") == "urn:dicom:uid"]
    return uid.removeprefix("urn:oid:")


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
