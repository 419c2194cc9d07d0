"""Studies of the archive without a referral: found, offered by patient and date, linked by a person only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import PersonName, Sex
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind, DiscrepancyState
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference, StepSource
from broker.store.database import Store
from broker.store.queries.studies import archive_gaps, unreferred_studies
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from broker.store.tables import devices, orders, outbox
from broker.store.tables.studies import archive
from broker.store.tables.studies import performed as performed_table
from broker.workflow import patient_merge
from broker.workflow.referrals import referrals, worklist_files
from broker.workflow.referrals import unreferred_studies as workflow
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.support import factory
from tests.support.clock import TODAY, Clock, local
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, XRAY, draft, message, performed
from tests.workflow.referrals.test_worklist_files import item

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
LATE = ArchiveStudy(
    "1.2.3.99", "", 2, "DX", "Кузнецова^Марина^Петровна", "", "19610312", local("09:15"), patient_sex="F"
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock)
    yield opened
    opened.close()


def record(store: Store, *found: ArchiveStudy, on: date = TODAY) -> None:
    store.write(workflow.record_day, on, found, SYSTEM)


def shown(store: Store) -> list[OfferedStudy]:
    with store.read() as reader:
        return list(unreferred_studies.open_studies(reader))


def register(store: Store, **changes: object) -> Order:
    return store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        return orders.require(reader, order.id)


def link(store: Store, study: OfferedStudy, order: Order, *fields: str) -> None:
    seen = Confirmation(order.patient, fields)
    store.write(archive_images.link_unreferred, study.unreferred.id, order.id, REGISTRAR, CLINIC, seen)


def answer(store: Store, order: Order, *found: ArchiveStudy) -> None:
    store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)


def test_a_study_that_was_there_before_its_referral_is_offered_by_patient_and_date_and_linked_by_a_person(
    store: Store,
) -> None:
    record(store, LATE)
    assert [each.candidates for each in shown(store)] == [()]
    order = register(store)
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [order.id]
    assert now(store, order).state is OrderState.SCHEDULED  # offered, not linked
    link(store, found, order)
    assert now(store, order).state is OrderState.COMPLETED
    assert shown(store) == []
    with store.read() as reader:
        assert outbox.has(reader, order.id, OutboxKind.IMAGES)
        assert archive.is_disputed(reader, order.id) is False
    answer(store, order, replace(LATE, images=6))  # and its images are counted from then on
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == ("1.2.3.99", 6)
    record(store, LATE)
    assert shown(store) == []


def test_a_link_that_was_taken_back_lets_the_order_wait_and_the_study_be_offered_again(store: Store) -> None:
    record(store, LATE)
    order = register(store)
    link(store, shown(store)[0], order)
    with store.read() as reader:
        [decided] = archive_gaps.gaps(reader, store.clock(), None).decided
    assert decided.discrepancy.state is DiscrepancyState.ACCEPTED
    store.write(archive_images.reconsider, decided.discrepancy.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    answer(store, order)  # nothing bears its numbers
    record(store, LATE)
    assert [each.candidates[0].id for each in shown(store)] == [order.id]


def test_a_study_that_was_unlinked_is_not_offered_as_the_same_orders(store: Store) -> None:
    record(store, LATE)
    order = register(store)
    link(store, shown(store)[0], order)
    with store.read() as reader:
        uid = reader.value("SELECT sop_instance_uid FROM performed_step")
    store.write(step_links.unlink, uid, order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    record(store, LATE)
    assert [each.candidates for each in shown(store)] == [()]
    answer(store, order)
    assert now(store, order).state is OrderState.SCHEDULED


@pytest.mark.parametrize("reported_later", [False, True])
def test_unlinking_a_wrong_step_leaves_a_study_that_a_person_has_chosen_the_order_for(
    store: Store, reported_later: bool
) -> None:
    order = register(store)
    record(store, LATE)
    [found] = shown(store)

    def report() -> None:
        store.write(performed_steps.start, performed("1.2", patient_name=LATE.patient_name), message("1"), XRAY, CLINIC)
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", done, message("2")), XRAY, CLINIC)
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)

    if not reported_later:
        report()
    link(store, found, order)
    if reported_later:
        report()
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    with store.read() as reader:
        assert list(archive.decided(reader, order.id).values()) == [DiscrepancyState.ACCEPTED]
        [step] = performed_table.completed_of_order(reader, order.id)
    assert step.source is StepSource.ARCHIVE
    answer(store, order, LATE)
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
        assert archive.of_order(reader, order.id) == []
    assert holding is not None
    assert (holding.study_instance_uid, holding.images) == (LATE.study_instance_uid, 2)
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    answer(store, order, LATE)
    assert now(store, order).state is OrderState.SCHEDULED


def test_images_that_had_closed_an_order_and_were_unlinked_are_not_lost(store: Store) -> None:
    order, theirs = register(store), register(store, comment="другое")
    made = replace(LATE, study_instance_uid=order.study_instance_uid, patient_id=order.patient.patient_id)
    answer(store, order, made)
    record(store, made)
    assert now(store, order).state is OrderState.COMPLETED
    assert shown(store) == []
    with store.read() as reader:
        uid = reader.value("SELECT sop_instance_uid FROM performed_step")
    store.write(step_links.unlink, uid, order.id, REGISTRAR, CLINIC)
    answer(store, order, made)
    record(store, made)
    assert now(store, order).state is OrderState.SCHEDULED  # it is not put back
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [theirs.id]
    link(store, found, theirs)
    assert now(store, theirs).state is OrderState.COMPLETED
    answer(store, order, made)
    assert now(store, order).state is OrderState.SCHEDULED


KNOWN = {
    "an order's own": lambda order: replace(LATE, study_instance_uid=order.study_instance_uid),
    "with an order's number": lambda order: replace(LATE, accession_number=order.accession_number),
    "of a device of another clinic": lambda order: replace(LATE, modality="XA"),
    "without images": lambda order: replace(LATE, images=0),
    "without a UID": lambda order: replace(LATE, study_instance_uid=""),
}


@pytest.mark.parametrize("how", KNOWN)
def test_what_is_no_study_of_ours_without_an_order_is_not_shown(store: Store, how: str) -> None:
    record(store, KNOWN[how](register(store)))
    assert shown(store) == []


def test_a_study_that_a_device_reported_without_an_order_stands_on_the_board_and_not_here_too(store: Store) -> None:
    record(store, LATE)
    step = performed("1.2", StepReference("1.2.3.99"))
    store.write(performed_steps.start, step, message("1"), XRAY, CLINIC)
    assert shown(store) == []


def test_a_study_is_forgotten_when_its_order_is_registered_under_its_number(store: Store) -> None:
    record(store, replace(LATE, accession_number="K2611-0001"))
    assert len(shown(store)) == 1
    order = register(store)
    assert order.accession_number == "K2611-0001"
    assert shown(store) == []


def test_what_the_archive_corrected_or_deleted_is_forgotten(store: Store, clock: Clock) -> None:
    record(store, LATE, replace(LATE, study_instance_uid="1.2.3.98"))
    assert len(shown(store)) == 2
    record(store, replace(LATE, images=5))
    assert [each.unreferred.study.images for each in shown(store)] == [5]
    record(store, on=TODAY - timedelta(days=1))  # another day tells nothing of this one
    assert len(shown(store)) == 1
    clock.advance(days=15)
    record(store, on=TODAY + timedelta(days=15))
    assert shown(store) == []


def test_nobody_is_told_of_what_has_not_changed(store: Store) -> None:
    record(store, LATE)
    revision = store.revision()
    record(store, LATE)
    assert store.revision() == revision


OTHER = replace(KUZNETSOVA, name=PersonName("Попова", "Ольга"), snils="", policy="")
UNLIKELY: dict[str, dict[str, object]] = {
    "another person with the same birth date": {"patient": OTHER},
    "the twin brother": {"patient": replace(KUZNETSOVA, sex=Sex.MALE, snils="", policy="")},
    "a visit of weeks later": {"start": local("09:15", TODAY + timedelta(days=20))},
}


@pytest.mark.parametrize("how", UNLIKELY)
def test_an_order_that_does_not_fit_by_patient_and_date_is_not_offered(store: Store, how: str) -> None:
    register(store, **UNLIKELY[how])
    record(store, LATE)
    assert [each.candidates for each in shown(store)] == [()]


def test_a_cancelled_order_and_one_with_images_are_not_offered(store: Store) -> None:
    cancelled, made = register(store), register(store, comment="другое")
    store.write(referrals.cancel, cancelled.id, cancelled.revision, "ошибка", REGISTRAR, CLINIC)
    ours = replace(LATE, study_instance_uid=made.study_instance_uid, patient_id=made.patient.patient_id)
    answer(store, made, ours)
    assert now(store, made).state is OrderState.COMPLETED
    record(store, LATE)
    assert [each.candidates for each in shown(store)] == [()]


def test_an_order_whose_images_went_elsewhere_is_offered(store: Store) -> None:
    order = register(store)
    step = performed("1.2", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, message("1"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", done, message("2")), XRAY, CLINIC)
    answer(store, order)
    record(store, LATE)
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [order.id]
    link(store, found, order)
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert holding.images == 2


@pytest.mark.parametrize("by", ["uid", "number"])
def test_a_study_that_was_made_for_a_cancelled_order_is_not_lost(store: Store, by: str) -> None:
    order = register(store)
    made = {"study_instance_uid": order.study_instance_uid} if by == "uid" else {}
    made |= {"accession_number": order.accession_number} if by == "number" else {}
    record(store, replace(LATE, **made))  # type: ignore[arg-type]
    assert shown(store) == []
    store.write(referrals.cancel, order.id, order.revision, "ошибка", REGISTRAR, CLINIC)
    record(store, replace(LATE, **made))  # type: ignore[arg-type]
    [found] = shown(store)
    assert (found.candidates, found.cancelled) == ((), order.accession_number)
    again = register(store, comment="снова")
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [again.id]
    link(store, found, again)
    assert now(store, again).state is OrderState.COMPLETED
    answer(store, again, replace(LATE, **made, images=4))  # type: ignore[arg-type]
    with store.read() as reader:
        holding = archive.holding(reader, again.id)
    assert holding is not None
    assert holding.images == 4


def test_images_that_were_made_under_another_patients_entry_are_offered_to_their_own_order(store: Store) -> None:
    mine, theirs = register(store, patient=OTHER), register(store)
    made = replace(LATE, study_instance_uid=mine.study_instance_uid, accession_number=mine.accession_number)
    record(store, made)
    answer(store, mine, made)
    assert shown(store) == []  # it is compared with the order whose entry was chosen
    with store.read() as reader:
        [doubt] = archive_gaps.open_studies(reader)
    store.write(archive_images.dismiss, doubt.discrepancy.id, REGISTRAR, CLINIC)
    record(store, made)
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [theirs.id]
    link(store, found, theirs)
    for order in (mine, theirs):
        answer(store, order, made)
    assert (now(store, mine).state, now(store, theirs).state) == (OrderState.SCHEDULED, OrderState.COMPLETED)
    with store.read() as reader:
        assert archive_gaps.open_studies(reader) == ()
    assert shown(store) == []


def test_what_was_called_none_of_an_orders_is_not_asked_about_again_where_no_other_order_fits(store: Store) -> None:
    order = register(store, patient=OTHER)
    made = replace(LATE, study_instance_uid=order.study_instance_uid)
    answer(store, order, made)
    with store.read() as reader:
        [doubt] = archive_gaps.open_studies(reader)
    store.write(archive_images.dismiss, doubt.discrepancy.id, REGISTRAR, CLINIC)
    record(store, made)
    assert shown(store) == []


def test_the_likeliest_order_comes_first(store: Store) -> None:
    breast = register(
        store, procedure_code="WLB-MMG4", station_ae_titles=("MAMMO_9",), laterality="", start=local("09:50")
    )
    later = register(store, comment="позже", start=local("12:00"))
    soon = register(store, comment="сейчас", start=local("09:50"))
    record(store, LATE)
    assert [each.id for each in shown(store)[0].candidates] == [soon.id, later.id, breast.id]


def test_a_name_in_latin_and_a_merged_card_are_known_again(store: Store) -> None:
    order = register(store)
    former = replace(KUZNETSOVA, name=PersonName("Иванова", "Марина", "Петровна"), snils="", policy="")
    other = register(store, patient=former, comment="другое")
    ids = order.patient.stored_id, other.patient.stored_id
    store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC)
    latin = replace(LATE, patient_name="KUZNETSOVA^MARINA", study_instance_uid="1.2.3.1")
    merged = replace(
        LATE, patient_name="Иванова^Марина", patient_id=other.patient.patient_id, study_instance_uid="1.2.3.2"
    )
    record(store, latin, merged)
    assert [{each.id for each in found.candidates} for found in shown(store)] == [{order.id, other.id}] * 2


def test_a_study_under_a_card_that_was_merged_over_another_one_is_offered(store: Store) -> None:
    nobody = replace(KUZNETSOVA, snils="", policy="")
    first = register(store, patient=replace(nobody, name=PersonName("Иванова", "Марина", "Петровна")))
    second = register(store, patient=replace(nobody, name=PersonName("Петрова", "Марина", "Петровна")))
    order = register(store)
    one, two, last = (each.patient.stored_id for each in (first, second, order))
    store.write(patient_merge.merge, two, one, (), (1, 1), REGISTRAR, CLINIC)
    with store.read() as reader:
        revisions = tuple(reader.value("SELECT revision FROM patient WHERE id = ?", [id]) for id in (last, two))
    store.write(patient_merge.merge, last, two, (), revisions, REGISTRAR, CLINIC)
    record(store, replace(LATE, patient_id=first.patient.patient_id, birth_date="", patient_name="Иванова^Марина"))
    [found] = shown(store)
    assert {each.id for each in found.candidates} == {first.id, second.id, order.id}
    assert found.uncertain == frozenset()  # the number tells people apart


UNDATED = replace(KUZNETSOVA, birth_date=None, snils="", policy="")
VAGUE: dict[str, tuple[dict[str, object], ArchiveStudy]] = {
    "a year of birth": ({"patient": replace(UNDATED, birth_year=1961)}, LATE),
    "no birth date": ({"patient": UNDATED}, LATE),
    "none on the images": ({}, replace(LATE, birth_date="")),
    "none on the images, no patronymic there": ({}, replace(LATE, birth_date="", patient_name="Кузнецова^Марина")),
    "what devices write for none": ({"patient": UNDATED}, replace(LATE, birth_date="19000101")),
    "none on either side": ({"patient": UNDATED}, replace(LATE, birth_date="", patient_name="KUZNETSOVA^MARINA")),
}


@pytest.mark.parametrize("what", VAGUE)
def test_an_order_is_offered_with_less_certainty_where_no_birth_date_can_be_compared(store: Store, what: str) -> None:
    changes, study = VAGUE[what]
    order = register(store, **changes)
    record(store, study)
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [order.id]
    assert found.uncertain == {order.id}


def test_whom_a_birth_date_tells_comes_before_who_has_only_the_name(store: Store) -> None:
    vague = register(store, patient=UNDATED, start=local("09:15"))
    dated = register(store, start=local("15:00"))
    record(store, LATE)
    [found] = shown(store)
    assert [each.id for each in found.candidates] == [dated.id, vague.id]
    assert found.uncertain == {vague.id}


def test_another_year_of_birth_or_another_name_is_not_offered_though_no_date_contradicts(store: Store) -> None:
    register(store, patient=replace(UNDATED, birth_year=1962))
    register(store, patient=replace(UNDATED, name=PersonName("Попова", "Ольга")))
    register(store, patient=replace(UNDATED, name=PersonName("Неизвестная", ""), birth_year=1961))
    record(store, LATE)
    assert [each.candidates for each in shown(store)] == [()]


def test_of_a_day_with_many_strange_studies_none_is_lost(store: Store) -> None:
    strangers = [
        replace(LATE, study_instance_uid=f"1.2.4.{n}", patient_name=f"Чужой^Иван^{n}", birth_date="19500101")
        for n in range(230)
    ]
    oldest = replace(LATE, start=local("07:00"))
    record(store, *strangers, oldest)
    order = register(store)
    found = shown(store)
    assert len(found) == 231
    assert [each.id for each in found[0].candidates] == [order.id]
    with store.read() as reader:
        assert [each.unreferred.study for each in unreferred_studies.offered(reader)] == [oldest]


def test_another_patients_study_is_linked_only_by_who_has_seen_what_contradicts(store: Store) -> None:
    order = register(store)
    record(store, replace(LATE, patient_name="Попов^Олег", patient_sex="M"))
    [found] = shown(store)
    assert found.candidates == ()
    for fields in ((), ("patient_name",)):
        with pytest.raises(Invalid, match="patient_sex: contradicts"):
            link(store, found, order, *fields)
    assert now(store, order).state is OrderState.SCHEDULED
    seen = Confirmation(OTHER, ("patient_name", "patient_sex"))
    with pytest.raises(Stale):
        store.write(archive_images.link_unreferred, found.unreferred.id, order.id, REGISTRAR, CLINIC, seen)
    link(store, found, order, "patient_name", "patient_sex")
    assert now(store, order).state is OrderState.COMPLETED


def test_a_study_that_somebody_has_left_without_an_order_is_not_linked_from_a_page_that_is_older(store: Store) -> None:
    order = register(store)
    record(store, LATE)
    [found] = shown(store)
    store.write(workflow.dismiss, found.unreferred.id, REGISTRAR)
    with pytest.raises(WrongState, match="is dismissed"):
        link(store, found, order)
    assert now(store, order).state is OrderState.SCHEDULED
    store.write(workflow.reconsider, found.unreferred.id, REGISTRAR)
    link(store, found, order)
    assert now(store, order).state is OrderState.COMPLETED


def test_a_study_that_a_device_has_reported_meanwhile_is_not_linked_to_another_order(store: Store) -> None:
    record(store, LATE)
    order, other = register(store), register(store, comment="другое")
    [found] = shown(store)
    reference = StepReference(LATE.study_instance_uid, order.accession_number)
    step = performed("1.2", reference, patient_name=LATE.patient_name)
    store.write(performed_steps.start, step, message("1"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", done, message("2")), XRAY, CLINIC)
    with pytest.raises(WrongState, match="was reported"):
        link(store, found, other)
    assert (now(store, order).state, now(store, other).state) == (OrderState.COMPLETED, OrderState.SCHEDULED)


@pytest.mark.parametrize("reported", [False, True])
def test_a_study_that_a_person_has_accepted_closes_no_second_order_by_its_number(store: Store, reported: bool) -> None:
    store.write(devices.put, replace(factory.DEVICES[0], own_study_uids=True))
    order, other = register(store), register(store, comment="другое")
    if reported:  # it needs no step that is made of the study
        store.write(
            performed_steps.start, performed("1.2", StepReference(order.study_instance_uid)), message("1"), XRAY, CLINIC
        )
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", done, message("2")), XRAY, CLINIC)
    made = replace(LATE, patient_id=order.patient.patient_id)
    record(store, made)
    link(store, shown(store)[0], order)
    answer(store, other, replace(made, accession_number=other.accession_number))
    assert now(store, other).state is OrderState.SCHEDULED
    with store.read() as reader:
        [doubt] = archive.of_order(reader, other.id)
    assert doubt.kind is DiscrepancyKind.OTHER_UID


def test_a_study_that_has_closed_an_order_by_its_number_closes_no_second_one(store: Store) -> None:
    store.write(devices.put, replace(factory.DEVICES[0], own_study_uids=True))
    order, other = register(store), register(store, comment="другое")
    made = replace(LATE, patient_id=order.patient.patient_id, accession_number=order.accession_number)
    answer(store, order, made)
    assert now(store, order).state is OrderState.COMPLETED
    answer(store, other, replace(made, accession_number=other.accession_number))
    assert now(store, other).state is OrderState.SCHEDULED


def test_a_referral_is_made_of_a_study_and_has_its_images_at_once(store: Store) -> None:
    record(store, replace(LATE, patient_id="D-7", start=local("08:40")))
    [found] = shown(store)
    order = store.write(workflow.register, found.unreferred.id, draft(), REGISTRAR, CLINIC)
    made = now(store, order)
    assert (made.state, made.bus_role, made.steps[0].start) == (
        OrderState.COMPLETED,
        BusRole.WALK_IN,
        local("08:40"),
    )
    assert shown(store) == []
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
        assert archive.decided(reader, order.id) == {
            replace(LATE, patient_id="D-7").key: DiscrepancyState.ACCEPTED,
        }
    assert step.source is StepSource.ARCHIVE
    answer(store, order)
    record(store, replace(LATE, patient_id="D-7"))
    assert (shown(store), now(store, order).state) == ([], OrderState.COMPLETED)


def test_a_study_of_another_patient_becomes_a_referral_only_by_who_has_seen_what_contradicts(store: Store) -> None:
    record(store, replace(LATE, patient_name="Попов^Олег", patient_sex="M", patient_id="D-7"))
    [found] = shown(store)
    with pytest.raises(Invalid) as caught:
        store.write(workflow.register, found.unreferred.id, draft(), REGISTRAR, CLINIC)
    assert set(caught.value.problems) == {"patient_name", "patient_sex"}
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM orders") == 0
    seen = Confirmation(draft().patient, ("patient_name", "patient_sex"))
    store.write(workflow.register, found.unreferred.id, draft(), REGISTRAR, CLINIC, seen)
    assert shown(store) == []


def test_of_a_study_that_was_decided_about_meanwhile_no_referral_is_made(store: Store) -> None:
    record(store, LATE)
    [found] = shown(store)
    id = found.unreferred.id
    with pytest.raises(Forbidden):
        store.write(workflow.register, id, draft(), DOCTOR, CLINIC)
    store.write(workflow.dismiss, id, REGISTRAR)
    with pytest.raises(WrongState):
        store.write(workflow.register, id, draft(), REGISTRAR, CLINIC)
    store.write(workflow.reconsider, id, REGISTRAR)
    store.write(workflow.register, id, draft(), REGISTRAR, CLINIC)
    with pytest.raises(NotFound):  # a double click
        store.write(workflow.register, id, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM orders") == 1


def test_only_who_may_link_decides_and_a_cancelled_order_gets_no_images(store: Store) -> None:
    order = register(store)
    record(store, LATE)
    [found] = shown(store)
    id, seen = found.unreferred.id, Confirmation(order.patient)
    with pytest.raises(Forbidden):
        store.write(archive_images.link_unreferred, id, order.id, DOCTOR, CLINIC, seen)
    with pytest.raises(Forbidden):
        store.write(workflow.dismiss, id, DOCTOR)
    with pytest.raises(NotFound):
        store.write(workflow.dismiss, 99, REGISTRAR)
    store.write(referrals.cancel, order.id, order.revision, "ошибка", REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(archive_images.link_unreferred, id, order.id, REGISTRAR, CLINIC, seen)
    assert len(shown(store)) == 1


def test_what_is_left_without_an_order_is_not_asked_about_again_until_a_person_takes_that_back(store: Store) -> None:
    record(store, LATE)
    id = shown(store)[0].unreferred.id
    store.write(workflow.dismiss, id, REGISTRAR)
    with pytest.raises(WrongState):
        store.write(workflow.dismiss, id, REGISTRAR)
    record(store, replace(LATE, images=9))
    record(store)
    assert shown(store) == []
    with store.read() as reader:
        [left] = archive_gaps.gaps(reader, store.clock(), None).left
    assert left.id == id
    store.write(workflow.reconsider, id, REGISTRAR)
    assert len(shown(store)) == 1


PEOPLE = st.fixed_dictionaries(
    {
        "patient_name": st.sampled_from(
            ["Кузнецова^Марина", "KUZNETSOVA^MARINA", "Кузнецов^Марк", "^^", "Попова^Ольга"]
        ),
        "patient_id": st.sampled_from(["", "000001", "000002", "77"]),
        "birth_date": st.sampled_from(["19610312", "19611203", ""]),
        "patient_sex": st.sampled_from(["F", "M", ""]),
        "study_instance_uid": st.sampled_from(["1.2.3.1", "1.2.3.2"]),
    }
)


@pytest.mark.slow
@given(st.lists(PEOPLE, max_size=4))
def test_whatever_the_archive_holds_nothing_is_linked_by_itself_and_no_contradicting_order_is_offered(
    tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, str]]
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("unreferred") / "worklist.sqlite")
    try:
        mine, other = register(store), register(store, patient=OTHER)
        record(store, *(replace(LATE, **each) for each in found))  # type: ignore[arg-type]
        assert {now(store, each).state for each in (mine, other)} == {OrderState.SCHEDULED}
        for each in shown(store):
            study = each.unreferred.study
            for order in each.candidates:
                assert study.patient_sex in ("F", "")
                assert study.birth_date in ("19610312", "")
                assert study.patient_id in ("", order.patient.patient_id, "77")
                assert study.patient_name != "Кузнецов^Марк"
    finally:
        store.close()


def test_boards_compare_the_newest_studies_only_and_the_page_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreferred_studies, "MOST_OFFERED", 2)
    register(store)
    strangers = [
        replace(LATE, study_instance_uid=f"1.2.4.{n}", patient_name="Чужой^Иван", start=local("09:40")) for n in (1, 2)
    ]
    record(store, LATE, *strangers)
    with store.read() as reader:
        assert unreferred_studies.offered(reader) == ()
    assert [bool(each.candidates) for each in shown(store)] == [True, False, False]
    monkeypatch.setattr(unreferred_studies, "MOST_OFFERED", 3)
    with store.read() as reader:
        assert len(unreferred_studies.offered(reader)) == 1


def test_a_study_of_an_order_for_a_station_that_is_not_registered_is_shown(store: Store) -> None:
    found = replace(LATE, modality="CT"), replace(LATE, study_instance_uid="1.2.99", modality="MR")
    record(store, *found)
    assert shown(store) == []
    content = item(patient=KUZNETSOVA, modality="CT", station_ae_titles=("OLD_CT",), start=local("10:00"))
    order_id = store.write(worklist_files.sync, content, "/wl/1.wl", "1", SYSTEM, CLINIC).order_id
    record(store, *found)
    [offered] = shown(store)
    assert offered.unreferred.study.modality == "CT"
    assert [each.id for each in offered.candidates] == [order_id]
