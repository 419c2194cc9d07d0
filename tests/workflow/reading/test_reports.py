"""A report is written, signed once, and told to the region; nobody's words are lost, no wrong images described."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.orders import BusRole, Order
from broker.domain.patients.confirmation import Confirmation
from broker.domain.reading.reports import Report, ReportDoubt, ReportState
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import order_card
from broker.store.tables import accounts
from broker.store.tables.reading import reports
from broker.workflow.reading import reports as results
from broker.workflow.reading import writing
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
OTHER = Actor(ActorKind.PERSON, "sokolov", "Соколов В.И.", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Лёгочные поля прозрачны.", "Без патологии.", "", 0.03)
DONE = PerformedChange(PerformedState.COMPLETED, images=2)


@pytest.fixture
def order(store: Store) -> Order:
    """An order whose images have been made."""
    made = started(store)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    return made


def started(store: Store, name: str = "") -> Order:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    step = performed("1.2", StepReference(order.study_instance_uid), patient_name=name)
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    return order


def open_account(store: Store, **more: Any) -> None:
    roles = frozenset({Role.RADIOLOGIST})
    store.write(lambda tx: accounts.add(tx, "volskaya", "Вольская Татьяна Андреевна", roles, "x", **more))


def sign(store: Store, order: Order, revision: int = 0, text: ReportText = TEXT, **who: Any) -> Report:
    return store.write(results.sign, order.id, revision, text, who.get("actor", DOCTOR), who.get("clinic", CLINIC))


def uphold(store: Store, order: Order, who: Actor = DOCTOR) -> None:
    store.write(results.uphold, order.id, card(store, order).images, who, CLINIC)


def kinds(store: Store, state: str = "pending") -> list[str]:
    with store.read() as reader:
        return [row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE state = ? ORDER BY seq", [state])]


def audit_of(store: Store, order: Order) -> list[str]:
    with store.read() as reader:
        rows = reader.rows("SELECT action FROM audit WHERE order_id = ? AND action LIKE 'report%'", [order.id])
    return [row["action"] for row in rows]


def card(store: Store, order: Order) -> order_card.Card:
    with store.read() as reader:
        found = order_card.card(reader, order.accession_number)
    assert found is not None
    return found


# ---- drafts ----


def test_a_draft_is_kept_while_the_study_still_runs(store: Store) -> None:
    order = started(store)
    saved = store.write(results.save_report, order.id, 0, ReportText("Начато"), DOCTOR, CLINIC)
    assert (saved.revision, saved.state, saved.author, saved.description) == (
        1,
        ReportState.DRAFT,
        "volskaya",
        "Начато",
    )
    assert saved.saved_at is not None
    assert card(store, order).report == saved
    with store.read() as reader:
        assert reports.signed(reader, order.id) is None


def test_the_same_text_again_is_not_a_change_even_with_an_old_revision(store: Store, order: Order) -> None:
    first = store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC) == first
    assert audit_of(store, order) == ["report_draft"]


def test_nothing_typed_makes_no_draft(store: Store, order: Order) -> None:
    assert store.write(results.save_report, order.id, 0, ReportText(" \n"), DOCTOR, CLINIC).revision == 0
    assert card(store, order).report is None


def test_of_two_doctors_the_later_one_overwrites_nothing_unseen(store: Store, order: Order) -> None:
    store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    store.write(writing.leave, order.id, DOCTOR)
    with pytest.raises(Stale):
        store.write(results.save_report, order.id, 0, ReportText("Другое"), OTHER, CLINIC)
    with pytest.raises(Stale):
        sign(store, order, 0, ReportText(conclusion="Другое"), actor=OTHER)
    report = card(store, order).report
    assert report is not None
    assert report.description == TEXT.description


def test_a_second_doctor_may_take_a_draft_over_and_is_then_its_author(store: Store, order: Order) -> None:
    first = store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    store.write(writing.leave, order.id, DOCTOR)
    second = store.write(results.save_report, order.id, first.revision, replace(TEXT, description="Ещё"), OTHER, CLINIC)
    assert (second.author, str(second.author_name)) == ("sokolov", "Соколов В. И.")
    assert audit_of(store, order) == ["report_draft", "report_draft"]


def test_every_pause_in_the_typing_is_not_a_line_of_the_trail(store: Store, order: Order) -> None:
    revision = 0
    for word in ("Раз", "Раз два", "Раз два три"):
        revision = store.write(results.save_report, order.id, revision, ReportText(word), DOCTOR, CLINIC).revision
    assert revision == 3
    assert audit_of(store, order) == ["report_draft"]


def test_there_is_nothing_to_report_before_a_modality_has_started(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    with pytest.raises(WrongState):
        sign(store, order)
    with pytest.raises(NotFound):
        store.write(results.save_report, 999, 0, TEXT, DOCTOR, CLINIC)


def test_what_is_pasted_is_kept_without_control_characters_and_direction_marks(store: Store, order: Order) -> None:
    typed = ReportText("\r\nПервая\x00\r\n\tвторая \u202eabc\ud800 \n\n")
    assert store.write(results.save_report, order.id, 0, typed, DOCTOR, CLINIC).description == "Первая\n    вторая abc"


def test_only_a_doctor_writes(store: Store, order: Order) -> None:
    for actor in (REGISTRAR, XRAY, Actor(ActorKind.PERSON, "admin", "", frozenset({Role.ADMINISTRATOR}))):
        with pytest.raises(Forbidden):
            store.write(results.save_report, order.id, 0, TEXT, actor, CLINIC)
        with pytest.raises(Forbidden):
            sign(store, order, actor=actor)


# ---- signing ----


def test_a_signed_report_bears_its_author_and_goes_to_the_region(store: Store, order: Order) -> None:
    open_account(store, snils="11223344595", position="врач-рентгенолог")
    signed = sign(store, order)
    assert (signed.state, signed.author_snils, signed.author_position) == (
        ReportState.SIGNED,
        "11223344595",
        "врач-рентгенолог",
    )
    assert str(signed.author_name) == "Вольская Татьяна Андреевна"
    assert signed.signed_at is not None
    assert kinds(store) == ["order", "images", "report"]
    assert audit_of(store, order) == ["report_sign"]
    with store.read() as reader:
        assert reports.signed(reader, order.id) == signed
    assert card(store, order).report == signed


def test_signing_twice_is_signing_once(store: Store, order: Order) -> None:
    first = sign(store, order)
    assert sign(store, order) == first
    assert sign(store, order, first.revision) == first
    assert kinds(store).count("report") == 1
    assert audit_of(store, order) == ["report_sign"]


def test_a_signed_report_stands(store: Store, order: Order) -> None:
    signed = sign(store, order)
    for actor, text in ((DOCTOR, replace(TEXT, conclusion="Рак")), (OTHER, TEXT)):
        with pytest.raises(WrongState):
            sign(store, order, signed.revision, text, actor=actor)
        with pytest.raises(WrongState):
            store.write(results.save_report, order.id, signed.revision, text, actor, CLINIC)
    with pytest.raises(sqlite3.IntegrityError):
        store.write(lambda tx: tx.run("UPDATE report SET conclusion = 'Рак'"))


def test_the_signer_is_the_author_whichever_person_wrote_the_draft(store: Store, order: Order) -> None:
    saved = store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    store.write(writing.leave, order.id, DOCTOR)
    assert sign(store, order, saved.revision, actor=OTHER).author == "sokolov"
    happening = next(each for each in card(store, order).events if each.what == "report_sign")
    assert happening.details == {"drafted_by": "Вольская Т. А."}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"conclusion": " \n "}, {"conclusion": "required"}),
        ({"effective_dose": -0.1}, {"effective_dose": "range"}),
        ({"effective_dose": 1000.1}, {"effective_dose": "range"}),
        ({"effective_dose": float("nan")}, {"effective_dose": "range"}),
        ({"description": "а" * 20_001}, {"description": "too_long"}),
        ({"conclusion": "а" * 4_001}, {"conclusion": "too_long"}),
        ({"recommendations": "а" * 4_001}, {"recommendations": "too_long"}),
    ],
)
def test_what_is_wrong_is_named_field_by_field(
    store: Store, order: Order, changes: dict[str, Any], problems: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as caught:
        sign(store, order, text=replace(TEXT, **changes))
    assert caught.value.problems == problems
    assert "report" not in kinds(store)


@pytest.mark.parametrize("dose", [None, 0.0, 1000.0])
def test_a_dose_may_be_missing_or_at_its_limits(store: Store, order: Order, dose: float | None) -> None:
    assert sign(store, order, text=replace(TEXT, effective_dose=dose)).effective_dose == dose


def test_it_is_signed_when_the_study_is_completed_not_before(store: Store) -> None:
    order = started(store)
    with pytest.raises(WrongState):
        sign(store, order)


def test_images_of_perhaps_another_patient_are_not_signed_before_a_person_has_looked(store: Store) -> None:
    order = started(store, name="Сидоров^Олег")
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    with pytest.raises(Invalid) as caught:
        sign(store, order)
    assert caught.value.problems == {"images": "other_patient"}
    seen = Confirmation(order.patient, ("patient_name",))
    store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, seen)
    sign(store, order)
    assert kinds(store) == ["order", "images", "report"]


def test_no_program_signs(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        sign(store, order, actor=SYSTEM)


def test_without_a_bus_nothing_is_queued(store: Store, order: Order) -> None:
    sign(store, order, clinic=Clinic(zone=CLINIC.zone))
    assert "report" not in kinds(store)


def test_reports_of_unsent_orders_are_not_sent_either(store: Store, order: Order) -> None:
    store.write(lambda tx: tx.run("UPDATE orders SET bus_role = ? WHERE id = ?", [BusRole.NONE, order.id]))
    sign(store, order)
    assert "report" not in kinds(store)


# ---- images that turn out to be somebody else's ----


def test_a_report_on_images_that_were_taken_away_does_not_go_and_raises_an_alarm(store: Store, order: Order) -> None:
    sign(store, order)
    assert card(store, order).report_doubt is None
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    assert kinds(store) == ["order"]
    assert kinds(store, "dropped") == ["images", "report"]
    found = card(store, order)
    assert found.report_doubt is ReportDoubt.IMAGES_REMOVED
    assert found.report is not None
    assert found.report.state is ReportState.SIGNED


def test_other_images_do_not_send_the_old_report_by_themselves(store: Store, order: Order) -> None:
    sign(store, order)
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    store.write(
        performed_steps.start, performed("1.3", StepReference(order.study_instance_uid)), message("b"), XRAY, CLINIC
    )
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.3", DONE, message("c")), XRAY, CLINIC)
    assert kinds(store) == ["order", "images"]
    assert card(store, order).report_doubt is ReportDoubt.IMAGES_REMOVED


def test_images_that_come_after_the_signature_are_shown_to_the_doctor(store: Store, order: Order) -> None:
    sign(store, order)
    reference = StepReference(order.study_instance_uid)
    store.write(performed_steps.start, performed("1.3", reference), message("b"), XRAY, CLINIC)
    assert card(store, order).report_doubt is None
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.3", DONE, message("c")), XRAY, CLINIC)
    assert card(store, order).report_doubt is ReportDoubt.IMAGES_ADDED
    assert kinds(store) == ["order", "images", "report"]  # what was signed was true
    uphold(store, order)
    assert card(store, order).report_doubt is None
    assert kinds(store) == ["order", "images", "report"]


@pytest.mark.parametrize(("images", "doubt"), [(0, None), (1, ReportDoubt.IMAGES_ADDED)])
def test_a_step_that_was_discontinued_adds_only_images_that_were_made(
    store: Store, order: Order, images: int, doubt: ReportDoubt | None
) -> None:
    sign(store, order)
    store.write(
        performed_steps.start, performed("1.3", StepReference(order.study_instance_uid)), message("b"), XRAY, CLINIC
    )
    stopped = PerformedChange(PerformedState.DISCONTINUED, images=images)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.3", stopped, message("c")), XRAY, CLINIC)
    assert card(store, order).report_doubt is doubt


def test_taking_away_one_of_two_series_holds_the_report_back_too(store: Store, order: Order) -> None:
    store.write(
        performed_steps.start, performed("1.3", StepReference(order.study_instance_uid)), message("b"), XRAY, CLINIC
    )
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.3", DONE, message("c")), XRAY, CLINIC)
    sign(store, order)
    store.write(step_links.unlink, "1.3", order.id, REGISTRAR, CLINIC)
    assert kinds(store) == ["order", "images"]
    assert card(store, order).report_doubt is ReportDoubt.IMAGES_REMOVED


def test_a_doctor_upholds_a_report_and_it_goes_after_all(store: Store, order: Order) -> None:
    sign(store, order)
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        uphold(store, order)  # there are no images
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        uphold(store, order, REGISTRAR)
    uphold(store, order)
    assert kinds(store) == ["order", "images", "report"]
    assert card(store, order).report_doubt is None
    with pytest.raises(WrongState):
        uphold(store, order)


def add_step(store: Store, order: Order, uid: str) -> None:
    reference = StepReference(order.study_instance_uid)
    store.write(performed_steps.start, performed(uid, reference), message(f"{uid}a"), XRAY, CLINIC)
    change = performed_steps.ChangeRequest(uid, DONE, message(f"{uid}b"))
    store.write(performed_steps.change, change, XRAY, CLINIC)


CHANGES: dict[str, Callable[[Store, Order], object]] = {
    "more images came": lambda store, order: add_step(store, order, "1.4"),
    "images were unlinked": lambda store, order: store.write(step_links.unlink, "1.3", order.id, REGISTRAR, CLINIC),
    "the archive counted more": lambda store, order: store.write(
        archive_images.record_answer, order.id, [held(order, 9)], SYSTEM, CLINIC, settled=True
    ),
    "images were unlinked and linked again": lambda store, order: [
        store.write(use_case, "1.3", order.id, REGISTRAR, CLINIC) for use_case in (step_links.unlink, step_links.link)
    ],
    "the patient was corrected": lambda store, order: store.write(
        lambda tx: tx.run("UPDATE patient SET birth_date = '1961-03-21' WHERE id = ?", [order.patient.stored_id])
    ),
}


def held(order: Order, images: int) -> ArchiveStudy:
    return ArchiveStudy(order.study_instance_uid, order.accession_number, images, "DX", "", order.patient.patient_id)


@pytest.mark.parametrize("what", CHANGES)
def test_a_report_is_upheld_about_the_images_that_were_seen_only(store: Store, order: Order, what: str) -> None:
    sign(store, order)
    add_step(store, order, "1.3")
    seen = card(store, order).images
    CHANGES[what](store, order)
    with pytest.raises(Stale):
        store.write(results.uphold, order.id, seen, DOCTOR, CLINIC)
    assert card(store, order).report_doubt is not None
    uphold(store, order)
    assert card(store, order).report_doubt is None


@pytest.mark.parametrize("what", CHANGES)
def test_a_report_is_signed_about_the_images_that_were_seen_only(store: Store, order: Order, what: str) -> None:
    add_step(store, order, "1.3")
    seen = card(store, order).images
    CHANGES[what](store, order)
    with pytest.raises(Invalid) as caught:
        store.write(results.sign, order.id, 0, TEXT, DOCTOR, CLINIC, seen)
    assert caught.value.problems == {"images": "changed"}
    store.write(results.sign, order.id, 0, TEXT, DOCTOR, CLINIC, card(store, order).images)


def test_what_was_upheld_is_written_down(store: Store, order: Order) -> None:
    sign(store, order)
    add_step(store, order, "1.3")
    uphold(store, order)
    [line] = [each for each in card(store, order).events if each.what == "report_uphold"]
    assert line.details == {"sop_instance_uids": "1.2, 1.3", "images": 4}


def test_what_waits_for_a_report_no_longer_does_once_it_is_signed(store: Store, order: Order) -> None:
    def open_ones() -> int:
        with store.read() as reader:
            return int(reader.value("SELECT count(*) FROM orders WHERE state = 'completed' AND reported = 0"))

    assert open_ones() == 1
    store.write(results.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert open_ones() == 1
    sign(store, order, 1)
    assert open_ones() == 0


def test_the_day_and_the_device_on_paper_are_those_of_the_images(store: Store, order: Order) -> None:
    sign(store, order)
    with store.read() as reader:
        printed = reports.signed_report(reader, order)
    assert printed is not None
    at, device = printed.images_made_at, printed.devices
    assert device == "Рентген, каб. 14"
    assert at is not None
    assert abs(at - order.steps[0].start) < timedelta(days=2)
