"""What people decide where the archive and a referral do not fit: audited, and asked once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import ReportDoubt
from broker.domain.studies.archive import ArchiveStudy, Discrepancy, DiscrepancyKind, DiscrepancyState
from broker.domain.studies.performed import (
    WRONG_ENTRY,
    PerformedChange,
    PerformedSeries,
    PerformedState,
    StepReference,
    StepSource,
)
from broker.store.database import Store
from broker.store.queries import order_card, schedule
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.archive_gaps import ImagesDue
from broker.store.tables import orders, outbox
from broker.store.tables.reading import reports as reports_table
from broker.store.tables.studies import archive
from broker.store.tables.studies import performed as performed_table
from broker.workflow import patient_merge
from broker.workflow.reading import reports
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock)
    yield opened
    opened.close()


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def fitting(order: Order) -> ArchiveStudy:
    patient = order.patient
    return ArchiveStudy(
        order.study_instance_uid, order.accession_number, 2, "DX", "Кузнецова^Марина", patient.patient_id, "19610312"
    )


def answer(store: Store, order: Order, *found: ArchiveStudy) -> bool:
    return store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)


def waiting(store: Store) -> list[Discrepancy]:
    with store.read() as reader:
        return [each.discrepancy for each in archive_gaps.open_studies(reader)]


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        return orders.require(reader, order.id)


def told(store: Store, order: Order) -> bool:
    with store.read() as reader:
        return outbox.has(reader, order.id, OutboxKind.IMAGES)


def lines(store: Store, order: Order) -> list[tuple[str, str]]:
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    return [(each.what, each.actor) for each in card.events]


def test_a_person_who_knows_better_makes_a_study_the_orders(store: Store, order: Order) -> None:
    theirs = replace(fitting(order), accession_number="9999-0001")
    assert not answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)
    assert waiting(store) == []
    assert ("archive_accept", "Орлова Н. В.") in lines(store, order)
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    [step] = card.performed
    assert (step.source, step.images) == (StepSource.ARCHIVE, 2)
    answer(store, order, replace(theirs, images=5))  # and its images are counted from then on
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert holding.images == 5
    assert waiting(store) == []


def test_a_study_in_latin_of_another_name_closes_no_order_though_its_numbers_are_the_patients(
    store: Store, order: Order
) -> None:
    answer(store, order, replace(fitting(order), patient_name="SIDOROV^OLEG"))
    assert now(store, order).state is not OrderState.COMPLETED
    assert len(waiting(store)) == 1
    answer(store, order, replace(fitting(order), patient_name="KUZNECOVA^MARINA^PETROVNA"))
    assert now(store, order).state is OrderState.COMPLETED


def test_a_study_that_a_person_calls_anothers_is_not_asked_about_again(store: Store, order: Order) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    answer(store, order)
    answer(store, order, theirs)
    assert waiting(store) == []
    assert now(store, order).state is OrderState.SCHEDULED
    assert ("archive_dismiss", "Орлова Н. В.") in lines(store, order)
    answer(store, order, replace(theirs, patient_name="Сидоров^Олег"))  # but another person there is another matter
    assert len(waiting(store)) == 1


def test_a_decision_that_was_taken_back_waits_again_until_the_archive_says_otherwise(
    store: Store, order: Order
) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    with pytest.raises(WrongState):
        store.write(archive_images.reconsider, each.id, REGISTRAR, CLINIC)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        store.write(archive_images.reconsider, each.id, DOCTOR, CLINIC)
    store.write(archive_images.reconsider, each.id, REGISTRAR, CLINIC)
    answer(store, order, theirs)
    assert [again.id for again in waiting(store)] == [each.id]
    answer(store, order)
    assert waiting(store) == []


def test_images_that_are_added_after_the_first_count_are_written_down(store: Store, order: Order) -> None:
    assert answer(store, order, fitting(order))
    answer(store, order, replace(fitting(order), images=1))
    answer(store, order, replace(fitting(order), images=6))
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    [line] = [each for each in card.events if each.what == "images_added"]
    assert (line.details["before"], line.details["images"]) == (1, 6)


def test_accepting_what_was_made_already_adds_no_second_step(store: Store, order: Order) -> None:
    ours, second = fitting(order), replace(fitting(order), study_instance_uid="1.2.3")
    assert answer(store, order, ours, second)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    assert len(card.performed) == 1
    answer(store, order, ours, second)
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert holding.images == 4


def test_a_patient_who_was_corrected_after_the_look_does_not_get_the_study_by_that_look(
    store: Store, order: Order
) -> None:
    answer(store, order, replace(fitting(order), patient_name="Попов^Олег", birth_date="19600101"))
    [each] = waiting(store)
    seen = Confirmation(order.patient, ("patient_name", "patient_birth_date"))
    corrected = draft(patient=replace(order.patient, birth_date=date(1960, 1, 1)))
    store.write(referrals.amend, order.id, order.revision, corrected, REGISTRAR, CLINIC)
    with pytest.raises(Stale):
        store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, seen)
    assert now(store, order).state is OrderState.SCHEDULED


def test_another_patients_study_is_accepted_only_by_who_has_seen_what_contradicts(store: Store, order: Order) -> None:
    answer(store, order, replace(fitting(order), patient_name="Попов^Олег", birth_date="19600101"))
    [each] = waiting(store)
    confirmed: tuple[str, ...]
    for confirmed in ((), ("patient_name",)):
        with pytest.raises(Invalid, match="patient_birth_date: contradicts"):
            store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, confirmed))
    assert now(store, order).state is OrderState.SCHEDULED
    seen = Confirmation(order.patient, ("patient_name", "patient_birth_date"))
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, seen)
    assert now(store, order).state is OrderState.COMPLETED
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    [line] = [each for each in card.events if each.what == "archive_accept"]
    assert line.details["confirmed"] == "patient_name, patient_birth_date"


WAITING = replace(CLINIC, waits_for_images=True, images_within=timedelta(minutes=60))


def perform(store: Store, order: Order, clinic: Clinic, **changes: object) -> None:
    """Let the X-ray report a study with two images, which has just ended."""
    step = performed("1.2", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, message("1"), XRAY, clinic)
    done = replace(PerformedChange(PerformedState.COMPLETED, images=2), **changes)  # type: ignore[arg-type]
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", done, message("2")), XRAY, clinic)


def record(store: Store, order: Order, clinic: Clinic, *found: ArchiveStudy) -> None:
    store.write(archive_images.record_answer, order.id, found, SYSTEM, clinic, settled=True)


def missing(store: Store, minutes: int = 60, *, holds_region: bool = False) -> list[int]:
    with store.read() as reader:
        found = archive_gaps.missing_images(reader, ImagesDue(store.clock() - timedelta(minutes=minutes), holds_region))
    return [each.order.id for each in found]


def test_the_region_learns_of_images_at_once_unless_it_is_to_wait_for_the_archive(store: Store, order: Order) -> None:
    perform(store, order, CLINIC)
    assert told(store, order)


def test_the_region_waits_for_images_until_the_archive_has_them(store: Store, order: Order) -> None:
    perform(store, order, WAITING)
    assert not told(store, order)
    record(store, order, WAITING)
    assert not told(store, order)
    record(store, order, WAITING, replace(fitting(order), patient_name="Попов^Олег"))
    assert not told(store, order)
    record(store, order, WAITING, replace(fitting(order), images=None))  # an archive that does not count has them, too
    assert told(store, order)


def test_the_region_waits_for_images_until_a_person_says_that_none_will_come(store: Store, order: Order) -> None:
    perform(store, order, WAITING)
    with pytest.raises(Forbidden):
        store.write(archive_images.waive_images, order.id, "на плёнке", DOCTOR, WAITING)
    store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)
    assert told(store, order)
    assert ("images_waived", "Орлова Н. В.") in lines(store, order)


def test_who_says_that_no_images_will_come_says_where_they_are(store: Store, order: Order) -> None:
    perform(store, order, WAITING)
    with pytest.raises(Invalid) as caught:
        store.write(archive_images.waive_images, order.id, "  ", REGISTRAR, WAITING)
    assert caught.value.problems == {"reason": "no_images"}
    assert not told(store, order)


@pytest.mark.parametrize("closed_by", ["a person", "a device that says that there are none"])
def test_whatever_the_region_is_kept_waiting_for_is_missed_even_if_the_archive_does_not_answer(
    store: Store, clock: Clock, order: Order, closed_by: str
) -> None:
    if closed_by == "a person":
        store.write(step_links.close, order.id, order.revision, REGISTRAR, WAITING)
    else:
        perform(store, order, WAITING, images=0, series=(PerformedSeries("1.2.8"),))
    sign(store, order)
    clock.advance(minutes=61)
    assert missing(store) == []
    assert missing(store, holds_region=True) == [order.id]
    clock.advance(minutes=60 * 24 * 30)
    assert missing(store, holds_region=True) == [order.id]
    with store.read() as reader:
        assert order.id in archive_gaps.unresolved(reader, clock(), holds_region=True)
    store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)
    assert missing(store, holds_region=True) == []
    assert {"images", "report"} <= pending(store)


def test_images_of_an_order_that_waits_cannot_be_waived(store: Store, order: Order) -> None:
    with pytest.raises(WrongState):
        store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)


def test_what_was_waived_or_found_is_forgotten_when_the_order_waits_again(store: Store, order: Order) -> None:
    perform(store, order, WAITING)
    store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, WAITING)
    with store.read() as reader:
        assert archive.holding(reader, order.id) is None


def test_images_are_missed_after_the_time_that_they_have(store: Store, clock: Clock, order: Order) -> None:
    perform(store, order, WAITING)
    clock.advance(minutes=61)
    assert missing(store) == []  # the archive has not answered since
    record(store, order, WAITING)
    assert missing(store) == [order.id]
    assert missing(store, 90) == []
    record(store, order, WAITING, fitting(order))
    assert missing(store) == []
    record(store, order, WAITING)  # they were deleted there
    assert missing(store) == [order.id]
    store.write(archive_images.waive_images, order.id, "на плёнке", REGISTRAR, WAITING)
    assert missing(store) == []


def test_images_that_wait_for_a_decision_are_not_missed_beside_it(store: Store, clock: Clock, order: Order) -> None:
    perform(store, order, WAITING)
    clock.advance(minutes=61)
    record(store, order, WAITING, replace(fitting(order), patient_name="Попов^Олег"))
    assert missing(store) == []
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    assert missing(store) == [order.id]


def test_a_study_that_its_device_reports_to_have_no_images_misses_none(
    store: Store, clock: Clock, order: Order
) -> None:
    perform(store, order, WAITING, images=0, series=(PerformedSeries("1.2.9"),))
    clock.advance(minutes=61)
    record(store, order, WAITING)
    assert missing(store) == []


def test_what_a_person_closed_misses_no_images(store: Store, clock: Clock, order: Order) -> None:
    store.write(step_links.close, order.id, order.revision, REGISTRAR, WAITING)
    clock.advance(minutes=61)
    record(store, order, WAITING)
    assert missing(store) == []


def test_only_who_may_link_decides_and_each_only_once(store: Store, order: Order) -> None:
    answer(store, order, replace(fitting(order), patient_name="Попов^Олег"))
    [each] = waiting(store)
    with pytest.raises(Forbidden):
        store.write(archive_images.accept, each.id, DOCTOR, CLINIC)
    with pytest.raises(Forbidden):
        store.write(archive_images.dismiss, each.id, DOCTOR, CLINIC)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    with pytest.raises(NotFound):
        store.write(archive_images.dismiss, 99, REGISTRAR, CLINIC)


def test_a_cancelled_order_is_not_performed_by_a_decision(store: Store, order: Order) -> None:
    answer(store, order, replace(fitting(order), patient_name="Попов^Олег"))
    [each] = waiting(store)
    store.write(referrals.cancel, order.id, order.revision, "ошибка", REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    assert len(waiting(store)) == 1


def test_what_was_accepted_can_be_unlinked_and_is_not_put_back(store: Store, order: Order) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    [step] = card.performed
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    assert not answer(store, order, theirs)
    assert now(store, order).state is OrderState.SCHEDULED
    with store.read() as reader:
        assert list(archive.decided(reader, order.id).values()) == [DiscrepancyState.DISMISSED]


def test_images_that_vanish_from_the_archive_that_had_closed_an_order_are_missed(
    store: Store, clock: Clock, order: Order
) -> None:
    assert answer(store, order, fitting(order))
    clock.advance(minutes=61)
    assert missing(store) == []
    answer(store, order)
    assert now(store, order).state is OrderState.COMPLETED
    assert missing(store) == [order.id]
    answer(store, order, fitting(order))
    assert missing(store) == []


def test_a_step_that_the_archive_told_of_keeps_the_birth_date_that_the_archive_has(store: Store, order: Order) -> None:
    answer(store, order, fitting(order))
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
    assert step.patient_birth_date == "19610312"


def test_images_made_under_another_orders_uid_do_not_close_the_order_whose_number_they_bear(
    store: Store, order: Order
) -> None:
    chest = store.write(referrals.register, draft(comment="другое"), REGISTRAR, CLINIC)
    theirs = replace(fitting(order), study_instance_uid=chest.study_instance_uid)
    assert not answer(store, order, theirs)
    assert now(store, order).state is OrderState.SCHEDULED
    assert [each.kind for each in waiting(store)] == [DiscrepancyKind.OTHER_UID]
    answer(store, order, theirs, replace(fitting(order), study_instance_uid="1.2.3"))  # no order has this one
    assert [each.kind for each in waiting(store)] == [DiscrepancyKind.OTHER_UID, DiscrepancyKind.OWN_UID]


def pending(store: Store) -> set[str]:
    with store.read() as reader:
        return {row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE state = 'pending'")}


def sign(store: Store, order: Order) -> None:
    text = reports.ReportText(conclusion="Без патологии")
    store.write(reports.sign, order.id, 0, text, DOCTOR, CLINIC)


def test_images_that_the_archive_has_since_corrected_to_another_patient_do_not_go_to_the_region(
    store: Store, order: Order
) -> None:
    answer(store, order, fitting(order))
    sign(store, order)
    assert {"images", "report"} <= pending(store)
    theirs = replace(fitting(order), patient_name="Попов^Олег", patient_id="999")
    store.write(archive_images.record_answer, order.id, [theirs], SYSTEM, CLINIC, settled=False)
    assert not {"images", "report"} & pending(store)
    answer(store, order, fitting(order))  # it was a mistake there
    assert {"images", "report"} <= pending(store)


def test_another_patients_images_under_the_orders_uid_hold_what_a_device_has_reported(
    store: Store, order: Order
) -> None:
    answer(store, order, replace(fitting(order), patient_name="Попов^Олег"))
    perform(store, order, CLINIC)
    assert not told(store, order)
    with pytest.raises(Invalid, match="images: disputed"):
        sign(store, order)
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)
    store.write(archive_images.reconsider, each.id, REGISTRAR, CLINIC)
    assert not told(store, order)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    assert told(store, order)


@pytest.mark.parametrize("closed_by", ["a person", "a device"])
def test_a_study_that_a_person_accepted_and_the_archive_then_calls_anothers_holds_the_order_however_it_was_closed(
    store: Store, order: Order, closed_by: str
) -> None:
    if closed_by == "a person":
        store.write(step_links.close, order.id, order.revision, REGISTRAR, CLINIC)
    else:
        perform(store, order, CLINIC)
    ours = replace(fitting(order), study_instance_uid="1.2.9")
    answer(store, order, ours)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient))
    sign(store, order)
    assert {"images", "report"} <= pending(store)
    answer(store, order, replace(ours, patient_name="Попов^Олег", patient_id="999", birth_date="19480101"))
    assert not {"images", "report"} & pending(store)
    [again] = waiting(store)
    assert again.kind is DiscrepancyKind.OTHER_PATIENT
    with store.read() as reader:
        [visit] = schedule.day(reader, order.steps[0].start.date())
    assert visit.doubtful
    answer(store, order, ours)  # it was a mistake there
    assert {"images", "report"} <= pending(store)
    answer(store, order, replace(ours, patient_name="Попов^Олег"))
    [again] = waiting(store)
    store.write(archive_images.dismiss, again.id, REGISTRAR, CLINIC)
    assert "images" in pending(store)
    assert "report" not in pending(store)  # the doctor has seen images that are not the order's
    with store.read() as reader:
        assert reports_table.doubt(reader, order.id) is ReportDoubt.IMAGES_FEWER


def test_a_dismissed_study_that_had_closed_an_order_closes_it_no_more(store: Store, order: Order) -> None:
    answer(store, order, fitting(order))
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    assert ("images_removed", "Орлова Н. В.") in lines(store, order)
    assert not answer(store, order, theirs)
    assert not pending(store) & {"images"}
    assert answer(store, order, fitting(order))  # its own images come after all
    assert now(store, order).state is OrderState.COMPLETED


def test_dismissing_another_patient_under_the_same_uid_leaves_the_one_that_fits(store: Store, order: Order) -> None:
    both = fitting(order), replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, *both)
    assert now(store, order).state is OrderState.COMPLETED
    assert not told(store, order)
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)


def test_what_a_person_accepted_by_mistake_is_taken_back(store: Store, order: Order) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    store.write(archive_images.reconsider, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    answer(store, order, theirs)
    assert [again.id for again in waiting(store)] == [each.id]
    assert not told(store, order)


def test_what_was_accepted_for_an_order_that_a_person_had_closed_is_not_believed_after_its_unlinking(
    store: Store, order: Order
) -> None:
    store.write(step_links.close, order.id, order.revision, REGISTRAR, CLINIC)
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    store.write(step_links.close, order.id, now(store, order).revision, REGISTRAR, CLINIC)
    answer(store, order, theirs)
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert not holding.exists


def test_a_discrepancy_stays_the_same_while_the_archive_tells_of_it_now_and_then(
    store: Store, clock: Clock, order: Order
) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [first] = waiting(store)
    for found in ([], [theirs], [], [theirs]):
        clock.advance(minutes=1)
        store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=False)
        assert waiting(store) == [first]
    answer(store, order)  # the archive keeps to that
    assert waiting(store) == []


def test_our_number_under_a_uid_that_nobody_reported_is_taken_by_one_word_of_a_person(
    store: Store, order: Order
) -> None:
    theirs = replace(fitting(order), study_instance_uid="1.2.3")
    assert not answer(store, order, theirs)
    [each] = waiting(store)
    assert each.kind is DiscrepancyKind.OWN_UID
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)
    answer(store, order, replace(theirs, images=7))
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    assert holding.images == 7


def test_the_other_sex_is_confirmed_as_name_and_birth_date_are(store: Store, order: Order) -> None:
    answer(store, order, replace(fitting(order), patient_sex="M"))
    [each] = waiting(store)
    assert (each.kind, each.study.patient_sex) == (DiscrepancyKind.OTHER_PATIENT, "M")
    with pytest.raises(Invalid, match="patient_sex: contradicts"):
        store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_sex",)))
    assert now(store, order).state is OrderState.COMPLETED


def test_images_with_the_number_and_the_name_of_a_merged_card_are_not_asked_about(
    store: Store, clock: Clock, order: Order
) -> None:
    former = replace(order.patient, id=None, patient_id="", name=PersonName("Иванова", "Марина", "Петровна"), snils="")
    former = replace(former, policy="", birth_date=date(1961, 12, 3))
    other = store.write(referrals.register, draft(patient=former, comment="другое"), REGISTRAR, CLINIC)
    theirs = replace(
        fitting(order),
        patient_name="Иванова^Марина^Петровна",
        patient_id=other.patient.patient_id,
        birth_date="19611203",
    )
    assert not answer(store, order, theirs)
    [each] = waiting(store)
    ids = order.patient.stored_id, other.patient.stored_id
    store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)  # nothing is to be confirmed any more
    assert now(store, order).state is OrderState.COMPLETED
    second = store.write(referrals.register, draft(comment="третье"), REGISTRAR, CLINIC)
    assert answer(store, second, replace(theirs, study_instance_uid=second.study_instance_uid, accession_number=""))


def of_another(store: Store, order: Order, uid: str = "1.2.9") -> None:
    """Let the X-ray report another patient's study under the order's entry of the worklist."""
    reference = StepReference(order.study_instance_uid, order.accession_number)
    person = {"patient_name": "Попов^Олег", "patient_id": "ZZ", "patient_birth_date": "19500101"}
    store.write(performed_steps.start, performed(uid, reference, **person), message("a"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED)
    store.write(performed_steps.change, performed_steps.ChangeRequest(uid, done, message("b")), XRAY, CLINIC)


def test_another_patients_step_does_not_take_the_place_of_what_the_archive_has_of_the_orders_own(
    store: Store, order: Order
) -> None:
    assert answer(store, order, fitting(order))
    of_another(store, order)
    store.write(step_links.unlink, "1.2.9", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert not answer(store, order, fitting(order))
    assert waiting(store) == []


def test_a_step_whose_patient_was_confirmed_takes_the_place_of_what_the_archive_has(store: Store, order: Order) -> None:
    assert answer(store, order, fitting(order))
    of_another(store, order)
    seen = Confirmation(order.patient, ("patient_id", "patient_name", "patient_birth_date"))
    store.write(step_links.confirm_patient, "1.2.9", order.id, REGISTRAR, CLINIC, seen)
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
    assert step.source is StepSource.MODALITY


def test_images_that_fit_an_order_from_which_others_were_unlinked_wait_for_a_person(store: Store, order: Order) -> None:
    of_another(store, order)
    store.write(step_links.unlink, "1.2.9", order.id, REGISTRAR, CLINIC)
    assert not answer(store, order, fitting(order))  # it may be what was unlinked, made under this entry
    assert now(store, order).state is OrderState.SCHEDULED
    [each] = waiting(store)
    assert each.kind is DiscrepancyKind.UNLINKED
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert told(store, order)
    answer(store, order, fitting(order))
    assert waiting(store) == []


def test_images_that_fit_and_are_not_the_orders_after_an_unlinking_are_asked_about_once(
    store: Store, order: Order
) -> None:
    of_another(store, order)
    store.write(step_links.unlink, "1.2.9", order.id, REGISTRAR, CLINIC)
    answer(store, order, fitting(order))
    [each] = waiting(store)
    store.write(archive_images.dismiss, each.id, REGISTRAR, CLINIC)
    assert not answer(store, order, fitting(order))
    assert waiting(store) == []
    assert now(store, order).state is OrderState.SCHEDULED
    own = replace(fitting(order), study_instance_uid="1.2.3")
    answer(store, order, fitting(order), own)
    assert [each.study for each in waiting(store)] == [own]


def test_images_that_fit_wait_for_a_person_after_a_device_has_reported_the_wrong_entry(
    store: Store, order: Order
) -> None:
    perform(store, order, CLINIC, state=PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    assert not answer(store, order, fitting(order))
    assert [each.kind for each in waiting(store)] == [DiscrepancyKind.UNLINKED]


def test_a_device_that_reports_the_order_anew_after_an_unlinking_settles_whose_its_images_are(
    store: Store, order: Order
) -> None:
    of_another(store, order)
    store.write(step_links.unlink, "1.2.9", order.id, REGISTRAR, CLINIC)
    answer(store, order, fitting(order))
    perform(store, order, CLINIC)
    answer(store, order, fitting(order))
    assert waiting(store) == []
    assert now(store, order).state is OrderState.COMPLETED


def test_what_a_person_took_off_is_not_put_back_where_the_archive_has_it_without_a_number(
    store: Store, order: Order
) -> None:
    theirs = replace(fitting(order), accession_number="")
    assert answer(store, order, theirs)
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    assert not answer(store, order, theirs)
    assert now(store, order).state is OrderState.SCHEDULED
    assert waiting(store) == []
    theirs = replace(theirs, patient_name="Кузнецова^М", images=1)  # but another one is another matter
    assert answer(store, order, theirs)


def test_a_study_on_which_nobody_has_decided_closes_an_order_from_which_the_archives_was_unlinked(
    store: Store, order: Order
) -> None:
    theirs = replace(fitting(order), patient_name="Попов^Олег")
    answer(store, order, theirs)
    [each] = waiting(store)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient_name",)))
    with store.read() as reader:
        [step] = performed_table.completed_of_order(reader, order.id)
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    assert answer(store, order, fitting(order))
    assert now(store, order).state is OrderState.COMPLETED


def performed_together(store: Store, *group: Order, images: int, uid: str = "") -> None:
    """Let one step be performed for several orders, with a UID for each or one for all."""
    references = [
        StepReference(uid or each.study_instance_uid, accession_number=each.accession_number) for each in group
    ]
    store.write(performed_steps.start, performed("1.2", *references), message("start"), XRAY, CLINIC)
    ended = PerformedChange(PerformedState.COMPLETED, images=images)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", ended, message("end")), XRAY, CLINIC)


def counts(store: Store, clock: Clock) -> list[tuple[int, int, int]]:
    with store.read() as reader:
        found = archive_gaps.other_counts(reader, clock() + timedelta(minutes=1))
        for each in found:
            assert archive_gaps.counted(reader, each.order.id) == each.counted
    return [(each.counted.reported, each.counted.archived, each.held) for each in found]


@pytest.mark.parametrize("one_study", [True, False])
def test_images_of_one_step_for_several_orders_are_compared_with_those_of_all_of_them(
    store: Store, order: Order, clock: Clock, one_study: bool
) -> None:
    second = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    uid = order.study_instance_uid if one_study else ""
    performed_together(store, order, second, images=5, uid=uid)
    answer(store, order, replace(fitting(order), images=5 if one_study else 3))
    assert counts(store, clock) == []  # of the other one the archive was not asked yet
    answer(store, second, replace(fitting(second), images=5, study_instance_uid=uid) if one_study else fitting(second))
    assert counts(store, clock) == []
    if one_study:
        return
    answer(store, second, replace(fitting(second), images=1))
    assert counts(store, clock) == [(5, 4, 3), (5, 4, 1)]
    store.write(archive_images.accept_count, order.id, 3, REGISTRAR)
    assert counts(store, clock) == []


def test_images_of_one_order_are_compared_with_its_own_steps(store: Store, order: Order, clock: Clock) -> None:
    performed_together(store, order, images=5)
    answer(store, order, replace(fitting(order), images=3))
    assert counts(store, clock) == [(5, 3, 3)]


def made(store: Store, uid: str, order: Order, state: PerformedState, study: str = "", **changes: object) -> None:
    """Let a step be performed for an order, under the Study Instance UID of it or this one."""
    number = order.accession_number
    reference = StepReference(study or order.study_instance_uid, accession_number=number)
    if study:
        reference = replace(reference, sps_id=order.steps[0].sps_id)
    store.write(performed_steps.start, performed(uid, reference), message(f"start {uid}"), XRAY, CLINIC)
    ended = replace(PerformedChange(state), **changes)  # type: ignore[arg-type]
    request = performed_steps.ChangeRequest(uid, ended, message(f"end {uid}"))
    store.write(performed_steps.change, request, XRAY, CLINIC)


@pytest.mark.parametrize(
    ("archived", "different"),
    [
        (7, []),
        (4, [(7, 4, 4), (7, 4, 4)]),  # as many as one of them had: the other one's are lost
        (9, [(7, 9, 9), (7, 9, 9)]),
    ],
)
def test_images_of_several_orders_that_the_archive_keeps_as_one_study_are_compared_in_sum(
    store: Store, order: Order, clock: Clock, archived: int, different: list[tuple[int, int, int]]
) -> None:
    sharing = replace(CLINIC, shares_accession_numbers=True)
    second = store.write(referrals.register_another, order.id, draft(procedure_code="WLB-FOOT"), REGISTRAR, sharing)
    made(store, "1.2.1", order, PerformedState.COMPLETED, "1.2.5", images=4)
    made(store, "1.2.2", second, PerformedState.COMPLETED, "1.2.5", images=3)
    one = replace(fitting(order), study_instance_uid="1.2.5", images=archived)
    answer(store, order, one)
    answer(store, second, one)
    assert held(store, second) == ("1.2.5", archived)
    assert counts(store, clock) == different
    if different:
        store.write(archive_images.accept_count, second.id, archived, REGISTRAR)
        assert counts(store, clock) == []


@pytest.mark.parametrize(("archived", "reported"), [(3, 4), (4, None), (6, None), (7, 6)])
def test_images_of_an_interrupted_step_may_be_in_the_archive_or_not(
    store: Store, order: Order, clock: Clock, archived: int, reported: int | None
) -> None:
    made(store, "1.2.1", order, PerformedState.DISCONTINUED, images=2)
    made(store, "1.2.2", order, PerformedState.COMPLETED, images=4)
    answer(store, order, replace(fitting(order), images=archived))
    assert counts(store, clock) == ([(reported, archived, archived)] if reported else [])


@pytest.mark.parametrize(("archived", "reported"), [(3, 4), (9, None)])
def test_where_a_device_counts_only_some_of_its_images_more_of_them_are_no_gap(
    store: Store, order: Order, clock: Clock, archived: int, reported: int | None
) -> None:
    made(store, "1.2.1", order, PerformedState.COMPLETED, images=4)
    made(store, "1.2.2", order, PerformedState.COMPLETED)
    answer(store, order, replace(fitting(order), images=archived))
    assert counts(store, clock) == ([(reported, archived, archived)] if reported else [])


def held(store: Store, order: Order) -> tuple[str, int | None]:
    with store.read() as reader:
        holding = archive.holding(reader, order.id)
    assert holding is not None
    return holding.study_instance_uid, holding.images


def test_a_second_study_that_a_person_accepts_is_counted_with_the_first(store: Store, order: Order) -> None:
    first, second = fitting(order), replace(fitting(order), study_instance_uid="1.2.5", images=3)
    answer(store, order, first, second)
    assert held(store, order) == (order.study_instance_uid, 2)
    [each] = waiting(store)
    for _ in range(2):
        store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
        assert held(store, order) == (order.study_instance_uid, 5)
        store.write(archive_images.reconsider, each.id, REGISTRAR, CLINIC)
        assert held(store, order) == (order.study_instance_uid, 2)
    store.write(archive_images.accept, each.id, REGISTRAR, CLINIC)
    answer(store, order, first, second)
    assert held(store, order) == (order.study_instance_uid, 5)
    assert [line for line in lines(store, order) if line[0] == "images_added"] == [("images_added", "Орлова Н. В.")] * 3
