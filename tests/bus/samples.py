"""Orders and performed steps for the tests of the exchange, without a database. Nobody here exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.practice import PRACTICE_ORGANISATION
from broker.bus.profile import Profile
from broker.domain.orders import Order, OrderState, ScheduledStep
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.performed import PerformedState
from tests.support import factory
from tests.support.clock import ZONE

MIS = "1.2.643.2.69.1.2.900"
ORGANISATION = {"reference": f"Organization/{PRACTICE_ORGANISATION}"}
AUTHORED = datetime(2026, 11, 24, 6, 0, 30, tzinfo=UTC)
STUDY_UID = "1.2.643.5.1.13.13.12.2.99.1"
PROFILE = Profile(
    organisation=PRACTICE_ORGANISATION,
    mis_oid=MIS,
    zone=ZONE,
    versions={"1.2.643.5.1.13.13.11.1471": "2.1"},
    positions={"терапевт": ("109", "27")},
)


def order(**changes: Any) -> Order:
    """Make an order with everything that an order can have."""
    full = Order(
        id=1,
        accession_number="K2611-0001",
        study_instance_uid=STUDY_UID,
        requested_procedure_id="RP1",
        patient=replace(factory.KUZNETSOVA, id=1, patient_id="000017", insurer="78007", weight=70.5, height=165.0),
        state=OrderState.SCHEDULED,
        procedure_code="7003087",
        procedure_name="Рентгенография коленного сустава",
        procedure_local=False,
        modality="DX",
        body_site="25",
        laterality="R",
        steps=(ScheduledStep(datetime(2026, 11, 24, 9, 30), ("XRAY_14",), "SPS1", id=1),),
        authored_on=AUTHORED,
        referrer=PersonName("Зимин", "Андрей", "Павлович"),
        referrer_snils="08765430300",
        referrer_position="Терапевт",
        diagnosis_code="M17.1",
        diagnosis_text="Первичный гонартроз",
        comment="Упал на лёд",
    )
    return replace(full, **changes)


def bare_order() -> Order:
    """Make an order with nothing that may be left out."""
    return order(
        patient=replace(factory.KUZNETSOVA, id=1, patient_id="000017", snils="", policy=""),
        procedure_code="WLB-KNEE",
        procedure_local=True,
        body_site="",
        laterality="",
        referrer=PersonName(""),
        referrer_snils="",
        referrer_position="",
        diagnosis_code="",
        diagnosis_text="",
        comment="",
    )


def report(**changes: Any) -> Report:
    """Make a signed report with everything that a report can have."""
    full = Report(
        order_id=1,
        description="Костных травматических изменений не выявлено.\nСуставная щель сужена.",
        conclusion="Артроз II ст.",
        recommendations="Консультация травматолога",
        effective_dose=0.12,
        state=ReportState.SIGNED,
        author="rentgen",
        author_name=PersonName("Лучинин", "Олег", "Игоревич"),
        author_snils="11223344595",
        author_position="Врач-рентгенолог",
        signed_at=datetime(2026, 11, 24, 7, 10, tzinfo=UTC),
        revision=2,
        id=1,
    )
    return replace(full, **changes)


def completed(uid: str = "1.2.3.4", *references: Any, **changes: Any) -> Any:
    """Make a completed step with two images."""
    base = factory.performed(
        uid, *references, state=PerformedState.COMPLETED, images=2, start=datetime(2026, 11, 24, 9, 41, 7)
    )
    return replace(base, **changes)


def of(bundle: Resource, resource_type: str) -> list[Resource]:
    """Take the resources of one type out of a Bundle, without the numbers that only serve to find them again."""
    found = (entry["resource"] for entry in bundle["entry"])
    return [_reported(resource) for resource in found if resource["resourceType"] == resource_type]


def _reported(resource: Resource) -> Resource:
    reported = [one for one in resource.get("identifier", []) if one.get("use") != "secondary"]
    bare = {name: value for name, value in resource.items() if name != "identifier"}
    return bare | ({"identifier": reported} if reported else {})


def url_of(bundle: Resource, resource_type: str) -> Resource:
    """Return a Reference to the only entry of a type."""
    [url] = [entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == resource_type]
    return {"reference": url}
