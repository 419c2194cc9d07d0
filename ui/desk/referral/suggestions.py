"""Suggestions for fields of a referral: doctors, diagnoses, other clinics. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.domain.clinic.directory import Entry
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.store.queries import directory_search
from ui.desk.referral.field_values import ReferralOptions, name_and_position
from ui.live import read_as_viewer
from ui.services import Services
from ui.widgets.autocomplete import Autocomplete
from ui.widgets.form_field import FormField
from ui.widgets.theme import text

MOST = 6  # suggestions in a list


@dataclass(frozen=True, slots=True)
class DoctorOption:
    """A doctor as the field writes one, with the СНИЛС that goes with the referral."""

    shown: str
    snils: str = ""


class DirectorySuggestions:
    """Searches the directories for what is typed into a field."""

    def __init__(self, services: Services, options: ReferralOptions) -> None:
        self._services, self._options = services, options

    async def doctors(self, typed: str) -> list[DoctorOption]:
        """Return doctors who referred before, then those of the imported directory."""
        parts = names.fold(typed).split()
        referrers = [
            DoctorOption(name_and_position(name, position), snils) for name, position, snils in self._options.referrers
        ]
        fitting = [
            each
            for each in referrers
            if all(any(word.startswith(part) for word in names.fold(each.shown).split()) for part in parts)
        ]
        listed = await read_as_viewer(
            self._services, lambda reader: directory_search.search(reader, "doctors", typed, MOST)
        )
        found: dict[str, DoctorOption] = {}
        for each in [*fitting, *(_doctor(entry) for entry in listed)]:
            if each.shown != typed and not (each.shown in found and found[each.shown].snils):
                found[each.shown] = each
        return list(found.values())[:MOST]

    async def diagnoses(self, typed: str) -> list[Entry]:
        """Return diagnoses by the code or by words; none without a directory, or when the field already holds one."""
        found = await read_as_viewer(
            self._services, lambda reader: directory_search.search(reader, "diagnoses", typed, MOST)
        )
        return [entry for entry in found if f"{entry.code} {entry.name}" != typed]

    async def organisations(self, typed: str) -> list[Entry]:
        """Return other clinics by words of the name."""
        found = await read_as_viewer(
            self._services, lambda reader: directory_search.search(reader, "organisations", typed, MOST + 1)
        )
        ours = self._options.organisation.casefold()
        return [entry for entry in found if entry.code.casefold() != ours and entry.name != typed][:MOST]

    async def insurers(self, typed: str) -> list[Entry]:
        """Return insurers by the code or by words of the name."""
        found = await read_as_viewer(
            self._services, lambda reader: directory_search.search(reader, "insurers", typed, MOST)
        )
        return [entry for entry in found if f"{entry.code} {entry.name}" != typed]

    async def organisation(self, guid: str) -> str:
        """Return a clinic's name; its GUID if it is not in the directory."""
        return (
            await read_as_viewer(self._services, lambda reader: directory_search.organisation_name(reader, guid))
            or guid
        )


def attach(
    directories: DirectorySuggestions,
    fields: dict[str, FormField],
    filling: Callable[[], bool],
    note_doctor: Callable[[str, str], None],
    note_owner: Callable[[str, str], None],
) -> None:
    """Turn the three fields into combo boxes; `note_…` are called with (what the field shows, number) of a choice."""

    async def take_doctor(found: DoctorOption | None, typed: str) -> None:
        if found:
            note_doctor(found.shown, found.snils)
        fields["referrer"].value = found.shown if found else typed

    async def take_diagnosis(found: Entry | None, typed: str) -> None:
        fields["diagnosis"].value = f"{found.code} {found.name}" if found else typed

    async def take_owner(found: Entry | None, typed: str) -> None:
        if found:
            note_owner(found.name, found.code)
        fields["owner"].value = found.name if found else typed

    boxes: list[tuple[str, Any, Any, Any]] = [
        ("referrer", directories.doctors, lambda found: text("span", found.shown), take_doctor),
        ("diagnosis", directories.diagnoses, _draw_coded, take_diagnosis),
        ("owner", directories.organisations, lambda found: text("span", found.name), take_owner),
    ]
    for name, find, draw, take in boxes:
        with fields[name].box.classes("combo"):
            combo: Autocomplete[Any] = Autocomplete(fields[name], find, draw, take, name=name, filling=filling)
        if name == "diagnosis":
            combo.list.classes("broad")


def attach_insurer(directories: DirectorySuggestions, field: FormField, filling: Callable[[], bool]) -> None:
    """Turn the field of the insurer into a combo box."""

    async def take(found: Entry | None, typed: str) -> None:
        field.value = f"{found.code} {found.name}" if found else typed

    with field.box.classes("combo"):
        combo: Autocomplete[Any] = Autocomplete(
            field, directories.insurers, _draw_coded, take, name="insurer", filling=filling
        )
    combo.list.classes("broad")


def _draw_coded(found: Entry) -> None:
    text("b", f"{found.code} ")
    text("span", found.name)


def _doctor(entry: Entry) -> DoctorOption:
    details = entry.details
    name = PersonName(details.get("family", ""), details.get("given", ""), details.get("middle", ""))
    return DoctorOption(
        name_and_position(str(name) or entry.name, details.get("position", "")), details.get("snils", "")
    )
