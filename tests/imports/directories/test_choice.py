"""Which procedures of a directory the desk offers."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from broker.domain.clinic.directory import Entry
from broker.imports.directories.choice import ProcedureFilter, Selection, choose_procedures

ENTRIES = (
    Entry("X-1", "Рентгенография кисти", {"method": "Рентгенография"}),
    Entry("X-2", "Компьютерная томография головы", {"method": "Компьютерная томография"}),
    Entry("X-3", "Спирометрия", {"method": "Функциональное исследование"}),
    Entry("X-4", "Флюорография", {"modality": "DX", "minutes": "5"}),
)


def choose(wanted: ProcedureFilter, devices: Collection[str] = ()) -> Selection:
    return choose_procedures(ENTRIES, wanted, devices)


def offered(selection: Selection) -> dict[str, tuple[str, int]]:
    return {each.code: (each.modality, each.minutes) for each in selection.offered}


def test_without_devices_everything_with_a_modality_is_offered() -> None:
    selection = choose(ProcedureFilter())
    assert offered(selection) == {"X-1": ("DX", 15), "X-2": ("CT", 20), "X-4": ("DX", 5)}
    assert (selection.without_modality, selection.by_devices, selection.modalities) == (1, False, frozenset())


def test_the_devices_choose_where_nothing_is_named() -> None:
    selection = choose(ProcedureFilter(), {"CT"})
    assert offered(selection) == {"X-2": ("CT", 20)}
    assert (selection.by_devices, selection.modalities) == (True, frozenset({"CT"}))


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        (ProcedureFilter(frozenset({"DX"})), {"X-1", "X-4"}),
        (ProcedureFilter(frozenset({"ALL"})), {"X-1", "X-2", "X-4"}),
        (ProcedureFilter(codes={"X-1": 0}), {"X-1"}),
        (ProcedureFilter(frozenset({"CT"}), codes={"X-1": 0, "X-2": 0}), {"X-2"}),
        (ProcedureFilter(frozenset({"HD"}), methods={"функциональн": "HD"}), {"X-3"}),
    ],
)
def test_what_is_named_overrules_the_devices(wanted: ProcedureFilter, codes: set[str]) -> None:
    selection = choose(wanted, {"MG"})
    assert set(offered(selection)) == codes
    assert not selection.by_devices


@pytest.mark.parametrize(
    ("wanted", "devices", "modality"),
    [
        (ProcedureFilter(), {"CR"}, "CR"),
        (ProcedureFilter(), {"CR", "DX"}, "DX"),
        (ProcedureFilter(frozenset({"CR"})), {"DX"}, "CR"),
        (ProcedureFilter(frozenset({"ALL"})), {"CR"}, "DX"),
    ],
)
def test_plain_x_ray_is_computed_radiography_where_there_is_no_detector(
    wanted: ProcedureFilter, devices: set[str], modality: str
) -> None:
    assert offered(choose(wanted, devices))["X-1"][0] == modality


def test_minutes_are_those_that_were_named_then_the_directory_s_then_the_usual_ones() -> None:
    selection = choose(ProcedureFilter(codes={"X-1": 25, "X-2": 0, "X-4": 0}))
    assert {code: minutes for code, (_, minutes) in offered(selection).items()} == {"X-1": 25, "X-2": 20, "X-4": 5}


def test_codes_that_the_directory_does_not_have_are_named() -> None:
    assert choose(ProcedureFilter(codes={"X-1": 0, "Z": 0, "Y": 0})).unknown_codes == ("Y", "Z")
