"""What an import refuses waits on a screen until it is mended, gone, or dismissed by a person."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Refused
from broker.domain.import_result import ImportSource, Reason
from broker.domain.orders import ImportedItem, Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.imports import referral_columns
from broker.imports.referral_import import ReferralImport
from broker.store.database import Store
from broker.store.queries import refused_imports
from broker.store.queries.refused_imports import RefusedImport
from broker.store.tables import orders
from broker.workflow.referrals import import_refusals, referrals, worklist_files
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, draft

DOCTOR = Actor(ActorKind.PERSON, "belov", "Белов", frozenset({Role.RADIOLOGIST}))
HERS = replace(KUZNETSOVA, snils="", policy="", patient_id="P1")
HEADER = "ФИО;Дата рождения;Пол;СНИЛС;Исследование;Аппарат;Дата;Время"
ROW = "Зуева Анна Павловна;01.02.1970;ж;;WLB-FLG1;FLG_12;24.11.2026;12:00"


def item(patient: Patient = HERS, number: int = 1) -> ImportedItem:
    return ImportedItem(
        patient=patient,
        start=datetime(2026, 11, 24, 10, 15) + timedelta(minutes=number),
        station_ae_titles=("XRAY_14",),
        modality="DX",
        procedure_name="EXAM",
        accession_number=f"A{number}",
        study_instance_uid=f"1.2.3.{number}",
        attributes={"top": {}, "step": {}},
    )


def take(store: Store, imported: ImportedItem, path: str, digest: str = "1") -> Order | None:
    """Import a file as the watched folder does: what is refused is noted."""
    try:
        taken = store.write(worklist_files.sync, imported, path, digest, SYSTEM, CLINIC)
    except Refused as error:
        reason = Reason(error.reason, error.detail, about=error.about)
        store.write(worklist_files.note_problem, path, digest, reason, SYSTEM, imported.patient)
        return None
    with store.read() as reader:
        return orders.require(reader, taken.order_id)


def load(store: Store, *lines: str) -> list[str]:
    """Import a table; return the outcomes."""
    table = referral_columns.read("\n".join((HEADER, *lines)).encode())
    return [each.outcome for each in ReferralImport(store, REGISTRAR, CLINIC).run(table, "/lists/a.csv")]


def waiting(store: Store) -> list[RefusedImport]:
    with store.read() as reader:
        return refused_imports.waiting(reader)


def audits(store: Store, action: str) -> list[dict[str, Any]]:
    with store.read() as reader:
        return [
            json.loads(row["details"])
            for row in reader.rows("SELECT details FROM audit WHERE action = ? ORDER BY seq", [action])
        ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"birth_date": date(1961, 12, 3)}, "other_birth_date"),
        ({"sex": Sex.MALE}, "other_sex"),
        ({"name": PersonName("Кузнецова", "Мария", "Петровна")}, "other_name"),
        ({"name": PersonName("Попов", "Степан"), "sex": Sex.OTHER}, "other_name"),
    ],
)
def test_a_file_that_contradicts_the_card_with_its_number_waits_with_the_reason_and_our_patient(
    store: Store, changes: dict[str, Any], code: str
) -> None:
    known = take(store, item(), "/wl/1.wl")
    assert known is not None
    other = replace(HERS, **changes)
    assert take(store, item(other, 2), "/wl/2.wl") is None
    [each] = waiting(store)
    assert [reason.code for reason in each.refusal.reasons] == [code]
    assert each.known is not None
    assert (each.known.id, each.refusal.patient_name) == (known.patient.id, str(other.name))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": PersonName("Кузнецова", "Марина")},
        {"name": PersonName("Зуева", "Марина", "Петровна")},
    ],
)
def test_a_completed_patronymic_and_a_changed_family_name_are_taken_and_noted(
    store: Store, changes: dict[str, Any]
) -> None:
    first = take(store, item(replace(HERS, **changes)), "/wl/1.wl")
    second = take(store, item(number=2), "/wl/2.wl")
    assert first is not None
    assert second is not None
    assert second.patient.id == first.patient.id
    assert second.patient.name == HERS.name
    assert waiting(store) == []
    [noted] = audits(store, "patient_amend")
    assert noted["patient"] == "P1"
    assert set(noted["changed"]) <= {"family", "middle"}


def test_it_goes_away_when_the_card_is_corrected_and_the_file_is_tried_again(store: Store) -> None:
    known = take(store, item(), "/wl/1.wl")
    assert known is not None
    right = replace(HERS, birth_date=date(1961, 12, 3))
    take(store, item(right, 2), "/wl/2.wl")
    corrected = draft(patient=replace(known.patient, birth_date=right.birth_date), start=known.steps[0].start)
    store.write(referrals.amend, known.id, known.revision, corrected, REGISTRAR, CLINIC)
    taken = take(store, item(right, 2), "/wl/2.wl")
    assert taken is not None
    assert taken.patient.id == known.patient.id
    assert waiting(store) == []


def test_it_goes_away_with_the_file(store: Store) -> None:
    take(store, item(), "/wl/1.wl")
    take(store, item(replace(HERS, sex=Sex.MALE), 2), "/wl/2.wl")
    store.write(worklist_files.withdraw, "/wl/2.wl", SYSTEM, CLINIC)
    assert waiting(store) == []


def test_what_a_person_dismisses_is_audited_and_waits_again_only_if_its_content_changes(store: Store) -> None:
    take(store, item(), "/wl/1.wl")
    other = item(replace(HERS, sex=Sex.MALE), 2)
    take(store, other, "/wl/2.wl")
    [each] = waiting(store)
    with pytest.raises(Forbidden):
        store.write(import_refusals.dismiss, [each.refusal], DOCTOR)
    assert store.write(import_refusals.dismiss, [each.refusal], REGISTRAR) == 1
    assert store.write(import_refusals.dismiss, [each.refusal], REGISTRAR) == 0
    [noted] = audits(store, "import_dismiss")
    assert (noted["source"], noted["path"]) == ("worklist_file", "/wl/2.wl")
    take(store, other, "/wl/2.wl")
    assert waiting(store) == []
    take(store, other, "/wl/2.wl", digest="2")
    assert len(waiting(store)) == 1


def test_what_is_dismissed_is_what_was_seen_and_not_what_the_file_says_of_somebody_else_by_now(store: Store) -> None:
    take(store, item(), "/wl/1.wl")
    take(store, item(replace(HERS, sex=Sex.MALE), 2), "/wl/2.wl")
    [seen] = waiting(store)
    take(store, item(replace(HERS, name=PersonName("Попова", "Анна")), 2), "/wl/2.wl", digest="2")
    assert store.write(import_refusals.dismiss, [seen.refusal], REGISTRAR) == 0
    [each] = waiting(store)
    assert each.refusal.patient_name == "Попова Анна"
    assert audits(store, "import_dismiss") == []


def test_rows_of_a_table_wait_with_their_numbers_and_go_when_the_table_is_mended(store: Store) -> None:
    bad = ROW.replace("01.02.1970", "31.02.1970")
    zero = ROW.replace(";;", ";000-000-000 00;")
    assert load(store, ROW, bad, zero) == ["added", "refused", "refused"]
    found = waiting(store)
    assert [(each.refusal.source, each.refusal.row) for each in found] == [
        (ImportSource.TABLE, 3),
        (ImportSource.TABLE, 4),
    ]
    assert [[reason.code for reason in each.refusal.reasons] for each in found] == [
        ["not_a_birth_date"],
        ["placeholder"],
    ]
    assert found[1].refusal.patient_name == "Зуева Анна Павловна"
    later = ROW.replace("12:00", "12:30")
    assert load(store, ROW, later, zero) == ["unchanged", "added", "refused"]
    assert [each.refusal.row for each in waiting(store)] == [4]
    assert load(store, ROW, later) == ["unchanged", "unchanged"]
    assert waiting(store) == []


def test_a_trial_run_leaves_nothing_waiting(store: Store) -> None:
    table = referral_columns.read(f"{HEADER}\n{ROW.replace('1970', '2970')}".encode())
    results = list(ReferralImport(store, REGISTRAR, CLINIC, dry_run=True).run(table, "/lists/a.csv"))
    assert [each.outcome for each in results] == ["refused"]
    assert waiting(store) == []


# ---- the kind: pairs that differ in one trait ----

_TRAITS = st.sampled_from(
    (
        {},
        {"birth_date": date(1961, 12, 3)},
        {"birth_date": date(1961, 3, 13)},
        {"sex": Sex.MALE},
        {"name": PersonName("Кузнецова", "Мария", "Петровна")},
        {"name": PersonName("Кузнецова", "Марина", "Павловна")},
        {"name": PersonName("Кузнецова", "Марина")},
        {"name": PersonName("КУЗНЕЦОВА", "марина", "Петровна")},
        {"name": PersonName("Зуева", "Марина", "Петровна")},
        {"name": PersonName("Зуева", "Марина", "Петровна"), "birth_date": date(1970, 1, 1)},
    )
)
_NEVER = ("birth_date", "sex")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(trait=_TRAITS, numbered=st.booleans())
def test_two_files_that_differ_in_one_trait_never_join_two_people(
    tmp_path_factory: pytest.TempPathFactory, trait: dict[str, Any], numbered: bool
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("files") / "worklist.sqlite")
    try:
        mine = HERS if numbered else replace(HERS, patient_id="")
        first = take(store, item(mine), "/wl/1.wl")
        second = take(store, item(replace(mine, **trait), 2), "/wl/2.wl")
        assert first is not None
        if any(field in trait for field in _NEVER) or trait.get("name", mine.name).given == "Мария":
            assert second is None or second.patient.id != first.patient.id
            assert (second is None) == numbered
            assert len(waiting(store)) == numbered
        elif second is None:
            assert numbered
        with store.read() as reader:
            kept = orders.require(reader, first.id).patient
        assert (kept.birth_date, kept.sex) == (mine.birth_date, mine.sex)
    finally:
        store.close()
