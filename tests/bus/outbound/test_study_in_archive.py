"""With `pacs.wait_for_images` the region is told of a study only while the archive has images of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.bus.outbound.delivery import DeliverySummary
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.studies.archive import ArchiveStudy
from broker.workflow.reading import reports
from broker.workflow.studies import archive_images
from tests.bus import clinic as clinics
from tests.bus.clinic import Clinic
from tests.bus.samples import PROFILE
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM

DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
WAITING = replace(CLINIC, waits_for_images=True, images_within=timedelta(minutes=60))


@pytest.fixture
def waiting(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Let the clinic, and its exchange, wait for images."""
    monkeypatch.setattr(clinics, "CLINIC", WAITING)
    monkeypatch.setattr(clinics, "PROFILE", replace(PROFILE, waits_for_images=True, images_url="https://p/{study}"))
    clinic.restarted()
    return clinic


def sign(clinic: Clinic, order: Order) -> None:
    clinic.store.write(reports.sign, order.id, 0, reports.ReportText(conclusion="Гонартроз"), DOCTOR, WAITING)


def archive(clinic: Clinic, order: Order) -> None:
    patient_id = order.patient.patient_id
    study = ArchiveStudy(order.study_instance_uid, order.accession_number, 2, "DX", "", patient_id, "")
    clinic.store.write(archive_images.record_answer, order.id, [study], SYSTEM, WAITING, settled=True)


def test_a_report_that_goes_before_its_images_names_no_study_and_the_images_bring_it(waiting: Clinic) -> None:
    order = waiting.register()
    waiting.perform(order)
    sign(waiting, order)
    assert waiting.deliver() == DeliverySummary(delivered=2)
    [report] = waiting.bus.resources("DiagnosticReport")
    assert "imagingStudy" not in report
    assert waiting.bus.resources("ImagingStudy") == waiting.bus.resources("Endpoint") == []
    archive(waiting, order)
    assert waiting.deliver() == DeliverySummary(delivered=1)
    [study] = waiting.bus.resources("ImagingStudy")
    assert (study["status"], study["numberOfInstances"], len(study["endpoint"])) == ("available", 2, 1)


def test_a_report_that_goes_after_its_images_names_their_study(waiting: Clinic) -> None:
    order = waiting.register()
    waiting.perform(order)
    archive(waiting, order)
    sign(waiting, order)
    assert waiting.deliver() == DeliverySummary(delivered=3)
    [study] = waiting.bus.resources("ImagingStudy")
    [*_, report] = waiting.bus.resources("DiagnosticReport")
    assert report["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]


def test_nothing_can_be_fetched_where_a_person_said_that_no_images_will_come(waiting: Clinic) -> None:
    order = waiting.register()
    waiting.perform(order)
    waiting.store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)
    sign(waiting, order)
    assert waiting.deliver() == DeliverySummary(delivered=3)
    [study] = waiting.bus.resources("ImagingStudy")  # the bus takes no partial report without one
    assert not {"numberOfInstances", "endpoint"} & set(study)
    assert waiting.bus.resources("Endpoint") == []
    [final] = [each for each in waiting.bus.resources("DiagnosticReport") if each["status"] == "final"]
    assert "imagingStudy" not in final
