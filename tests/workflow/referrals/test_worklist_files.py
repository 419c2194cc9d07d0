"""Scripts' items are taken over as they are, follow their files, and neither rename a person nor collide with us."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, Refused
from broker.domain.import_result import Reason
from broker.domain.orders import ImportedItem, Order, OrderState, StepState
from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import orders, outbox, worklist_files
from broker.store.tables.worklist_files import FileState
from broker.workflow.referrals import referrals
from broker.workflow.referrals import worklist_files as intake
from broker.workflow.referrals.worklist_files import SyncOutcome, SyncResult
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, draft

SIDOROVA = Patient(PersonName("Сидорова", "Анна"), date(1980, 1, 2), Sex.FEMALE, patient_id="P1")

OTHER = {"accession_number": "A2", "study_instance_uid": "1.2.3.2"}


def item(**changes: Any) -> ImportedItem:
    base = ImportedItem(
        patient=SIDOROVA,
        start=datetime(2026, 11, 24, 10, 15, 30),
        station_ae_titles=("OLD_CR",),
        modality="CR",
        procedure_name="EXAM",
        accession_number="A1",
        study_instance_uid="1.2.3.1",
        requested_procedure_id="R1",
        sps_id="S1",
        attributes={"top": {"MedicalAlerts": {"vr": "LO", "Value": ["METASTASIS"]}}, "step": {}},
    )
    return replace(base, **changes)


def take(store: Store, content: ImportedItem, path: str = "/wl/1.wl", digest: str = "1", **options: Any) -> SyncResult:
    return store.write(intake.sync, content, path, digest, SYSTEM, CLINIC, **options)


def order_of(store: Store, taken: SyncResult) -> Order:
    with store.read() as reader:
        order = orders.get(reader, taken.order_id)
    assert order is not None
    return order


def value(store: Store, sql: str) -> Any:
    with store.read() as reader:
        return reader.value(sql)


def begin(store: Store, order: Order, uid: str = "1.9") -> None:
    step = factory.performed(uid, StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, factory.message(uid), factory.XRAY, CLINIC)


# ---- added ----


def test_what_a_script_wrote_stands_on_the_worklist_as_it_wrote_it(store: Store) -> None:
    order = order_of(store, take(store, item()))
    assert (order.accession_number, order.study_instance_uid) == ("A1", "1.2.3.1")
    assert (order.requested_procedure_id, order.steps[0].sps_id) == ("R1", "S1")
    assert (order.steps[0].start, order.steps[0].station_ae_titles) == (item().start, ("OLD_CR",))
    assert (order.procedure_code, order.procedure_name, order.modality) == ("", "EXAM", "CR")
    assert order.patient.patient_id == "P1"
    assert order.attributes == item().attributes
    assert (order.state, order.created_by) == (OrderState.SCHEDULED, "import")
    assert value(store, "SELECT action FROM audit") == "import"
    assert value(store, "SELECT count(*) FROM outbox") == 0  # the region did not ask for scripts' items


def test_numbers_that_are_missing_are_made_here(store: Store) -> None:
    bare = item(accession_number="", study_instance_uid="", requested_procedure_id="", sps_id="")
    order = order_of(store, take(store, replace(bare, patient=replace(SIDOROVA, patient_id=""))))
    assert order.accession_number.startswith("K")
    assert order.study_instance_uid.startswith(CLINIC.uid_root)
    assert (order.requested_procedure_id, order.steps[0].sps_id, order.patient.patient_id) == ("RP1", "SPS1", "000001")


def test_numbers_made_here_pass_over_those_that_scripts_used(store: Store) -> None:
    today = factory.soon()
    taken = item(
        patient=replace(SIDOROVA, patient_id="000001"),
        accession_number=f"K{today:%y%m}-0001",
        requested_procedure_id="RP1",
        sps_id="SPS1",
    )
    take(store, taken)
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    assert order.accession_number == f"K{today:%y%m}-0002"
    assert (order.requested_procedure_id, order.steps[0].sps_id, order.patient.patient_id) == ("RP2", "SPS2", "000002")


def test_ids_that_repeat_or_are_too_long_are_answered_and_ours_stand_in_for_them(store: Store) -> None:
    take(store, item())
    other = item(sps_id="S1", requested_procedure_id="R" * 17, **OTHER)
    order = order_of(store, take(store, other, "/wl/2.wl"))
    assert (order.requested_procedure_id, order.steps[0].sps_id) == ("RP1", "SPS1")
    assert order.attributes["top"]["RequestedProcedureID"] == {"vr": "SH", "Value": ["R" * 17]}
    assert order.attributes["step"]["ScheduledProcedureStepID"] == {"vr": "SH", "Value": ["S1"]}
    begin(store, order)  # the device names the study, and what the script wrote as ids
    assert order_of(store, SyncResult(SyncOutcome.ADDED, order.id, "")).state is OrderState.IN_PROGRESS


def test_a_script_that_repeats_its_ids_and_makes_new_uids_keeps_its_order(store: Store) -> None:
    bare = {"accession_number": "", "requested_procedure_id": "1", "sps_id": "1"}
    take(store, item(patient=replace(SIDOROVA, patient_id="P7"), study_instance_uid="1.2.7", **bare), "/wl/7.wl")
    first = take(store, item(study_instance_uid="1.2.8", **bare), "/wl/8.wl")  # "1" is the other's here
    again = take(store, item(study_instance_uid="1.2.9", comment="срочно", **bare), "/wl/8.wl", "2")
    assert (again.outcome, again.order_id) == (SyncOutcome.AMENDED, first.order_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study_instance_uid": "1.2.3.9"}, "accession number A1 is that of another file's order"),
        ({"accession_number": "A9"}, "Study Instance UID 1.2.3.1 is that of another file's order"),
    ],
)
def test_a_number_that_another_file_has_is_refused(store: Store, changes: dict[str, str], reason: str) -> None:
    take(store, item())
    with pytest.raises(Refused, match=reason):
        take(store, item(**changes), "/wl/2.wl")
    assert value(store, "SELECT count(*) FROM orders") == 1


def test_a_number_of_an_order_made_here_is_refused(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    with pytest.raises(Refused, match="registered here"):
        take(store, item(accession_number=order.accession_number))


def test_an_item_without_a_station_is_for_the_devices_of_its_modality(store: Store) -> None:
    order = order_of(store, take(store, item(station_ae_titles=(), modality="DX")))
    assert set(order.steps[0].station_ae_titles) == {"XRAY_14", "FLG_12"}
    with pytest.raises(Refused, match="no device for CT is registered"):
        take(store, item(station_ae_titles=(), modality="CT", **OTHER), "/wl/2.wl")


def test_an_item_without_a_modality_has_that_of_its_device(store: Store) -> None:
    order = order_of(store, take(store, item(station_ae_titles=("MAMMO_9",), modality="")))
    assert order.modality == "MG"
    with pytest.raises(Refused, match="no Modality"):
        take(store, item(modality="", **OTHER), "/wl/2.wl")


def test_a_dry_run_stores_nothing_and_refuses_the_same(store: Store) -> None:
    taken = store.dry_run(intake.sync, item(), "/wl/1.wl", "1", SYSTEM, CLINIC)
    assert taken.outcome is SyncOutcome.ADDED
    assert value(store, "SELECT count(*) FROM orders") == value(store, "SELECT count(*) FROM patient") == 0
    take(store, item())
    with pytest.raises(Refused):
        store.dry_run(intake.sync, item(), "/wl/2.wl", "1", SYSTEM, CLINIC)


def test_the_region_gets_it_if_that_is_wanted(store: Store) -> None:
    take(store, item(), send_to_bus=True)
    assert value(store, "SELECT kind FROM outbox") == "order"


def test_who_may_not_register_may_not_import(store: Store) -> None:
    nobody = Actor(ActorKind.PERSON, "x", roles=frozenset({Role.RADIOLOGIST}))
    with pytest.raises(Forbidden):
        store.write(intake.sync, item(), "/wl/1.wl", "1", nobody, CLINIC)


# ---- patients ----


@pytest.mark.parametrize(
    "name", [PersonName("Сидорова", "Анна", "Ивановна"), PersonName("Петрова", "Анна"), PersonName("СИДОРОВА", "Анна")]
)
def test_a_completed_patronymic_or_a_changed_surname_is_the_same_person(store: Store, name: PersonName) -> None:
    take(store, item())
    order = order_of(store, take(store, item(patient=replace(SIDOROVA, name=name), **OTHER), "/wl/2.wl"))
    assert value(store, "SELECT count(*) FROM patient") == 1
    assert str(order.patient.name).casefold() == str(name).casefold()


def test_a_patient_id_never_makes_one_of_two_people(store: Store) -> None:
    take(store, item())
    for changes, reason in (
        ({"name": PersonName("Петрова", "Алла")}, "another name"),
        ({"name": PersonName("Петрова", "Анна"), "birth_date": None}, "another name"),
        ({"birth_date": date(1981, 1, 2)}, "another date of birth"),
        ({"sex": Sex.MALE}, "another sex"),
    ):
        other = item(patient=replace(SIDOROVA, **changes), **OTHER)
        with pytest.raises(Refused, match=reason) as raised:
            take(store, other, "/wl/2.wl")
        assert "Петрова" not in str(raised.value)
    assert value(store, "SELECT family FROM patient") == "Сидорова"


def test_a_known_person_is_filled_in_and_not_emptied(store: Store) -> None:
    first = replace(SIDOROVA, birth_date=None, sex=Sex.OTHER, weight=60, allergies="Йод")
    take(store, item(patient=first))
    reported = replace(SIDOROVA, name=PersonName("СИДОРОВА", "АННА"), allergies="Пенициллин")
    order = order_of(store, take(store, item(patient=reported, **OTHER), "/wl/2.wl"))
    assert (order.patient.birth_date, order.patient.sex) == (SIDOROVA.birth_date, Sex.FEMALE)
    assert (order.patient.weight, order.patient.allergies) == (60, "Йод; Пенициллин")
    assert order.patient.name == SIDOROVA.name
    # … and yet the modality gets the spelling of its script.
    assert order.attributes["top"]["PatientName"]["Value"] == [{"Alphabetic": "СИДОРОВА^АННА"}]
    third = item(patient=replace(first, weight=None), accession_number="A3", study_instance_uid="1.2.3.3")
    assert order_of(store, take(store, third, "/wl/3.wl")).patient.birth_date == SIDOROVA.birth_date


def test_without_a_patient_id_name_birth_date_and_sex_identify_the_patient(store: Store) -> None:
    known = store.write(referrals.register, draft(), REGISTRAR, CLINIC).patient
    stated = Patient(KUZNETSOVA.name, KUZNETSOVA.birth_date, KUZNETSOVA.sex)
    assert order_of(store, take(store, item(patient=stated))).patient.id == known.id
    nameless = replace(stated, birth_date=None)
    other = item(patient=nameless, **OTHER)
    stranger = order_of(store, take(store, other, "/wl/2.wl")).patient
    assert stranger.id != known.id
    again = take(store, replace(other, comment="new"), "/wl/2.wl", "2")
    assert order_of(store, again).patient.id == stranger.id  # the same file means the same person


def test_a_referral_fills_in_the_date_of_birth_that_an_import_did_not_have(store: Store) -> None:
    order = order_of(store, take(store, item(patient=replace(SIDOROVA, birth_date=None))))
    for_us = store.write(referrals.register, draft(patient=order.patient), REGISTRAR, CLINIC)
    assert (for_us.patient.id, for_us.patient.birth_date) == (order.patient.id, None)
    known = store.write(referrals.register, draft(patient=replace(SIDOROVA, id=None)), REGISTRAR, CLINIC).patient
    assert (known.id, known.birth_date) == (order.patient.id, SIDOROVA.birth_date)


# ---- the file changes ----


def test_the_same_content_again_changes_nothing(store: Store) -> None:
    first = take(store, item())
    before = value(store, "SELECT total_changes()"), value(store, "SELECT count(*) FROM audit")
    assert take(store, item()) == replace(first, outcome=SyncOutcome.UNCHANGED)
    assert (value(store, "SELECT total_changes()"), value(store, "SELECT count(*) FROM audit")) == before


def test_changed_content_amends_what_has_not_begun(store: Store) -> None:
    first = take(store, item())
    changed = item(
        start=datetime(2026, 11, 25, 9, 0),
        station_ae_titles=("CR_2",),
        study_instance_uid="1.2.3.77",
        comment="осторожно",
        attributes={"top": {}, "step": {}},
    )
    again = take(store, changed, digest="2")
    assert (again.outcome, again.order_id) == (SyncOutcome.AMENDED, first.order_id)
    order = order_of(store, again)
    assert (order.study_instance_uid, order.comment) == ("1.2.3.77", "осторожно")
    assert (order.steps[0].start, order.steps[0].station_ae_titles) == (changed.start, ("CR_2",))
    assert order.attributes == {"top": {}, "step": {}}
    assert order.revision == 2


def test_another_patient_under_the_same_accession_number_is_a_correction(store: Store) -> None:
    first = take(store, item())
    other = Patient(PersonName("Петрова", "Ольга"), date(1970, 5, 5), Sex.FEMALE, patient_id="P2")
    order = order_of(store, take(store, item(patient=other), digest="2"))
    assert (order.id, order.patient.patient_id) == (first.order_id, "P2")


def test_another_item_under_the_same_file_name_takes_the_old_one_off_the_worklist(store: Store) -> None:
    first = take(store, item())
    second = take(store, item(sps_id="S2", **OTHER), digest="2")
    assert second.outcome is SyncOutcome.ADDED
    assert order_of(store, first).state is OrderState.CANCELLED
    assert order_of(store, second).state is OrderState.SCHEDULED


def test_scripts_without_accession_numbers_may_make_a_new_uid_whenever_they_write(store: Store) -> None:
    first = take(store, item(accession_number=""))
    again = take(store, item(accession_number="", study_instance_uid="1.2.3.99"), digest="2")
    assert (again.outcome, again.order_id) == (SyncOutcome.AMENDED, first.order_id)
    assert again.accession_number == first.accession_number


def test_what_has_started_stays_as_it_is(store: Store) -> None:
    first = take(store, item())
    begin(store, order_of(store, first))
    with pytest.raises(Refused, match="has started"):
        take(store, item(comment="late"), digest="2")
    assert take(store, item()).outcome is SyncOutcome.UNCHANGED
    store.write(
        performed_steps.change,
        performed_steps.ChangeRequest("1.9", PerformedChange(PerformedState.COMPLETED), factory.message("b")),
        factory.XRAY,
        CLINIC,
    )
    with pytest.raises(Refused, match="has started"):
        take(store, item(comment="late"), digest="2")


def test_what_a_person_cancelled_stays_cancelled(store: Store) -> None:
    order = order_of(store, take(store, item()))
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    assert take(store, item()).outcome is SyncOutcome.UNCHANGED
    with pytest.raises(Refused, match="was cancelled here"):
        take(store, item(comment="new"), digest="2")
    assert store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC) == SyncResult(SyncOutcome.LEFT, order.id, "A1")
    assert take(store, item()).outcome is SyncOutcome.UNCHANGED
    assert order_of(store, SyncResult(SyncOutcome.LEFT, order.id, "")).state is OrderState.CANCELLED


# ---- the file goes, and comes back ----


def test_a_file_that_goes_takes_its_order_along_and_brings_it_back(store: Store) -> None:
    first = take(store, item())
    gone = store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    assert gone is not None
    assert gone.outcome is SyncOutcome.WITHDRAWN
    order = order_of(store, first)
    assert (order.state, order.steps[0].state) == (OrderState.CANCELLED, StepState.CANCELLED)
    assert take(store, item()).outcome is SyncOutcome.RESTORED
    order = order_of(store, first)
    assert (order.state, order.steps[0].state) == (OrderState.SCHEDULED, StepState.SCHEDULED)
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    assert take(store, item(comment="new"), digest="2").outcome is SyncOutcome.RESTORED
    assert order_of(store, first).comment == "new"
    actions = [row["action"] for row in _rows(store, "SELECT action FROM audit ORDER BY seq")]
    assert actions == ["import", "withdraw", "restore", "withdraw", "restore", "amend"]


def _rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as reader:
        return reader.rows(sql)


def test_a_removed_file_does_not_cancel_a_started_study(store: Store) -> None:
    first = take(store, item())
    begin(store, order_of(store, first))
    gone = store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    assert gone is not None
    assert gone.outcome is SyncOutcome.LEFT
    assert order_of(store, first).state is OrderState.IN_PROGRESS
    with store.read() as reader:
        known = worklist_files.get(reader, "/wl/1.wl")
    assert known is not None
    assert known.state is FileState.GONE


def test_a_file_of_which_nothing_came_is_forgotten(store: Store) -> None:
    store.write(intake.note_problem, "/wl/1.wl", "1", Reason("unreadable", "wrong"), SYSTEM)
    assert store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC) is None
    assert value(store, "SELECT count(*) FROM worklist_file") == 0


def test_a_file_that_gets_another_name_is_the_same_item(store: Store) -> None:
    first = take(store, item())
    renamed = take(store, item(), "/wl/2.wl", vanished={"/wl/1.wl": "1"})
    assert renamed == replace(first, outcome=SyncOutcome.UNCHANGED)
    changed = take(store, item(comment="new"), "/wl/3.wl", "2", vanished={"/wl/2.wl": "1"})
    assert (changed.outcome, changed.order_id) == (SyncOutcome.AMENDED, first.order_id)
    store.write(intake.withdraw, "/wl/3.wl", SYSTEM, CLINIC)
    back = take(store, item(comment="new"), "/wl/4.wl", "2")
    assert (back.outcome, back.order_id) == (SyncOutcome.RESTORED, first.order_id)
    assert [row["path"] for row in _rows(store, "SELECT path FROM worklist_file")] == ["/wl/4.wl"]


def test_a_renamed_file_without_numbers_is_known_by_its_content(store: Store) -> None:
    bare = item(accession_number="", study_instance_uid="")
    first = take(store, bare)
    assert take(store, bare, "/wl/2.wl", vanished={"/wl/1.wl": "1"}).order_id == first.order_id


def test_a_problem_is_kept_until_the_content_is_good_and_the_order_meanwhile(store: Store) -> None:
    first = take(store, item())
    store.write(intake.note_problem, "/wl/1.wl", "2", Reason("unreadable", "wrong"), SYSTEM)
    with store.read() as reader:
        known = worklist_files.get(reader, "/wl/1.wl")
    assert known is not None
    assert (known.order_id, known.problem) == (first.order_id, "wrong")
    assert take(store, item()).outcome is SyncOutcome.UNCHANGED
    assert value(store, "SELECT problem FROM worklist_file") == ""


def test_a_file_that_comes_back_damaged_and_is_fixed_is_restored(store: Store) -> None:
    first = take(store, item())
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    store.write(intake.note_problem, "/wl/1.wl", "2", Reason("unreadable", "wrong"), SYSTEM)
    assert take(store, item()).outcome is SyncOutcome.RESTORED
    assert order_of(store, first).state is OrderState.SCHEDULED


def test_what_the_region_knows_to_be_cancelled_is_not_restored(store: Store) -> None:
    first = take(store, item(), send_to_bus=True)
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered' WHERE kind = 'cancel'"))
    with pytest.raises(Refused, match="the region knows"):
        take(store, item())
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'pending' WHERE kind = 'cancel'"))
    assert take(store, item()).outcome is SyncOutcome.RESTORED
    assert order_of(store, first).state is OrderState.SCHEDULED


# ---- a person's hand ----


def test_what_the_region_refused_goes_again_when_its_file_comes_back(store: Store) -> None:
    first = take(store, item(), send_to_bus=True)
    store.write(lambda tx: outbox.mark_needs_attention(tx, 1, "dictionary unknown", ""))
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    assert value(store, "SELECT state FROM outbox") == "dropped"
    assert take(store, item(), send_to_bus=True).outcome is SyncOutcome.RESTORED
    with store.read() as reader:
        [row] = outbox.heads(reader)
    assert (row.order_id, row.kind) == (first.order_id, "order")


def test_what_a_person_changes_is_no_longer_overruled_by_what_was_kept(store: Store) -> None:
    kept = {
        "top": {
            "RequestedProcedurePriority": {"vr": "SH", "Value": ["LOW"]},
            "RequestingPhysician": {"vr": "PN"},
            "MedicalAlerts": {"vr": "LO", "Value": ["METASTASIS"]},
            "PatientName": {"vr": "PN", "Value": [{"Alphabetic": "Сидорова^Анна^^^мл."}]},
        },
        "step": {
            "ScheduledProcedureStepDescription": {"vr": "LO", "Value": ["EXAM 2"]},
            "ScheduledStationName": {"vr": "SH", "Value": ["STN"]},
        },
    }
    order = order_of(store, take(store, item(attributes=kept)))
    typed = draft(patient=order.patient, start=order.steps[0].start, laterality="")
    changed = store.write(referrals.amend, order.id, order.revision, typed, REGISTRAR, CLINIC)
    assert changed.comment == ""
    left = order_of(store, SyncResult(SyncOutcome.ADDED, order.id, "")).attributes
    # The station and the procedure are other ones, and so is who refers; the priority and the name are as they were.
    assert set(left["top"]) == {"RequestedProcedurePriority", "MedicalAlerts", "PatientName"}
    assert left["step"] == {}


TEXTS = st.text("аб .,\t\n", max_size=20).map(lambda text: text.strip(" "))


@pytest.mark.slow
@given(
    seconds=st.integers(0, 59),
    microseconds=st.integers(0, 999_999),
    comment=TEXTS,
    referrer=st.tuples(TEXTS, TEXTS, TEXTS),
    days_later=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_person_leaves_as_the_form_shows_it_is_not_changed_by_saving(
    tmp_path: Path,
    seconds: int,
    microseconds: int,
    comment: str,
    referrer: tuple[str, str, str],
    days_later: int,
) -> None:
    clock = Clock(datetime(2026, 11, 24, 6, 0, tzinfo=UTC))
    store = factory.open_store(Path(tempfile.mkdtemp(dir=tmp_path)) / "worklist.sqlite", clock=clock)
    try:
        written = item(
            start=datetime(2026, 11, 24, 10, 15, seconds, microseconds),
            station_ae_titles=("XRAY_14",),
            modality="DX",
            procedure_code="WLB-KNEE",
            comment=comment,
            referrer=PersonName(*referrer),
        )
        order = order_of(store, take(store, written))
        clock.now += timedelta(days=days_later)  # as late as people correct things
        typed = draft(
            patient=order.patient,
            start=order.steps[0].start.replace(second=0, microsecond=0),
            laterality=order.laterality,
            referrer=names.split(str(order.referrer)),
            referrer_position=order.referrer_position,
            diagnosis_code=order.diagnosis_code,
            diagnosis_text=order.diagnosis_text,
            comment=names.tidy(order.comment),
        )
        changed = store.write(referrals.amend, order.id, order.revision, typed, REGISTRAR, CLINIC)
        assert changed.steps == order.steps
        assert (changed.comment, changed.referrer) == (order.comment, order.referrer)
        corrected = replace(typed, comment="сидя")
        after = store.write(referrals.amend, order.id, changed.revision, corrected, REGISTRAR, CLINIC)
        assert (after.steps, after.comment, after.referrer) == (order.steps, "сидя", order.referrer)
    finally:
        store.close()


def test_a_start_with_seconds_can_be_corrected_on_a_later_day_and_keeps_its_place(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 24, 6, 0, tzinfo=UTC))
    store = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    attributes = {"top": {}, "step": {"ScheduledProcedureStepStartTime": {"vr": "TM", "Value": ["101530"]}}}
    order = order_of(store, take(store, item(station_ae_titles=("XRAY_14",), modality="DX", attributes=attributes)))
    clock.now += timedelta(days=1)
    typed = draft(patient=order.patient, start=datetime(2026, 11, 24, 10, 15), comment="сидя")
    changed = store.write(referrals.amend, order.id, order.revision, typed, REGISTRAR, CLINIC)
    assert (changed.steps[0].start, changed.comment) == (datetime(2026, 11, 24, 10, 15, 30), "сидя")
    assert changed.attributes["step"] == {"ScheduledProcedureStepStartTime": {"vr": "TM", "Value": ["101530"]}}
    moved = replace(typed, start=datetime(2026, 11, 24, 10, 16))
    with pytest.raises(Invalid) as caught:
        store.write(referrals.amend, order.id, changed.revision, moved, REGISTRAR, CLINIC)
    assert caught.value.problems == {"date": "past"}
    store.close()


def test_a_name_that_a_person_corrects_is_answered_everywhere(store: Store) -> None:
    kept = {"top": {"PatientName": {"vr": "PN", "Value": [{"Alphabetic": "Сидорова Анна"}]}}, "step": {}}
    order = order_of(store, take(store, item(attributes=kept)))
    corrected = replace(order.patient, name=PersonName("Сидорова", "Анна", "Ивановна"))
    store.write(referrals.register, draft(patient=corrected), REGISTRAR, CLINIC)
    left = order_of(store, SyncResult(SyncOutcome.ADDED, order.id, ""))
    assert left.patient.name.middle == "Ивановна"
    assert left.attributes == {"top": {}, "step": {}}
