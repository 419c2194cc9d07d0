"""A worklist file with several scheduled steps: all are on the list, and change and go with the file."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.domain.errors import Refused
from broker.domain.orders import ImportedItem, Order
from broker.domain.patients.people import PersonName
from broker.store.database import Store
from broker.store.tables import orders, worklist_files
from broker.workflow.referrals import worklist_files as intake
from broker.workflow.referrals.worklist_files import SyncOutcome, SyncResult
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.referrals.test_worklist_files import item

PATH = "/wl/a.wl"
FIRST = item(procedure_name="Кисть")
LATER = replace(FIRST, sps_id="S2", start=FIRST.start + timedelta(hours=1), station_ae_titles=("NEW_CR",))
LAST = replace(FIRST, sps_id="S3", start=FIRST.start + timedelta(hours=2))


def take(store: Store, *items: ImportedItem, digest: str = "1", path: str = PATH, **options: Any) -> SyncResult:
    return store.write(lambda tx: intake.sync_file(tx, items, path, digest, REGISTRAR, CLINIC, **options))


def order(store: Store, of: SyncResult) -> Order:
    with store.read() as reader:
        return orders.require(reader, of.order_id)


def steps(store: Store, of: SyncResult) -> dict[str, str]:
    return {each.sps_id: str(each.state) for each in order(store, of).steps}


def test_all_steps_are_of_one_order(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    assert taken.outcome is SyncOutcome.ADDED
    assert steps(store, taken) == {"S1": "SCHEDULED", "S2": "SCHEDULED"}
    assert [each.station_ae_titles for each in order(store, taken).steps] == [FIRST.station_ae_titles, ("NEW_CR",)]


@pytest.mark.parametrize("changes", [{"accession_number": ""}, {"accession_number": "", "study_instance_uid": ""}])
def test_they_need_no_number_for_that(store: Store, changes: dict[str, Any]) -> None:
    taken = take(store, *(replace(each, **changes) for each in (FIRST, LATER)))
    assert steps(store, taken) == {"S1": "SCHEDULED", "S2": "SCHEDULED"}


def test_the_file_imported_again_changes_nothing(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    before = order(store, taken)
    assert take(store, FIRST, LATER).outcome is SyncOutcome.UNCHANGED
    assert order(store, taken) == before
    take(store, LATER, FIRST, digest="2")  # in another order
    assert [(each.sps_id, each.start) for each in order(store, taken).steps] == [
        (each.sps_id, each.start) for each in before.steps
    ]


def test_a_change_of_the_file_changes_its_steps(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    moved = replace(LATER, start=LATER.start + timedelta(minutes=5))
    assert take(store, FIRST, moved, digest="2").outcome is SyncOutcome.AMENDED
    assert [each.start for each in order(store, taken).steps] == [FIRST.start, moved.start]
    assert take(store, FIRST, moved, LAST, digest="3").outcome is SyncOutcome.AMENDED
    assert steps(store, taken) == {"S1": "SCHEDULED", "S2": "SCHEDULED", "S3": "SCHEDULED"}
    assert take(store, moved, digest="4").outcome is SyncOutcome.AMENDED
    assert steps(store, taken) == {"S1": "CANCELLED", "S2": "SCHEDULED", "S3": "CANCELLED"}


def test_a_file_that_goes_takes_all_steps_with_it_and_brings_them_back(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    gone = store.write(intake.withdraw, PATH, REGISTRAR, CLINIC)
    assert gone is not None
    assert gone.outcome is SyncOutcome.WITHDRAWN
    assert order(store, taken).state == "cancelled"
    assert take(store, FIRST, LATER).outcome is SyncOutcome.RESTORED
    assert order(store, taken).state == "scheduled"
    assert steps(store, taken) == {"S1": "SCHEDULED", "S2": "SCHEDULED"}


def test_a_file_that_is_renamed_keeps_its_order(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    again = take(store, FIRST, LATER, path="/wl/b.wl", vanished={PATH: "1"})
    assert (again.order_id, again.outcome) == (taken.order_id, SyncOutcome.UNCHANGED)
    with store.read() as reader:
        assert worklist_files.of_file(reader, PATH) == []
        assert len(worklist_files.of_file(reader, "/wl/b.wl")) == 2


def test_another_order_in_the_file_takes_the_place_of_the_first(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    other: dict[str, Any] = {"accession_number": "B1", "study_instance_uid": "1.2.9", "requested_procedure_id": "R9"}
    now = take(store, *(replace(each, sps_id=f"B{each.sps_id}", **other) for each in (FIRST, LATER)), digest="2")
    assert now.order_id != taken.order_id
    assert order(store, taken).state == "cancelled"
    assert set(steps(store, now).values()) == {"SCHEDULED"}


def test_the_patient_of_a_file_with_several_steps_may_change(store: Store) -> None:
    taken = take(store, FIRST, LATER)
    whose = replace(FIRST.patient, name=PersonName("Чужая", "Алла"), patient_id="P9")
    now = take(store, *(replace(each, patient=whose) for each in (FIRST, LATER)), digest="2")
    assert now.order_id == taken.order_id
    assert order(store, now).patient.patient_id == "P9"


def test_a_step_that_cannot_be_taken_costs_the_whole_file(store: Store) -> None:
    with pytest.raises(Refused):
        take(store, FIRST, replace(LATER, modality="", station_ae_titles=()))
    with store.read() as reader:
        assert worklist_files.of_file(reader, PATH) == []
