"""A database of any earlier version becomes one of today's, and what cannot is refused untouched."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from broker.domain.clinic.directory import Entry
from broker.domain.patients.people import PersonName
from broker.store.database import Store, StoreError
from broker.store.queries import directory_search
from broker.store.queries.patients import patient_search
from broker.store.schema import migrate
from broker.store.schema.migrate import Migration, migrations
from broker.store.tables import devices, directories, orders
from broker.store.tables.patients import patients
from broker.store.tables.studies import performed, performed_links
from tests.store.schema.snapshot import GOLDEN, VERSIONS, schema
from tests.support.factory import KUZNETSOVA


def restored(version: str, path: Path) -> Path:
    """Make the database of an earlier version again."""
    conn = sqlite3.connect(path)
    conn.executescript((VERSIONS / f"{version}.sql").read_text(encoding="utf-8"))
    conn.close()
    return path


def schema_of(path: Path) -> str:
    conn = sqlite3.connect(path)
    try:
        return schema(conn)
    finally:
        conn.close()


def test_the_schema_is_the_golden_one(store: Store) -> None:
    assert schema_of(store.path) == GOLDEN.read_text(encoding="utf-8"), "see broker/store/schema/migrate.py"


def test_every_version_has_left_a_database() -> None:
    released = {path.stem for path in VERSIONS.glob("0*.sql")}
    assert released == {step.name for step in migrations()}


@pytest.mark.slow
@pytest.mark.parametrize("version", [step.name for step in migrations()])
def test_a_database_of_every_version_is_migrated_with_all_that_is_in_it(version: str, tmp_path: Path) -> None:
    store = Store(restored(version, tmp_path / "worklist.sqlite"))
    with store.read() as reader:
        order = orders.by_accession_number(reader, "K2611-0001")
        assert order is not None
        assert (order.patient.name.family, order.diagnosis_code, order.state) == ("Кузнецова", "M17.1", "completed")
        [step] = [performed.get(reader, "1.2.3.4")]
        assert step is not None
        assert (step.patient_birth_date, step.images, step.source) == ("19610312", 2, "modality")
        [reference] = performed.references(reader, step.stored_id)
        assert reference.accession_number == "K2611-0001"
        assert performed_links.linked_steps(reader, step.stored_id) == [(order.id, order.steps[0].id)]
        assert reader.value("PRAGMA integrity_check") == "ok"
        assert reader.rows("PRAGMA foreign_key_check") == []
    store.close()
    assert schema_of(store.path) == GOLDEN.read_text(encoding="utf-8")


def test_devices_go_on_as_before_the_update_and_keep_their_character_set(tmp_path: Path) -> None:
    path = restored("0013_former_names_and_whose_results", tmp_path / "worklist.sqlite")
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE device SET approved = 0 WHERE ae_title = 'MAMMO_9'")
        conn.execute("INSERT INTO device_note (ae_title, kind, text, at) VALUES ('FLG_12', 'cut', '', '2026-11-24')")
    conn.close()
    store = Store(path)
    with store.read() as reader:
        known = {title: devices.get(reader, title) for title in ("XRAY_14", "FLG_12", "MAMMO_9")}
        assert {title: device.for_others for title, device in known.items() if device} == {
            "XRAY_14": True,
            "FLG_12": True,
            "MAMMO_9": False,
        }
        assert known["FLG_12"] is not None
        assert known["FLG_12"].charset == "ISO_IR 144"
        assert list(devices.notes(reader)) == ["FLG_12"]
    store.close()


def test_names_that_an_earlier_version_folded_otherwise_are_found_after_the_update(store: Store) -> None:
    store.write(patients.add, replace(KUZNETSOVA, name=PersonName("О’Хара", "Анна")), "1")
    # Version 0.1.0 kept the apostrophe as it was typed.
    store.write(lambda tx: tx.run("UPDATE patient SET name_key = 'о’хара анна'"))
    conn = sqlite3.connect(store.path)
    conn.execute("PRAGMA user_version = 0")
    conn.close()
    again = Store(store.path)
    with again.read() as reader:
        assert reader.value("SELECT name_key FROM patient") == "о'хара анна"
        assert len(patient_search.search(reader, "о'хара анна").patients) == 1
    again.close()


def test_entries_of_directories_that_an_earlier_version_folded_otherwise_are_found_after_the_update(
    store: Store,
) -> None:
    entries = [Entry("1", "Больница «Әлия»", {"full": "ГБУЗ имени О’Хара"}), Entry("2", "Поликлиника № 4")]
    store.write(directories.replace, "organisations", "", "", "a.csv", entries)
    store.write(lambda tx: tx.run("UPDATE directory SET name_key = ' больница әлия гбуз имени о’хара' WHERE code = 1"))
    conn = sqlite3.connect(store.path)
    conn.execute("PRAGMA user_version = 1")
    conn.close()
    again = Store(store.path)
    with again.read() as reader:
        for typed in ("алия", "о'хара", "имени о"):
            assert [each.code for each in directory_search.search(reader, "organisations", typed)] == ["1"], typed
        assert [each.code for each in directory_search.search(reader, "organisations", "4")] == ["2"]
    again.close()


def test_a_migrated_database_is_left_alone_when_it_is_opened_again(store: Store) -> None:
    with store.read() as reader:
        before = reader.rows("SELECT * FROM _sqlite_migrations")
    Store(store.path).close()
    with store.read() as reader:
        assert reader.rows("SELECT * FROM _sqlite_migrations") == before


def test_a_database_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "newer.sqlite"
    Store(path).close()
    conn = sqlite3.connect(path)
    with conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('worklist-broker', '9999_future', '')"
        )
    with pytest.raises(StoreError, match=r"newer version of the program \(9999_future\)"):
        Store(path)
    assert schema(conn) == GOLDEN.read_text(encoding="utf-8")
    conn.close()


def test_a_database_from_before_the_first_release_is_refused_untouched(tmp_path: Path) -> None:
    path = restored("unreleased", tmp_path / "old.sqlite")
    before = schema_of(path)
    with pytest.raises(StoreError, match="before the first release of the program and cannot be updated"):
        Store(path)
    assert schema_of(path) == before


def test_a_migration_that_fails_leaves_nothing_behind_and_those_before_it_stay(tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "half.sqlite", isolation_level=None)
    good = Migration("0001_good", "CREATE TABLE good (id INTEGER)")
    bad = Migration("0002_halfway", "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate.migrate(conn, [good, bad])
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables == {"good", "_sqlite_migrations"}
    fixed = Migration("0002_halfway", "CREATE TABLE half (id INTEGER)")
    migrate.migrate(conn, [good, fixed])
    assert [name for (name,) in conn.execute("SELECT name FROM _sqlite_migrations ORDER BY name")] == [
        good.name,
        fixed.name,
    ]
    conn.close()
