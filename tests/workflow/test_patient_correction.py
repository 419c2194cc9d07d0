"""A corrected card: its orders, devices and the region follow, former numbers lead to it, and everything is audited."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.directory import Entry
from broker.domain.errors import Forbidden, Invalid, Stale
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.details import NO_DETAILS, PatientDetails
from broker.domain.patients.patient_match import Likeness
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import board
from broker.store.queries.patients import patient_index, patient_search
from broker.store.tables import orders, outbox
from broker.store.tables.patients import patient_details, patients
from broker.store.tables.studies import archive
from broker.workflow import patient_correction, patient_merge
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.patients import patient_consent
from broker.workflow.reading import reports
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, XRAY, draft, message, performed, soon
from tests.workflow.test_patient_merge import register, rows

DOCTOR = Actor(ActorKind.PERSON, "belov", "Белов", frozenset({Role.RADIOLOGIST}))
GUID = "11111111-2222-3333-4444-555555555555"
OTHER_SNILS = "08765430300"


@pytest.fixture
def order(store: Store) -> Order:
    return register(store)


def card(store: Store, id: int) -> Patient:
    with store.read() as reader:
        found = patients.get(reader, id)
    assert found is not None
    return found


def amend(
    store: Store,
    patient: Patient,
    *kept: str,
    details: PatientDetails = NO_DETAILS,
    actor: Actor = REGISTRAR,
    **changes: Any,
) -> Patient:
    changed = replace(patient, **changes)
    return store.write(patient_correction.correct, changed, actor, CLINIC, details=details, kept_numbers=kept)


def audits(store: Store, action: str = "patient_amend") -> list[tuple[int | None, dict[str, Any]]]:
    found = rows(store, "SELECT order_id, action, details FROM audit ORDER BY seq")
    return [(row["order_id"], json.loads(row["details"])) for row in found if row["action"] == action]


def deliver(store: Store) -> None:
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered'"))


def amendments(store: Store) -> list[int]:
    return [
        row["order_id"]
        for row in rows(
            store, "SELECT order_id FROM outbox WHERE kind = 'amend' AND state = 'pending' ORDER BY order_id"
        )
    ]


def test_a_correction_reaches_every_order_and_is_audited_with_what_was_before(store: Store, order: Order) -> None:
    second = register(store, replace(KUZNETSOVA, phone="+7 900 000-00-00"), comment="второе")
    deliver(store)
    known = card(store, order.patient.stored_id)
    after = amend(store, known, name=PersonName("Кузнецова", "Марина", "Павловна"), birth_date=date(1961, 12, 3))
    assert (after.name.middle, after.birth_date) == ("Павловна", date(1961, 12, 3))
    with store.read() as reader:
        assert all(orders.require(reader, id).patient == after for id in (order.id, second.id))
    assert amendments(store) == [order.id, second.id]
    changed = {"middle": ["Петровна", "Павловна"], "birth_date": ["1961-03-12", "1961-12-03"]}
    [of_card, *of_orders] = audits(store)
    assert of_card == (None, {"patient": known.patient_id, "changed": changed})
    assert [id for id, _ in of_orders] == [order.id, second.id]


def test_what_the_region_does_not_get_is_not_sent_there(store: Store, order: Order) -> None:
    deliver(store)
    amend(store, card(store, order.patient.stored_id), phone="+7 900 111-11-11")
    assert amendments(store) == []


def test_another_insurer_is_sent_to_the_region_by_its_code_only_and_stands_in_the_history(
    store: Store, order: Order
) -> None:
    deliver(store)
    known = amend(store, card(store, order.patient.stored_id), insurer="Городская страховая")
    assert amendments(store) == []  # a name is not sent
    after = amend(store, known, insurer="78007  Городская страховая")
    assert after.insurer == "78007"
    assert amendments(store) == [order.id]
    assert audits(store)[-2][1]["changed"] == {"insurer": ["Городская страховая", "78007"]}


def test_a_referral_with_another_insurer_is_the_same_persons_and_says_who_insures_now(
    store: Store, order: Order
) -> None:
    amend(store, card(store, order.patient.stored_id), insurer="78007")
    later = register(store, replace(KUZNETSOVA, insurer="77001"), comment="второе")
    assert later.patient.id == order.patient.id
    assert card(store, order.patient.stored_id).insurer == "77001"
    silent = register(store, KUZNETSOVA, comment="третье")
    assert silent.patient.insurer == "77001"  # what is not said takes nothing away


@pytest.mark.parametrize(
    ("stated", "insurer"),
    [
        ("ООО «Городская страховая»", "78007"),
        ("Городская  страховая", "78007"),
        ("Сельская страховая", "Сельская страховая"),
        ("Страховая", "Страховая"),  # two have that name
    ],
)
def test_an_insurer_that_is_stated_by_name_gets_the_code_of_the_directory(
    store: Store, stated: str, insurer: str
) -> None:
    entries = [
        Entry("78007", "Городская страховая", {"full": "ООО Городская страховая"}),
        Entry("77001", "Страховая"),
        Entry("77002", "Страховая"),
    ]
    store.write(replace_directory, DirectorySource("insurers", "", "", "smo.csv"), entries, SYSTEM)
    order = register(store, replace(KUZNETSOVA, insurer=stated))
    assert card(store, order.patient.stored_id).insurer == insurer
    known = amend(store, card(store, order.patient.stored_id), insurer="")
    assert amend(store, known, insurer=stated).insurer == insurer


def test_a_correction_in_one_order_reaches_the_regions_other_orders(store: Store, order: Order) -> None:
    second = register(store, comment="второе")
    deliver(store)
    changed = draft(patient=replace(second.patient, name=PersonName("Орлова", "Марина", "Петровна")), comment="второе")
    store.write(referrals.amend, second.id, second.revision, changed, REGISTRAR, CLINIC)
    assert amendments(store) == [order.id, second.id]


def test_the_former_number_leads_to_the_card_if_it_was_right_in_its_time(store: Store, order: Order) -> None:
    known = card(store, order.patient.stored_id)
    after = amend(store, known, "snils", snils=OTHER_SNILS)
    described = replace(KUZNETSOVA, policy="")
    with store.read() as reader:
        found = patient_index.match(reader, described)
        assert (found.patient, found.former) == (after, True)
        assert [each.id for each in patient_search.search(reader, "112-233-445 95").patients] == [after.id]
        [former] = patient_details.former_numbers(reader, [after.stored_id])[after.stored_id]
    assert (former.kind, former.number) == ("snils", KUZNETSOVA.snils)
    again = register(store, described, comment="по старому СНИЛС")
    assert (again.patient.id, again.patient.snils) == (after.id, OTHER_SNILS)
    back = amend(store, card(store, after.stored_id), snils=KUZNETSOVA.snils)
    with store.read() as reader:
        assert patient_index.match(reader, described).patient == back
        assert patient_details.former_numbers(reader, [back.stored_id]) == {}


def test_a_number_that_was_written_by_mistake_is_free_for_its_bearer(store: Store, order: Order) -> None:
    known = card(store, order.patient.stored_id)
    amend(store, known, snils="", policy="")
    bearer = replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), policy="")
    with store.read() as reader:
        assert patient_index.match(reader, bearer).likeness is Likeness.NO_MATCH
    assert register(store, bearer).patient.snils == KUZNETSOVA.snils


def test_another_patients_number_an_older_look_and_who_may_not_are_refused(store: Store, order: Order) -> None:
    other = register(store, replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), snils=OTHER_SNILS, policy=""))
    known = card(store, order.patient.stored_id)
    for changes, problems in (
        ({"snils": OTHER_SNILS}, {"snils": "other_patient"}),
        ({"snils": "11223344596"}, {"snils": "check_digit"}),
        ({"name": PersonName("", "Марина")}, {"family": "required"}),
        ({"birth_date": date(2990, 1, 1)}, {"birth_date": "future"}),
    ):
        with pytest.raises(Invalid) as caught:
            amend(store, known, **changes)
        assert caught.value.problems == problems
    with pytest.raises(Stale):
        amend(store, replace(known, revision=known.revision + 1), phone="1")
    with pytest.raises(Forbidden):
        amend(store, known, phone="1", actor=DOCTOR)
    assert card(store, other.patient.stored_id).snils == OTHER_SNILS
    assert audits(store) == []


def test_what_an_import_left_out_does_not_keep_from_correcting_the_rest(store: Store, order: Order) -> None:
    store.write(lambda tx: tx.run("UPDATE patient SET birth_date = ''"))
    known = card(store, order.patient.stored_id)
    assert amend(store, known, phone="+7 900 111-11-11").birth_date is None


def test_a_contradiction_that_the_correction_explains_waits_no_longer(store: Store, order: Order) -> None:
    step = performed("1.2", StepReference(order.study_instance_uid), patient_name="Орлова^Марина")
    store.write(performed_steps.start, step, message("c"), XRAY, CLINIC)
    ended = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", ended, message("f")), XRAY, CLINIC)
    assert rows(store, "SELECT conflict FROM performed_step_link")[0]["conflict"] == "patient_name"
    amend(store, card(store, order.patient.stored_id), name=PersonName("Орлова", "Марина", "Петровна"))
    assert rows(store, "SELECT conflict FROM performed_step_link")[0]["conflict"] == ""
    with store.read() as reader:
        assert outbox.has(reader, order.id, OutboxKind.IMAGES)


def test_address_and_passport_are_kept_move_with_a_merge_and_go_back_with_a_split(store: Store) -> None:
    one = register(store, replace(KUZNETSOVA, snils="", policy=""))
    two = register(store, replace(KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Петровн"), snils="", policy=""))
    details = PatientDetails("Тверь, Садовая, 5", "4510 000000")
    amend(store, two.patient, details=details)
    ids = one.patient.stored_id, two.patient.stored_id
    with store.read() as reader:
        assert patient_details.get(reader, ids[1]) == details
    trail = store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert patient_details.get(reader, ids[0]) == details
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    with store.read() as reader:
        assert (patient_details.get(reader, ids[0]), patient_details.get(reader, ids[1])) == (NO_DETAILS, details)


def test_after_the_consent_is_withdrawn_nothing_new_goes_to_the_region_until_it_is_given_again(
    store: Store, order: Order
) -> None:
    id = order.patient.stored_id
    store.write(patient_consent.give, id, REGISTRAR, CLINIC)
    store.write(patient_consent.withdraw, id, REGISTRAR, CLINIC)
    quiet = register(store, comment="второе")
    assert quiet.bus_role is BusRole.NONE
    with store.read() as reader:
        assert not outbox.has(reader, quiet.id, OutboxKind.ORDER)
    with pytest.raises(Invalid) as caught:
        register(store, comment="в другую клинику", owner=GUID, station_ae_titles=())
    assert caught.value.problems == {"owner": "no_consent"}
    store.write(patient_consent.give, id, REGISTRAR, CLINIC)
    assert register(store, comment="третье").bus_role is BusRole.PLACER
    with store.read() as reader:
        details = patient_details.get(reader, id)
    assert (details.consent_on, details.is_consent_withdrawn) == (date(2026, 11, 24), False)
    assert [len(audits(store, action)) for action in ("consent_given", "consent_withdrawn")] == [2, 1]
    with pytest.raises(Forbidden):
        store.write(patient_consent.withdraw, id, DOCTOR, CLINIC)


# ---- what was made under the former data ----


OLGA = PersonName("Петрова", "Ольга", "Ивановна")
REPORT = reports.ReportText("Щель сужена", "Гонартроз", "", 0.01)


def made(store: Store, order: Order, name: str = "Кузнецова^Марина^Петровна", uid: str = "1.2") -> None:
    step = performed(
        uid, StepReference(order.study_instance_uid), patient_name=name, patient_id=order.patient.patient_id
    )
    store.write(performed_steps.start, step, message(f"c {uid}"), XRAY, CLINIC)
    ended = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(performed_steps.change, performed_steps.ChangeRequest(uid, ended, message("f")), XRAY, CLINIC)


def conflicts(store: Store) -> list[str]:
    return [row["conflict"] for row in rows(store, "SELECT conflict FROM performed_step_link ORDER BY 1")]


def queued(store: Store, order: Order) -> list[str]:
    found = rows(store, "SELECT order_id, kind FROM outbox WHERE state IN ('pending', 'needs_attention') ORDER BY seq")
    return [row["kind"] for row in found if row["order_id"] == order.id]


def correct(store: Store, order: Order, *, made_seen: Collection[int] | None = None, **changes: Any) -> Patient:
    changed = replace(card(store, order.patient.stored_id), **changes)
    return store.write(patient_correction.correct, changed, REGISTRAR, CLINIC, made_seen=made_seen)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": OLGA}, ["family"]),
        ({"birth_date": date(1962, 3, 12)}, ["birth_date"]),
        ({"sex": Sex.MALE}, ["sex"]),
        ({"name": OLGA, "sex": Sex.MALE}, ["family", "sex"]),
    ],
)
def test_a_card_becomes_another_person_only_after_a_look_at_what_was_made(
    store: Store, order: Order, changes: dict[str, Any], fields: list[str]
) -> None:
    made(store, order)
    with pytest.raises(Invalid) as caught:
        correct(store, order, **changes)
    assert caught.value.problems == dict.fromkeys(fields, "contradicts_made")
    with pytest.raises(Stale):  # another study was made meanwhile
        correct(store, order, made_seen=[], **changes)
    assert conflicts(store) == [""]
    correct(store, order, made_seen=[order.id], **changes)
    [of_card, of_order] = audits(store)
    assert [("name" if each == "family" else each) for each in fields] == of_card[1]["contradicts"]
    assert of_card[1]["made_seen"] == [order.id]
    assert of_order[1]["confirmed"] == ", ".join(of_card[1]["contradicts"])


def test_images_of_the_former_data_are_doubtful_and_do_not_go_to_the_region(store: Store, order: Order) -> None:
    made(store, order)
    store.write(reports.sign, order.id, 0, REPORT, DOCTOR, CLINIC)
    deliver_only(store, "order")
    assert queued(store, order) == ["images", "report"]
    correct(store, order, made_seen=[order.id], name=OLGA)
    assert conflicts(store) == ["patient_name"]
    assert queued(store, order) == ["amend"]
    with store.read() as reader:  # as the board shows it
        assert [(each.order.id, each.fields) for each in board.doubtful(reader)] == [(order.id, ("patient_name",))]
    seen = Confirmation(card(store, order.patient.stored_id), ("patient_name",))
    store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, seen)
    assert queued(store, order) == ["amend", "images", "report"]


def test_a_correction_that_is_taken_back_lets_everything_go_again(store: Store, order: Order) -> None:
    made(store, order)
    store.write(reports.sign, order.id, 0, REPORT, DOCTOR, CLINIC)
    deliver_only(store, "order")
    correct(store, order, made_seen=[order.id], name=OLGA)
    correct(store, order, made_seen=[order.id], name=KUZNETSOVA.name)
    assert conflicts(store) == [""]
    assert queued(store, order) == ["amend", "images", "report"]


def test_a_new_surname_asks_nobody_and_doubts_nothing(store: Store, order: Order) -> None:
    made(store, order)
    correct(store, order, name=replace(KUZNETSOVA.name, family="Петрова"))
    assert conflicts(store) == [""]
    assert "images" in queued(store, order)


def test_a_card_under_which_nothing_was_made_is_corrected_without_a_question(store: Store, order: Order) -> None:
    assert correct(store, order, name=OLGA, sex=Sex.MALE).name == OLGA


def test_what_was_closed_by_hand_is_asked_about_and_not_doubted(store: Store, order: Order) -> None:
    store.write(step_links.close, order.id, order.revision, REGISTRAR, CLINIC)
    with pytest.raises(Invalid):
        correct(store, order, name=OLGA)
    correct(store, order, made_seen=[order.id], name=OLGA)
    assert conflicts(store) == [""]


def test_a_study_of_the_archive_that_was_accepted_for_the_former_person_waits_again(store: Store, order: Order) -> None:
    made(store, order)
    reported = {"patient_name": "Кузнецова^Марина", "patient_id": order.patient.patient_id}
    found = [
        ArchiveStudy(uid, order.accession_number, 2, "DX", **reported, birth_date="19610312", start=soon())
        for uid in (order.study_instance_uid, "1.9.9")
    ]
    store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)
    with store.read() as reader:
        [open_one] = archive.of_order(reader, order.id)
    store.write(archive_images.accept, open_one.id, REGISTRAR, CLINIC)
    correct(store, order, made_seen=[order.id], name=OLGA)
    with store.read() as reader:
        assert [each.kind for each in archive.of_order(reader, order.id)] == [DiscrepancyKind.OTHER_PATIENT]


def test_a_referral_makes_no_other_person_of_a_card_under_which_something_was_made(store: Store, order: Order) -> None:
    made(store, order)
    known = card(store, order.patient.stored_id)
    with pytest.raises(Invalid) as caught:
        register(store, replace(known, name=OLGA), comment="второе")
    assert caught.value.problems == {"family": "contradicts_made"}
    second = register(store, replace(known, name=replace(known.name, family="Орлова")), comment="третье")
    changed = draft(patient=replace(second.patient, sex=Sex.MALE), comment="третье")
    with pytest.raises(Invalid):
        store.write(referrals.amend, second.id, second.revision, changed, REGISTRAR, CLINIC)


def deliver_only(store: Store, kind: str) -> None:
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered' WHERE kind = ?", [kind]))


# ---- former names ----


def found(store: Store, typed: str) -> list[tuple[str, str]]:
    with store.read() as reader:
        searched = patient_search.search(reader, typed)
    return [(str(each.name), str(searched.former.get(each.stored_id, ""))) for each in searched.patients]


MARRIED = replace(KUZNETSOVA.name, family="Замужняя-Петрова")


@pytest.mark.parametrize("typed", ["кузнец", "марина кузнецова", "кузнецова 12.03.1961", "кузнецова 1961"])
def test_who_has_changed_the_name_is_found_by_the_former_one(store: Store, order: Order, typed: str) -> None:
    correct(store, order, name=MARRIED)
    assert found(store, typed) == [("Замужняя-Петрова Марина Петровна", "Кузнецова Марина Петровна")]
    assert found(store, "замужн") == [("Замужняя-Петрова Марина Петровна", "")]
    assert found(store, "кузнецова 13.03.1961") == []


def test_a_former_name_that_is_in_force_again_is_none(store: Store, order: Order) -> None:
    correct(store, order, name=MARRIED)
    correct(store, order, name=KUZNETSOVA.name)
    assert found(store, "кузнецова") == [("Кузнецова Марина Петровна", "")]
    assert found(store, "замужняя") == [("Кузнецова Марина Петровна", "Замужняя-Петрова Марина Петровна")]


def test_who_bears_the_name_comes_before_who_bore_it(store: Store, order: Order) -> None:
    correct(store, order, name=MARRIED)
    register(store, replace(KUZNETSOVA, name=PersonName("Кузнецова", "Анна"), snils=OTHER_SNILS, policy=""))
    assert [name for name, _ in found(store, "кузнецова")] == ["Кузнецова Анна", "Замужняя-Петрова Марина Петровна"]


def test_a_name_that_a_referral_changed_is_kept_too(store: Store, order: Order) -> None:
    register(store, replace(card(store, order.patient.stored_id), name=MARRIED), comment="второе")
    assert found(store, "кузнецова") == [("Замужняя-Петрова Марина Петровна", "Кузнецова Марина Петровна")]


def test_a_merged_cards_name_leads_to_the_one_that_stayed_until_they_are_split(store: Store, order: Order) -> None:
    other = register(store, replace(KUZNETSOVA, name=MARRIED, snils="", policy=""))
    ids = order.patient.stored_id, other.patient.stored_id
    trail = store.write(patient_merge.merge, *ids, ("family",), (1, 1), REGISTRAR, CLINIC)
    assert found(store, "кузнецова") == [("Замужняя-Петрова Марина Петровна", "Кузнецова Марина Петровна")]
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    assert found(store, "кузнецова") == [("Кузнецова Марина Петровна", "")]
    assert found(store, "замужняя") == [("Замужняя-Петрова Марина Петровна", "")]


def test_a_device_that_has_the_former_name_names_the_same_patient_after_a_marriage_alone(
    store: Store, order: Order
) -> None:
    correct(store, order, name=MARRIED)
    made(store, order)
    assert conflicts(store) == [""]
    correct(store, order, made_seen=[order.id], name=OLGA)
    made(store, order, uid="1.3")
    assert conflicts(store) == ["patient_name", "patient_name"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": OLGA}, ["family"]),
        ({"birth_date": date(1962, 3, 12)}, ["birth_date"]),
        ({"birth_date": None, "birth_year": 1962}, ["birth_date"]),
        ({"sex": Sex.MALE}, ["sex"]),
    ],
)
def test_a_referral_makes_no_other_person_of_a_card_that_has_other_orders(
    store: Store, order: Order, changes: dict[str, Any], fields: list[str]
) -> None:
    known = card(store, order.patient.stored_id)
    with pytest.raises(Invalid) as caught:
        register(store, replace(known, **changes), comment="второе")
    assert caught.value.problems == dict.fromkeys(fields, "contradicts_others")
    second = register(store, known, comment="второе")
    changed = draft(patient=replace(second.patient, **changes), comment="второе")
    with pytest.raises(Invalid) as caught:
        store.write(referrals.amend, second.id, second.revision, changed, REGISTRAR, CLINIC)
    assert caught.value.problems == dict.fromkeys(fields, "contradicts_others")
    assert card(store, known.stored_id) == known
    # Once no other order would follow, it is the correction of what was typed for this one.
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    store.write(referrals.amend, second.id, second.revision, changed, REGISTRAR, CLINIC)
    assert card(store, known.stored_id) != known


def test_a_referral_to_another_clinic_is_another_order_too(store: Store, order: Order) -> None:
    there = register(store, card(store, order.patient.stored_id), owner=GUID, station_ae_titles=(), comment="там")
    changed = draft(patient=replace(order.patient, name=OLGA))
    with pytest.raises(Invalid) as caught:
        store.write(referrals.amend, order.id, order.revision, changed, REGISTRAR, CLINIC)
    assert caught.value.problems == {"family": "contradicts_others"}
    assert there.patient.name == KUZNETSOVA.name


def test_a_new_surname_and_a_completed_name_need_no_look_at_the_other_orders(store: Store, order: Order) -> None:
    register(store, card(store, order.patient.stored_id), comment="второе")
    renamed = replace(order.patient, name=replace(KUZNETSOVA.name, family="Петрова"), policy="")
    after = store.write(referrals.amend, order.id, order.revision, draft(patient=renamed), REGISTRAR, CLINIC)
    assert after.patient.name.family == "Петрова"
