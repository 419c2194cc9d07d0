"""Directories are replaced whole, searched quickly, and take nothing from the orders when they change."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import pytest

from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.directory import Entry
from broker.domain.errors import Forbidden, Invalid, Refused
from broker.store.database import Store
from broker.store.queries import directory_search, lookups
from broker.store.tables import devices, directories, orders
from broker.store.tables.directories import ImportChange
from broker.workflow.directories import DirectorySource, ReplaceResult, replace_directory
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM

ICD = (
    Entry("M17", "Гонартроз [артроз коленного сустава]"),
    Entry("M17.1", "Другой первичный гонартроз"),
    Entry("S72.0", "Перелом шейки бедра"),
    Entry("S82.0", "Перелом надколенника"),
    Entry("J18.9", "Пневмония неуточненная"),
)
GUID = "00000000-aaaa-4bbb-8ccc-00000000000%d"
KNEE = ProcedureType("X-TEST-1", "Снимок колена из выгрузки", "DX", 15)
HAND = ProcedureType("X-TEST-2", "Снимок кисти из выгрузки", "DX", 15)


def put(store: Store, kind: str, entries: Iterable[Entry], system: str = "", version: str = "") -> ImportChange:
    return store.write(lambda tx: directories.replace(tx, kind, system, version, "file.csv", entries))


def found(store: Store, typed: str, kind: str = "diagnoses", limit: int = 20) -> list[str]:
    with store.read() as reader:
        return [entry.code for entry in directory_search.search(reader, kind, typed, limit)]


def offer(store: Store, *offered: ProcedureType, replace_defaults: bool = False) -> ReplaceResult:
    entries = [Entry(each.code, each.name) for each in offered]
    source = DirectorySource("procedures", "1.2.3", "1", "file.csv")
    return store.write(replace_directory, source, entries, SYSTEM, offered=offered, replace_defaults=replace_defaults)


def at_the_desk(store: Store) -> dict[str, ProcedureType]:
    with store.read() as reader:
        return {each.code: each for each in lookups.procedures(reader)}


@pytest.mark.parametrize(
    ("typed", "codes"),
    [
        ("M17", ["M17", "M17.1"]),
        ("m17.1", ["M17.1"]),
        ("М17", ["M17", "M17.1"]),  # Cyrillic М
        ("перелом", ["S72.0", "S82.0"]),
        ("ПЕРЕЛОМ бед", ["S72.0"]),
        ("бедра перелом", ["S72.0"]),
        ("гонартроз", ["M17", "M17.1"]),
        ("гонартр сустав", ["M17"]),
        ("ломов", []),  # words are found by their beginnings
        ("%", []),
        ("_", []),
        ("' OR 1=1 --", []),
        ("", ["J18.9", "M17", "M17.1", "S72.0", "S82.0"]),
    ],
)
def test_a_diagnosis_is_found_by_its_code_or_by_words(store: Store, typed: str, codes: list[str]) -> None:
    put(store, "diagnoses", ICD)
    assert found(store, typed) == codes


def test_names_that_begin_as_typed_come_first_and_no_more_than_wanted(store: Store) -> None:
    put(store, "organisations", [Entry(GUID % 1, "Городская больница"), Entry(GUID % 2, "Больница № 5")])
    assert found(store, "больн", "organisations") == [GUID % 2, GUID % 1]
    assert found(store, "больн", "organisations", limit=1) == [GUID % 2]
    assert found(store, (GUID % 1)[:4].upper(), "organisations") == [GUID % 1, GUID % 2]


def test_an_organisation_is_found_by_its_full_name_too(store: Store) -> None:
    put(store, "organisations", [Entry(GUID % 1, "ГП 5", {"full": "Городская поликлиника № 5"})])
    with store.read() as reader:
        assert [each.name for each in directory_search.search(reader, "organisations", "поликлин")] == ["ГП 5"]
        assert directory_search.organisation_name(reader, (GUID % 1).upper()) == "ГП 5"
        assert directory_search.organisation_name(reader, GUID % 2) == ""


def test_kinds_do_not_mix(store: Store) -> None:
    put(store, "diagnoses", ICD)
    put(store, "specialties", [Entry("1", "Перелом")])
    assert found(store, "перелом", "specialties") == ["1"]
    with store.read() as reader:
        assert directories.get(reader, "specialties", "M17") is None
        assert {each.kind for each in directory_search.imported(reader)} == {"diagnoses", "specialties"}
        assert [each.code for each in directory_search.search(reader, "diagnoses", "пневм")] == ["J18.9"]
        assert (
            directory_search.search(reader, "doctors", "зим")
            == directory_search.search(reader, "procedures", "x")
            == []
        )


def test_new_entries_take_the_place_of_all_old_ones(store: Store) -> None:
    assert put(store, "diagnoses", ICD, "1.2.3", "1") == ImportChange(0, 5, 0, 0)
    assert put(store, "diagnoses", ICD, "1.2.3", "1") == ImportChange(5, 0, 0, 0)
    renamed = replace(ICD[0], name="Гонартроз")
    assert put(store, "diagnoses", [renamed, Entry("M16", "Коксартроз")], "1.2.3", "2") == ImportChange(5, 1, 1, 4)
    with store.read() as reader:
        assert directories.entries(reader, "diagnoses") == [Entry("M16", "Коксартроз"), renamed]
        [reported] = directory_search.imported(reader)
        assert (reported.kind, reported.system, reported.version, reported.file, reported.entries) == (
            "diagnoses",
            "1.2.3",
            "2",
            "file.csv",
            2,
        )
        assert directories.version(reader, "diagnoses") == "2"
        assert directories.version(reader, "doctors") == ""
        assert directories.versions(reader) == {"1.2.3": "2"}


def test_what_breaks_in_the_middle_leaves_everything_as_it_was(store: Store) -> None:
    put(store, "diagnoses", ICD)

    def half() -> Iterable[Entry]:
        yield Entry("M16", "Коксартроз")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        put(store, "diagnoses", half())
    assert found(store, "") == ["J18.9", "M17", "M17.1", "S72.0", "S82.0"]


@pytest.mark.slow
def test_fifteen_thousand_diagnoses_are_searched_at_once(store: Store) -> None:
    words = ("перелом", "шейки", "бедра", "закрытый", "открытый", "пневмония", "вызванная", "неуточненная")
    put(
        store,
        "diagnoses",
        [
            Entry(f"{chr(65 + number % 26)}{number // 26 % 100:02}.{number // 2600}", " ".join(words[number % 5 :]))
            for number in range(15_600)
        ],
    )
    with store.read() as reader:
        directory_search.search(reader, "diagnoses", "warm")
        spent = []
        for typed in ("пневм", "бедра откр", "zzz", "S7", "шейки"):
            started = time.thread_time()
            directory_search.search(reader, "diagnoses", typed)
            spent.append(time.thread_time() - started)
    assert sorted(spent)[len(spent) // 2] < 0.02, spent


def test_positions_have_codes_of_the_directory_and_specialties_of_the_doctors(store: Store) -> None:
    put(store, "positions", [Entry("x1", "врач-рентгенолог"), Entry("x2", "Врач-терапевт"), Entry("x3", "терапевт")])
    doctors = [
        Entry("1", "Зимин А. П.", {"position": "Врач-рентгенолог", "specialty_code": "y1"}),
        Entry("2", "Белова И. И.", {"position": "терапевт", "specialty_code": "y2"}),
        Entry("3", "Громов П. П.", {"position": "терапевт", "specialty_code": "y3"}),
        Entry("4", "Лисин О. О.", {"position": "хирург", "position_code": "x4"}),
        Entry("5", "Орлов Ф. Ф.", {"specialty_code": "y9", "position_code": "x9"}),
    ]
    put(store, "doctors", doctors)
    with store.read() as reader:
        assert directories.positions(reader) == {
            "врач-рентгенолог": ("x1", "y1"),
            "рентгенолог": ("x1", "y1"),
            "врач-терапевт": ("x2", ""),
            "терапевт": ("x3", ""),  # doctors disagree about the specialty
            "хирург": ("x4", ""),
        }


def test_official_procedures_stand_beside_the_starter_set_until_it_is_taken_away(store: Store) -> None:
    first = offer(store, HAND, KNEE)
    assert (first.offered, first.offered_local) == (16, 14)
    assert list(at_the_desk(store))[-2:] == ["X-TEST-2", "X-TEST-1"]  # after the default set, by name
    assert not at_the_desk(store)["X-TEST-1"].local
    second = offer(store, KNEE, replace_defaults=True)
    assert (second.offered, second.offered_local) == (1, 0)
    assert list(at_the_desk(store)) == ["X-TEST-1"]
    store.write(lambda tx: devices.fill_procedures(tx, PROCEDURES))  # at the next start
    assert list(at_the_desk(store)) == ["X-TEST-1"]


def test_the_desk_is_not_left_without_a_procedure(store: Store) -> None:
    with pytest.raises(Refused):
        offer(store, replace_defaults=True)
    assert len(at_the_desk(store)) == 14


def test_an_order_keeps_a_procedure_that_is_gone_and_can_still_be_amended(store: Store) -> None:
    order = store.write(referrals.register, factory.draft(), SYSTEM, CLINIC)
    offer(store, KNEE, replace_defaults=True)
    with store.read() as reader:
        kept = orders.get(reader, order.id)
        assert kept is not None
        assert (kept.procedure_code, kept.procedure_local) == ("WLB-KNEE", True)
        known = devices.procedure(reader, "WLB-KNEE")
        assert known is not None
        assert not devices.is_offered(reader, "WLB-KNEE")
        assert devices.procedure(reader, "WLB-HAND") is None
    changes = factory.draft(comment="на каталке", start=order.steps[0].start)
    assert store.write(referrals.amend, order.id, kept.revision, changes, SYSTEM, CLINIC).comment == "на каталке"
    with pytest.raises(Invalid, match="procedure: unknown"):
        store.write(referrals.register, factory.draft(), SYSTEM, CLINIC)


def test_an_official_procedure_that_is_gone_comes_back_with_the_next_export(store: Store) -> None:
    offer(store, KNEE, HAND)
    store.write(referrals.register, factory.draft(procedure_code="X-TEST-1"), SYSTEM, CLINIC)
    offer(store, HAND)
    assert "X-TEST-1" not in at_the_desk(store)
    offer(store, replace(KNEE, name="Новое название"))
    desk = at_the_desk(store)
    assert desk["X-TEST-1"].name == "Новое название"
    assert "X-TEST-2" not in desk


@pytest.mark.parametrize("sites_first", [True, False])
def test_a_procedure_gets_the_body_site_that_its_directory_names(store: Store, sites_first: bool) -> None:
    sites = [Entry("s1", "Коленный сустав"), Entry("s2", "Кисть"), Entry("s3", "Кисть")]
    entries = [Entry("X-TEST-1", "Колено", {"site": "коленный  сустав"}), Entry("X-TEST-2", "К", {"site": "Кисть"})]

    def bring_sites() -> None:
        store.write(replace_directory, DirectorySource("body-sites", "1.2.4", "1", "sites.csv"), sites, SYSTEM)

    if sites_first:
        bring_sites()
    store.write(
        replace_directory, DirectorySource("procedures", "1.2.3", "1", "p.csv"), entries, SYSTEM, offered=[KNEE, HAND]
    )
    if not sites_first:
        bring_sites()
    desk = at_the_desk(store)
    assert (desk["X-TEST-1"].body_site, desk["X-TEST-2"].body_site) == ("s1", "")  # two are called so: neither


def test_a_dry_run_stores_nothing(store: Store) -> None:
    source = DirectorySource("diagnoses", "1.2.3", "1", "file.csv")
    done = store.dry_run(
        replace_directory,
        source,
        ICD,
        SYSTEM,
    )
    assert done.change.added == 5
    assert found(store, "") == []


def test_only_an_administrator_replaces_a_directory(store: Store) -> None:
    with pytest.raises(Forbidden):
        store.write(replace_directory, DirectorySource("diagnoses", "1.2.3", "1", "file.csv"), ICD, REGISTRAR)


def test_who_replaced_a_directory_stands_in_the_audit_trail(store: Store) -> None:
    store.write(replace_directory, DirectorySource("diagnoses", "1.2.3", "7", "file.csv"), ICD, SYSTEM)
    with store.read() as reader:
        row = reader.one("SELECT * FROM audit WHERE action = 'directory_replaced'")
    assert row is not None
    assert '"version": "7"' in row["details"]
