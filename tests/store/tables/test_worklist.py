"""Every worklist query is answered through an index, however full the database is, and as if it had been scanned."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.dicom.worklist import service
from broker.dicom.worklist.matching import matches
from broker.dicom.worklist.query import parse
from broker.domain.clinic.devices import Device
from broker.domain.patients import names
from broker.store.database import Store, Tx
from broker.store.tables import devices, worklist
from broker.store.tables.worklist import Candidate, IndexFilter
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC
from tests.support.worklist_query import find, identifier

ORDERS, OPEN, DAYS = 100_000, 9_000, 30  # all, those that are open, and over how many days these are spread
STATIONS = ("XRAY_14", "FLG_12", "MAMMO_9")
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TODAY = datetime(2026, 11, 24, 8, 0)

# ---- the plans: SQLite makes them of the schema alone ----

CHOICES: tuple[dict[str, Any], ...] = (
    {"accession_number": "K1"},
    {"patient_id": "1"},
    {"study_instance_uids": ("1.2", "1.3")},
    {"sps_id": "S1"},
    {"requested_procedure_id": "R1"},
    {"modality": "DX"},
    {"name_beginning": "куз"},
    {"accession_beginning": "K2611"},
    {"patient_id_beginning": "00"},
    {"station_ae_title": "XRAY_14"},
    {"closed_since": NOW},
    {"start_from": TODAY, "start_to": TODAY},
)


@pytest.mark.parametrize("after", [None, Candidate(1, 1, "2026-11-24T08:00:00", factory.KUZNETSOVA.name)])
def test_no_query_scans_a_table(store: Store, after: Candidate | None) -> None:
    shapes = [{}, *CHOICES, *({**one, **other} for one, other in itertools.combinations(CHOICES, 2))]
    shapes.append({key: value for choice in CHOICES for key, value in choice.items()})
    with store.read() as reader:
        for shape in shapes:
            index_filter = IndexFilter(**shape) if "start_from" in shape else IndexFilter(**shape, start_from=TODAY)
            sql, params = worklist.statement(index_filter, 100, after)
            steps = [row["detail"] for row in reader.rows(f"EXPLAIN QUERY PLAN {sql}", params)]
            tables = [step for step in steps if re.match(r"(SCAN|SEARCH) [a-z]\b", step)]
            assert tables
            assert not [step for step in tables if step.startswith("SCAN")], (shape, steps)


def test_reading_items_and_noting_them_scans_no_table_either(store: Store) -> None:
    order = store.write(
        referrals.register, factory.draft(station_ae_titles=("XRAY_14", "FLG_12")), factory.REGISTRAR, CLINIC
    )
    seen: list[str] = []

    def noted(tx: Tx) -> None:
        tx._conn.execute("UPDATE scheduled_step SET state = 'STARTED'")
        tx._conn.set_trace_callback(seen.append)
        place = Candidate(order.steps[0].id, order.id, "", order.patient.name)
        assert len(worklist.load(tx, [place])) == 1
        worklist.note_delivery(tx, [order.steps[0].id], "XRAY_14")
        tx._conn.set_trace_callback(None)

    store.write(noted)
    assert len(seen) >= 4
    with store.read() as reader:
        for sql in seen:
            if sql.startswith("INSERT"):
                sql = sql[sql.index("SELECT") :]
            plan = [row["detail"] for row in reader.rows(f"EXPLAIN QUERY PLAN {sql}")]
            # What is scanned is the list of ids that was given, the stations of the one step that was found, and the
            # few cards that were merged into the patient's.
            scans = [step for step in plan if step.startswith("SCAN") and step != "SCAN part"]
            assert not [step for step in scans if "VIRTUAL TABLE" not in step and "subquery" not in step.lower()], plan


# ---- 100,000 orders ----

FAMILIES = ("Кузнецов", "Смирнов", "Щербаков", "Жуков", "Юдин", "Ёлкин", "Хворостов", "Цветков", "Чехов", "Эйзенштейн")
ENDINGS = ("", "а", "ский", "ская", "енко", "ых", "ич")
GIVEN = ("Марина", "Юлия", "Пётр", "Анна", "Сергей", "Дмитрий", "Наталья")
MIDDLE = ("Петровна", "Ивановна", "Сергеевич", "")


def fill(tx: Tx) -> None:
    """Keep 100,000 orders of 40,000 patients; the newest are open."""
    chance = random.Random(26)
    now = tx.now.isoformat()
    for id in range(1, 40_001):
        name = (chance.choice(FAMILIES) + chance.choice(ENDINGS), chance.choice(GIVEN), chance.choice(MIDDLE))
        tx.run(
            "INSERT INTO patient (id, patient_id, family, given, middle, name_key, given_key, birth_date, sex,"
            " changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'F', ?)",
            [
                id,
                f"{id:06d}",
                *name,
                names.fold(" ".join(filter(None, name))),
                names.fold(name[1]),
                f"{1930 + id % 80}-03-12",
                now,
            ],
        )
    for id in range(1, ORDERS + 1):
        is_open = id > ORDERS - OPEN
        minutes = chance.randrange(0, 60 * 24 * DAYS) if is_open else -chance.randrange(0, 60 * 24 * 700)
        since = (tx.now - timedelta(minutes=chance.randrange(0, 60 * 24 * 700))).isoformat()
        tx.run(
            "INSERT INTO orders (id, accession_number, study_instance_uid, requested_procedure_id, patient_id, state,"
            " state_since, procedure_code, procedure_name, procedure_local, modality, priority, finance, authored_on,"
            " created_by) VALUES (?, ?, ?, ?, ?, ?, ?, 'WLB-KNEE', 'Рентгенография коленного сустава', 1, ?,"
            " 'routine', '1', ?, 'test')",
            [
                id,
                f"K26-{id:06d}",
                f"1.2.3.{id}",
                f"RP{id}",
                7 if id == ORDERS else chance.randrange(1, 40_001),
                "scheduled" if is_open else "completed",
                since,
                chance.choice(["DX", "CT", "MG"]),
                now,
            ],
        )
        tx.run(
            "INSERT INTO scheduled_step (id, order_id, sps_id, start, state, state_since) VALUES (?, ?, ?, ?, ?, ?)",
            [
                id,
                id,
                f"SPS{id}",
                (TODAY + timedelta(minutes=minutes)).isoformat(timespec="seconds"),
                "SCHEDULED" if is_open else "COMPLETED",
                since,
            ],
        )
        for position, station in enumerate(chance.sample(STATIONS, 1 + id % 2)):
            tx.run("INSERT INTO scheduled_step_station VALUES (?, ?, ?)", [id, station, position])


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = factory.open_store(Path(tmp_path_factory.mktemp("full")) / "worklist.sqlite", clock=lambda: NOW)
    store.write(fill)
    # A workstation that sees everything, and a little of what is over.
    everything = Device("DESK", "Рабочее место", "DX", own_only=False, days_after=DAYS, closed_hours=24)
    store.write(lambda tx: devices.put(tx, everything))
    yield store
    store.close()


@contextmanager
def counted(store: Store) -> Iterator[list[int]]:
    """Count the thousands of steps that SQLite takes for the next reader."""
    with store.read() as reader:
        conn = reader._conn
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    conn.set_progress_handler(count, 1000)
    try:
        yield steps
    finally:
        conn.set_progress_handler(None, 0)


# In thousands; half the orders with their patients and stations cost more, and most queries a tenth.
MOST_STEPS = 3000
DAY, STATION = "ScheduledProcedureStepStartDate", "ScheduledStationAETitle"
TODAYS = f"{TODAY:%Y%m%d}"
QUERIES: tuple[tuple[str, Dataset], ...] = (
    ("its own of today", identifier({STATION: "XRAY_14", DAY: TODAYS})),
    ("everybody's of today", identifier({DAY: TODAYS})),
    ("by time of day", identifier({"ScheduledProcedureStepStartTime": "0900-0915"}, PatientSex="F")),
    ("by modality and day", identifier({"Modality": "CT", DAY: TODAYS})),
    ("by accession number", identifier(AccessionNumber=f"K26-{ORDERS:06d}")),
    ("by some accession numbers", identifier(AccessionNumber=f"K26-{ORDERS // 10:05d}*")),
    ("by the end of a number", identifier({DAY: TODAYS}, AccessionNumber="*7")),
    ("by patient", identifier(PatientID="000007")),
    ("by some patients", identifier(PatientID="00001?")),
    ("by study", identifier(StudyInstanceUID=[f"1.2.3.{ORDERS}", f"1.2.3.{ORDERS - 1}", "1.2.3.1"])),
    ("by step", identifier({"ScheduledProcedureStepID": f"SPS{ORDERS}"})),
    ("by requested procedure", identifier(RequestedProcedureID=f"RP{ORDERS}")),
    ("by Cyrillic name", identifier(PatientName="Щербакова^Юлия")),
    ("by the beginning of a name", identifier({DAY: TODAYS}, PatientName="щерб*")),
    ("by Latin name", identifier(PatientName="Shcherbakova^Yuliya")),
    ("by the middle of a Latin name", identifier({DAY: TODAYS}, PatientName="*yuliya*")),
    ("by birth date", identifier({DAY: TODAYS}, PatientBirthDate="19610312")),
    ("by physician", identifier({DAY: TODAYS}, ReferringPhysicianName="Зимин*")),
    ("nobody", identifier(PatientName="Никто")),
    ("an unknown station", identifier({STATION: "NOBODY", DAY: "19000101-20991231"})),
)


@pytest.mark.slow
@pytest.mark.parametrize(("label", "query"), QUERIES, ids=[label for label, _ in QUERIES])
def test_among_100_000_orders_a_query_finds_what_a_scan_finds(full: Store, label: str, query: Dataset) -> None:
    with counted(full) as steps:
        answers = list(find(query, Caller("DESK", "10.0.0.1"), full, CLINIC, noted=False))
    assert steps[0] < MOST_STEPS, label
    asked = parse(query)
    with full.read() as reader:
        found = service.search(asked, "DESK", reader, CLINIC, NOW)
        scanned = _scan(full, asked)
    assert [item.step.id for item in found.items] == scanned
    assert len(answers) - 1 == len(scanned)
    assert (label in ("nobody", "an unknown station", "by physician")) == (not scanned)


def _scan(store: Store, asked: Any) -> list[int]:
    """Look at every item that is open or closed lately, by the matching rules alone."""
    since = (NOW - timedelta(hours=24)).isoformat()
    earliest = TODAY.replace(hour=0) - timedelta(days=1)
    latest = TODAY.replace(hour=0) + timedelta(days=DAYS + 1)
    with store.read() as reader:
        found = service.search(asked, "DESK", reader, CLINIC, NOW)
        context, style = found.context, found.style
        rows = reader.rows(
            "SELECT id, order_id, start FROM scheduled_step WHERE +state <> 'COMPLETED' OR +state_since >= ?", [since]
        )
        places = [Candidate(row["id"], row["order_id"], row["start"], factory.KUZNETSOVA.name) for row in rows]
        places.sort(key=lambda place: (place.start, place.step_id))
        dated = asked.window.low is not None or asked.window.high is not None
        kept = []
        for page in range(0, len(places), 1000):
            for item in worklist.load(reader, places[page : page + 1000]):
                near = item.step.start >= earliest and (dated or item.step.start < latest)
                if near and matches(asked, item, context, style):
                    kept.append(item.step.id)
    return kept
