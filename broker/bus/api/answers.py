"""The resources that a local МИС reads at our /fhir: the Task of an order, images and report as on the bus.

They are not stored but rendered from present data, by the code that renders for the region. Their ids are GUIDs that
encode the order's id, so that each resource can be read by itself. Reads only.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from broker.bus.fhir_server.records import resolve_references
from broker.bus.fhir_server.rules import Resource
from broker.bus.outbound.messages import MakePdf
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import Profile
from broker.bus.transport.dialect import STUDY, n3
from broker.domain.incoming import IncomingState
from broker.domain.messages import BusReferences
from broker.domain.orders import OrderState
from broker.store.database import Reader
from broker.store.tables import clients, orders
from broker.store.tables.clients import ClientOrder
from broker.store.tables.reading import reports
from broker.store.tables.studies import performed

IN_PROGRESS, COMPLETED = "in-progress", "completed"
_TASK_STATUSES = {IncomingState.DECLINED: "rejected", IncomingState.CANCELLED: "cancelled"}  # FHIR R4 task-status


def task_status(client_order: ClientOrder) -> str:
    """Return the status of an order's Task; results have Tasks of their own."""
    if client_order.order_state is OrderState.CANCELLED:
        return "cancelled"
    return _TASK_STATUSES.get(client_order.state, "requested")


def task_of(client_order: ClientOrder) -> Resource:
    """Return an order's Task in its present state."""
    task, status = client_order.content, task_status(client_order)
    numbered = [_with_number(each, client_order.accession_number) for each in task["identifier"]]
    if status == task["status"]:
        return task | {"identifier": numbered}
    meta = task["meta"] | {
        "versionId": str(int(task["meta"]["versionId"]) + 1),
        "lastUpdated": _written(max(client_order.state_at, client_order.updated_at)),
    }
    why = client_order.decline_reason
    reason = {"statusReason": {"text": why}} if why else {}
    return task | {"identifier": numbered, "status": status, "meta": meta} | reason


def results_of(client_order: ClientOrder, profile: Profile) -> list[Resource]:
    """Return the Tasks of an order's results, without the reports: enough for a search."""
    reached = ((IN_PROGRESS, client_order.images_at), (COMPLETED, client_order.report_at))
    task = client_order.content
    return [
        {
            "resourceType": "Task",
            "id": "",
            "identifier": [profile.number(f"{client_order.accession_number}/{status}")],
            "basedOn": [{"reference": f"Task/{client_order.task}"}],
            "intent": "reflex-order",
            "status": status,
            "requester": task["requester"],
            "owner": task["owner"],
            "meta": {"lastUpdated": _written(at)},
        }
        for status, at in reached
        if at is not None
    ]


def answer_resources(
    reader: Reader, client_order: ClientOrder, profile: Profile, make_pdf: MakePdf | None
) -> dict[str, Resource]:
    """Return all resources of an order's results: "Type/id" -> resource. Without `make_pdf` the document is empty."""
    order = orders.get(reader, client_order.order_id) if client_order.order_id else None
    if order is None or client_order.images_at is None:
        return {}
    task = client_order.content
    known = BusReferences(
        task=client_order.task,
        service_request=task["focus"]["reference"].rpartition("/")[2],
        patient=task["for"]["reference"].rpartition("/")[2],
        acsn=order.accession_number,
    )
    steps = performed.completed_of_order(reader, order.id)
    images = _as_stored_resources(
        n3(images_bundle(order, steps, known, profile, client_order.images_at)), order.id, client_order.images_at
    )
    signed = reports.signed_report(reader, order) if client_order.report_at else None
    if signed is None or client_order.report_at is None:
        return images
    report = signed.report
    studies = {_study_uid(each): each["id"] for each in images.values() if each["resourceType"] == "ImagingStudy"}
    known = replace(known, extra={f"{STUDY}{uid}": id for uid, id in studies.items()})
    pdf = make_pdf(signed) if make_pdf else b"%"  # not empty, so that the report refers to it
    signed_at = report.signed_at or client_order.report_at
    # A version stands in the place of the one before, under the same ids: it says by its status what it is.
    answer = report_bundle(order, report, steps, known, profile, pdf, signed_at, replaces=True)
    return images | _as_stored_resources(n3(answer), order.id, client_order.report_at, report.version)


def order_id_of(resource_id: str) -> int:
    """Return the id of the order that an id of these resources encodes; 0 if it is not such an id."""
    try:
        number = uuid.UUID(resource_id)
    except ValueError:
        return 0
    return number.int >> 80 if str(number) == resource_id and (number.int >> 76) & 0xF == 8 else 0


def client_order_of(reader: Reader, client: str, task: str) -> ClientOrder | None:
    """Return an order of a client by the id of its Task, with its present state."""
    return next(iter(clients.client_orders(reader, client, tasks=[task])), None)


def _id(order_id: int, full_url: str) -> str:
    """Return a GUID that encodes an order's id and a fullUrl (RFC 9562 5.8, version 8)."""
    mark = uuid.UUID(full_url.removeprefix("urn:uuid:")).int
    number = order_id << 80 | 8 << 76 | (mark >> 64 & 0xFFF) << 64 | 0b10 << 62 | mark & (1 << 62) - 1
    return str(uuid.UUID(int=number))


def _as_stored_resources(bundle: Resource, order_id: int, at: datetime, version: int = 1) -> dict[str, Resource]:
    """Return the resources of a transaction as if they were stored at an instant in a version, with our ids."""
    targets = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{_id(order_id, entry['fullUrl'])}"
        for entry in bundle["entry"]
    }
    stamp = {"versionId": str(version), "lastUpdated": _written(at)}
    placed: dict[str, Resource] = {}
    for entry in bundle["entry"]:
        reference, resource = targets[entry["fullUrl"]], resolve_references(entry["resource"], targets)
        named = {"id": reference.rpartition("/")[2], "meta": resource.get("meta", {}) | stamp}
        placed[reference] = resource | named
    return placed


def _with_number(identifier: Resource, accession_number: str) -> Resource:
    """Return an identifier with the order's present accession number, if it is one that we issued."""
    codings = identifier.get("type", {}).get("coding", [])
    promised = "system" not in identifier and any(coding.get("code") == "ACSN" for coding in codings)
    return identifier | {"value": accession_number} if promised and accession_number else identifier


def _study_uid(study: dict[str, Any]) -> str:
    [uid] = [str(each["value"]) for each in study["identifier"] if each.get("system") == "urn:dicom:uid"]
    return uid.removeprefix("urn:oid:")


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
