"""Images that are made after a report was signed: the region learns of them once a doctor has looked at them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.outbound.results import appended_bundle
from broker.bus.transport.dialect import n3, r4
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.messages import IMAGES_NOT_SEEN, BusReferences
from broker.domain.orders import Order
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.queries import order_card
from broker.workflow import outbox as exchange
from broker.workflow.reading import reports
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.bus import samples
from tests.bus.clinic import ADMINISTRATOR, Clinic, numbers
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, message, performed

DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
TEXT = reports.ReportText(description="Щель сужена", conclusion="Гонартроз", effective_dose=0.01)


def reported(clinic: Clinic) -> Order:
    """Register, perform and report a study; the region has all of it."""
    order = clinic.register()
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=3)
    return order


def uphold(clinic: Clinic, order: Order) -> None:
    with clinic.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    clinic.store.write(reports.uphold, order.id, card.images, DOCTOR, CLINIC)


def queue(clinic: Clinic) -> list[tuple[str, str]]:
    return [(str(row.kind), str(row.state)) for row in clinic.rows()][3:]


def test_they_wait_for_the_doctor_where_people_see_it_and_go_with_the_report(clinic: Clinic) -> None:
    order = reported(clinic)
    clinic.perform(order, "1.2.3.5")
    assert queue(clinic) == [("appended", "needs_attention")]
    [line] = clinic.shown().needs_attention
    assert line.row.reason == IMAGES_NOT_SEEN
    with clinic.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    assert (card.attention_reason, card.appended) == (IMAGES_NOT_SEEN, False)
    assert clinic.deliver() == DeliverySummary()
    uphold(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert numbers(clinic.bus.tasks())[2:] == [
        f"{order.accession_number}/completed",
        f"{order.accession_number}/completed/2",
    ]
    [*_, again] = clinic.bus.resources("DiagnosticReport")
    assert again["status"] == "appended"
    [study] = clinic.bus.resources("ImagingStudy")
    assert study["numberOfInstances"] == 4
    assert again["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]
    with clinic.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    assert (card.attention_reason, card.appended) == ("", True)


def test_nobody_sends_them_past_the_doctor(clinic: Clinic) -> None:
    order = reported(clinic)
    clinic.perform(order, "1.2.3.5")
    clinic.store.write(exchange.resend, order.id, ADMINISTRATOR)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    assert clinic.rows()[-1].reason == IMAGES_NOT_SEEN
    assert len(clinic.bus.tasks()) == 3


def test_images_that_only_the_archive_tells_of_are_counted(clinic: Clinic) -> None:
    order = reported(clinic)
    study = ArchiveStudy(order.study_instance_uid, order.accession_number, 2, "DX", "", order.patient.patient_id, "")
    for images in (2, 5):
        found = [replace(study, images=images)]
        clinic.store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)
    uphold(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.bus.resources("ImagingStudy")[0]["numberOfInstances"] == 5


def test_a_study_of_its_own_number_is_told_too_and_each_time_anew(clinic: Clinic) -> None:
    order = reported(clinic)
    for uid, count in (("1.2.3.5", 2), ("1.2.3.6", 3)):
        clinic.perform(order, uid)
        uphold(clinic, order)
        assert clinic.deliver() == DeliverySummary(delivered=1)
        assert numbers(clinic.bus.tasks())[-1] == f"{order.accession_number}/completed/{count}"


@pytest.mark.slow
def test_a_lost_answer_makes_no_second_one(clinic: Clinic) -> None:
    order = reported(clinic)
    clinic.perform(order, "1.2.3.5")
    uphold(clinic, order)
    clinic.deliver_and_lose_the_answer()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 4


def test_images_that_come_before_the_report_is_sent_go_with_it(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    clinic.perform(order, "1.2.3.5")
    assert queue(clinic) == []
    assert clinic.deliver() == DeliverySummary(delivered=3)


@pytest.mark.parametrize("is_theirs", [True, False])
def test_nothing_is_sent_that_waits_while_it_is_asked_whose_further_images_are(clinic: Clinic, is_theirs: bool) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    step = performed("1.2.3.5", StepReference(order.study_instance_uid), patient_name="Попов^Степан")
    clinic.store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    ended = performed_steps.ChangeRequest(
        "1.2.3.5", PerformedChange(PerformedState.COMPLETED, images=2), message("end")
    )
    clinic.store.write(performed_steps.change, ended, XRAY, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=1)  # the referral
    assert clinic.bus.resources("DiagnosticReport") == clinic.bus.resources("ImagingStudy") == []
    if is_theirs:
        seen = Confirmation(order.patient, ("patient_name",))
        clinic.store.write(step_links.confirm_patient, "1.2.3.5", order.id, REGISTRAR, CLINIC, seen)
    else:
        clinic.store.write(step_links.unlink, "1.2.3.5", order.id, REGISTRAR, CLINIC)
        uphold(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    [study] = clinic.bus.resources("ImagingStudy")
    assert study["numberOfInstances"] == (4 if is_theirs else 2)


def test_images_that_are_taken_away_again_are_told_to_nobody(clinic: Clinic) -> None:
    order = reported(clinic)
    clinic.perform(order, "1.2.3.5")
    clinic.store.write(step_links.unlink, "1.2.3.5", order.id, REGISTRAR, CLINIC)
    assert queue(clinic) == [("appended", "dropped")]
    uphold(clinic, order)
    assert clinic.deliver() == DeliverySummary()


def test_images_that_stay_while_others_are_taken_away_are_told(clinic: Clinic) -> None:
    order = reported(clinic)
    clinic.perform(order, "1.2.3.5")
    clinic.store.write(step_links.unlink, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    assert queue(clinic) == [("appended", "dropped")]
    uphold(clinic, order)
    assert queue(clinic)[1:] == [("appended", "pending")]
    assert clinic.deliver() == DeliverySummary(delivered=1)


def test_a_bus_that_takes_corrections_replaces_the_report_and_the_study() -> None:
    known = BusReferences("t-1", "s-1", "p-1", extra={f"study/{samples.STUDY_UID}": "i-1"})
    bundle = appended_bundle(
        samples.order(),
        samples.report(),
        [samples.completed()],
        known,
        samples.PROFILE,
        b"%PDF",
        samples.AUTHORED,
        version=2,
        archived={},
    )
    requests = {entry["resource"]["resourceType"]: entry["request"] for entry in r4(bundle)["entry"]}
    assert requests["DiagnosticReport"]["method"] == requests["ImagingStudy"]["method"] == "PUT"
    assert requests["DiagnosticReport"]["url"].endswith("/completed")
    assert requests["Task"]["ifNoneExist"].endswith("/completed/2")
    assert n3(bundle)["entry"]


def hold(clinic: Clinic, order: Order, images: int) -> None:
    """Let the archive settle at a number of images."""
    study = ArchiveStudy(
        order.study_instance_uid, order.accession_number, images, "DX", "", order.patient.patient_id, ""
    )
    clinic.store.write(archive_images.record_answer, order.id, [study], SYSTEM, CLINIC, settled=True)


def test_the_report_corrects_the_count_that_the_images_went_with(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)  # the modality reports two
    clinic.deliver()
    assert [each["numberOfInstances"] for each in clinic.bus.resources("ImagingStudy")] == [2]
    hold(clinic, order, 5)
    assert clinic.deliver() == DeliverySummary()
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    [study] = clinic.bus.resources("ImagingStudy")
    assert study["numberOfInstances"] == 5
    [*_, final] = clinic.bus.resources("DiagnosticReport")
    assert final["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]


def test_images_that_the_archive_has_settled_at_go_with_its_count(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    hold(clinic, order, 5)
    clinic.deliver()
    assert [each["numberOfInstances"] for each in clinic.bus.resources("ImagingStudy")] == [5]


@pytest.mark.parametrize(("held_images", "kinds"), [(2, []), (1, []), (3, [("appended", "needs_attention")])])
def test_more_images_than_the_modality_has_reported_that_come_after_the_report_are_for_the_doctor_to_look_at(
    clinic: Clinic, held_images: int, kinds: list[tuple[str, str]]
) -> None:
    order = reported(clinic)  # about two
    hold(clinic, order, held_images)
    assert queue(clinic) == kinds
    if kinds:
        uphold(clinic, order)
        assert clinic.deliver() == DeliverySummary(delivered=1)
        assert [each["numberOfInstances"] for each in clinic.bus.resources("ImagingStudy")] == [held_images]
