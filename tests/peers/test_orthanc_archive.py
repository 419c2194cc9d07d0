"""Orthanc as the archive: its images close the orders of a device that reports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.dicom.scu.archive import STABLE, Archive, ArchiveAddress
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import PersonName
from broker.domain.studies.archive import DiscrepancyKind
from broker.domain.studies.performed import StepSource
from broker.store.database import Store
from broker.store.queries import order_card, schedule
from broker.store.queries.studies import unreferred_studies
from broker.store.tables import devices, orders, outbox
from broker.store.tables.studies import archive as archive_table
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, step_links
from tests.peers import orthanc
from tests.support.clock import Seconds
from tests.support.factory import CLINIC, DEVICES, KUZNETSOVA, REGISTRAR, draft
from tests.support.modality import change, create, creation, ending, scheduled

pytestmark = pytest.mark.slow  # every test starts an Orthanc


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with orthanc.orthanc(tmp_path) as listening:
        yield listening


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def archive(store: Store, port: int, clock: Seconds) -> Archive:
    return Archive(store, CLINIC, ArchiveAddress("ORTHANC", "127.0.0.1", port), "WORKLIST", clock)


def register(store: Store, **changes: object) -> Order:
    return store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)


def send(port: int, order: Order, directory: Path, **changes: str) -> None:
    """Store one image of an order as a device would."""
    image = {
        "PatientName": "Кузнецова^Марина^Петровна",
        "PatientID": order.patient.patient_id,
        "PatientBirthDate": "19610312",
        "StudyInstanceUID": order.study_instance_uid,
        "AccessionNumber": order.accession_number,
        "StudyDate": f"{order.steps[0].start:%Y%m%d}",
        "StudyTime": f"{order.steps[0].start:%H%M%S}",
    }
    orthanc.store_image(port, directory, **(image | changes))


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        [found] = orders.get_many(reader, [order.id])
    return found


def told(store: Store, order: Order) -> bool:
    with store.read() as reader:
        return outbox.has(reader, order.id, OutboxKind.IMAGES)


def test_images_that_have_stopped_coming_complete_an_order_and_the_region_learns(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    made, waiting = register(store), register(store)
    assert archive.look() == 0
    send(port, made, tmp_path)
    assert archive.look() == 0  # more may come
    send(port, made, tmp_path)
    clock.now += STABLE
    assert archive.look() == 0  # more has come
    clock.now += STABLE
    assert archive.look() == 1
    assert (now(store, made).state, now(store, waiting).state) == (OrderState.COMPLETED, OrderState.SCHEDULED)
    assert (told(store, made), told(store, waiting)) == (True, False)
    with store.read() as reader:
        card = order_card.card(reader, made.accession_number)
    assert card is not None
    [step] = card.performed
    assert (step.images, step.source, step.modality) == (2, StepSource.ARCHIVE, "CR")


def test_a_study_with_a_uid_of_the_devices_own_is_found_by_the_accession_number_and_waits_for_a_person(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path, StudyInstanceUID="1.2.3.99")
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert doubts(store, order) == [(DiscrepancyKind.OWN_UID, order.patient.patient_id)]
    store.write(lambda tx: devices.put(tx, replace(DEVICES[0], own_study_uids=True)))
    assert archive.look() == 1
    assert doubts(store, order) == []
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
        [reference] = performed.references(reader, step.stored_id)
    assert reference.study_instance_uid == "1.2.3.99"


def test_a_study_with_a_uid_that_its_device_has_reported_is_the_orders(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    item = scheduled("1.2.3.99", AccessionNumber=order.accession_number)
    create(store, creation(ScheduledStepAttributesSequence=[item]))
    change(store, ending())
    send(port, order, tmp_path, StudyInstanceUID="1.2.3.99", AccessionNumber="")
    archive.look()
    clock.now += STABLE
    archive.look()
    assert doubts(store, order) == []
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == ("1.2.3.99", 1)


def test_the_sex_is_compared_where_the_archive_has_it(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path, PatientSex="M")
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert doubts(store, order) == [(DiscrepancyKind.OTHER_PATIENT, order.patient.patient_id)]


def test_two_studies_with_one_number_wait_for_a_person(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    for uid in ("1.2.3.98", "1.2.3.99"):
        send(port, order, tmp_path, StudyInstanceUID=uid)
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert [kind for kind, _ in doubts(store, order)] == [DiscrepancyKind.SEVERAL_STUDIES] * 2
    assert now(store, order).state is OrderState.SCHEDULED


def test_images_go_on_being_counted_after_closing_and_reports_are_none(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path)
    send(port, order, tmp_path, Modality="KO")
    send(port, order, tmp_path, Modality="SR")
    archive.look()
    clock.now += STABLE
    assert archive.look() == 1
    assert held(store, order) == 1
    send(port, order, tmp_path)
    archive.look()
    assert held(store, order) == 1  # more may come
    clock.now += STABLE
    archive.look()
    assert held(store, order) == 2


def test_a_study_without_a_number_is_offered_to_the_referral_that_is_written_after_it(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    model = register(store)
    store.write(referrals.cancel, model.id, model.revision, "образец для снимка", REGISTRAR, CLINIC)
    send(port, model, tmp_path, StudyInstanceUID="1.2.3.99", AccessionNumber="", PatientSex="F")
    send(port, model, tmp_path, StudyInstanceUID="1.2.3.98", AccessionNumber="", PatientName="Zuev^Petr", PatientID="7")
    assert archive.ask_now() is True
    order = register(store)
    with store.read() as reader:
        found = {each.unreferred.study.study_instance_uid: each for each in unreferred_studies.open_studies(reader)}
    assert {uid: [order.id for order in each.candidates] for uid, each in found.items()} == {
        "1.2.3.99": [order.id],
        "1.2.3.98": [],
    }
    id, seen = found["1.2.3.99"].unreferred.id, Confirmation(order.patient)
    store.write(archive_images.link_unreferred, id, order.id, REGISTRAR, CLINIC, seen)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)
    send(port, order, tmp_path, StudyInstanceUID="1.2.3.99", AccessionNumber="")
    archive.look()
    clock.now += STABLE
    archive.look()
    assert held(store, order) == 2


def held(store: Store, order: Order) -> int | None:
    with store.read() as reader:
        holding = archive_table.holding(reader, order.id)
    assert holding is not None
    return holding.images


def open_discrepancies(store: Store) -> list[int]:
    with store.read() as reader:
        return [row["id"] for row in reader.rows("SELECT id FROM archive_discrepancy WHERE state = 'open'")]


def doubts(store: Store, order: Order) -> list[tuple[DiscrepancyKind, str]]:
    with store.read() as reader:
        return [(each.kind, each.study.patient_id) for each in archive_table.of_order(reader, order.id)]


def test_images_of_another_patient_close_nothing_and_are_told_to_nobody(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store, patient=replace(KUZNETSOVA, name=PersonName("Петров", "Пётр"), snils="", policy=""))
    send(port, order, tmp_path)
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert now(store, order).state is OrderState.SCHEDULED
    assert not told(store, order)
    assert doubts(store, order) == [(DiscrepancyKind.OTHER_PATIENT, order.patient.patient_id)]


def test_a_study_uid_that_lies_under_two_patients_is_taken_from_the_one_that_fits(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path)
    send(port, order, tmp_path, PatientID="WRONG", PatientName="Попов^Олег")
    archive.look()
    clock.now += STABLE
    assert archive.look() == 1
    assert doubts(store, order) == [(DiscrepancyKind.SEVERAL_PATIENTS, "WRONG")]
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert step.images == 1


def test_a_study_with_another_accession_number_waits_for_a_person(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path, AccessionNumber="9999-0001")
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert doubts(store, order) == [(DiscrepancyKind.OTHER_NUMBER, order.patient.patient_id)]
    [waiting] = open_discrepancies(store)
    store.write(archive_images.accept, waiting, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)


def test_what_an_archive_loses_of_cyrillic_is_no_evidence(store: Store, clock: Seconds, tmp_path: Path) -> None:
    order = register(store, patient=replace(KUZNETSOVA, patient_id="К-17"))
    somebody = replace(KUZNETSOVA, name=PersonName("Петрова", "Анна"), snils="", policy="", patient_id="17")
    plain = register(store, patient=somebody)
    with orthanc.orthanc(tmp_path, "Latin1") as listening:
        archive = Archive(store, CLINIC, ArchiveAddress("ORTHANC", "127.0.0.1", listening), "WORKLIST", clock)
        send(listening, order, tmp_path)
        send(listening, plain, tmp_path, PatientName="Петрова^Анна")
        archive.look()
        clock.now += STABLE
        assert archive.look() == 1
    assert now(store, plain).state is OrderState.COMPLETED  # its Patient ID says enough
    assert doubts(store, order) == [(DiscrepancyKind.UNREADABLE, "-17")]


def test_what_a_person_took_off_is_not_put_back(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path)
    archive.look()
    clock.now += STABLE
    archive.look()
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    archive.look()
    clock.now += STABLE
    assert archive.look() == 0
    assert now(store, order).state is OrderState.SCHEDULED


def test_a_devices_own_word_takes_the_archives_place(
    store: Store, archive: Archive, port: int, clock: Seconds, tmp_path: Path
) -> None:
    order = register(store)
    send(port, order, tmp_path)
    archive.look()
    clock.now += STABLE
    archive.look()
    create(store, creation(order.study_instance_uid))
    assert now(store, order).state is OrderState.IN_PROGRESS
    change(store, ending())
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.sop_instance_uid, step.source) == ("1.2.3", StepSource.MODALITY)
    assert now(store, order).state is OrderState.COMPLETED


def test_an_archive_that_is_down_costs_nothing(store: Store) -> None:
    register(store)
    nobody = Archive(store, CLINIC, ArchiveAddress("NOBODY", "127.0.0.1", 9), "WORKLIST")
    assert nobody.look() == 0
