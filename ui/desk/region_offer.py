"""The box under the patient's fields: whom the region means, what differs, and «Взять» for the fields that are empty.

It shows and offers; what may be asked and taken is decided by `domain.patients.region_people`. Of several people
none is chosen by itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.patients import names, region_people
from broker.domain.patients.identifiers import show_policy, show_snils
from broker.domain.patients.people import Patient
from broker.domain.patients.region_people import RegionAnswer, RegionPerson
from broker.workflow.patients import region_people as region
from ui.desk.referral.form import ReferralForm
from ui.live import attempt
from ui.services import Services
from ui.text import words
from ui.text.referral_fields import LABELS, SEXES
from ui.widgets.memo import Memo
from ui.widgets.theme import show_message, text

SHOWN = 3  # people, with the keys after those of the similar patients
FIRST_KEY = 4
_NAMES = {"snils": "СНИЛС", "policy": "полис ОМС"}
NO_BREAK_HYPHEN, NO_BREAK_SPACE = "\u2011", "\u00a0"
CHANGED = "Поля изменились, из региона ничего не вписано: посмотрите ещё раз, тот ли это человек"
FROM_REGION = "Из региона"  # the hint of a field that was filled from there
_STANDING = {
    "deceased": "по данным региона умер",
    "replaced": "карту в регионе объединили с другой",
    "inactive": "карта в регионе закрыта",
}


@dataclass(frozen=True, slots=True)
class OfferLine:
    """One person of the region, in words; `fields` can be taken, nothing if it may be somebody else."""

    person: RegionPerson
    about: str
    fields: tuple[str, ...]


class RegionOffer:
    """The box; `taken` is called after fields were filled."""

    def __init__(
        self, services: Services, actor: Actor, form: ReferralForm, taken: Callable[[], Awaitable[None]]
    ) -> None:
        self._services, self._actor, self._form, self._taken = services, actor, form, taken
        self._element = ui.element("div").classes("region").props('role=group aria-label="Данные региона"')
        self._element.set_visibility(False)
        self._box = Memo(self._element)
        self._about: dict[str, object] = {}  # what was typed of the person whom the box is about

    def ask(self, typed: Patient, *, is_known: bool) -> None:
        """Show what the region knows of the person who is typed, and ask it where that is new.

        The region is not asked about one of ours (`is_known`, or chosen), or while the typing is incomplete.
        """
        lookup, answer = self._services.region, None
        if lookup and typed.id is None and not is_known:
            by_name = lookup.by_name and not self._is_half_typed()
            question = region_people.question_about(typed, self._services.today(), by_name=by_name)
            answer = lookup.ask(question, self._actor) if question else None
        found = lines(typed, self._form.fields["sex"].value is not None, answer) if answer else []
        self._element.set_visibility(bool(found))
        self._about = region_people.patient_fields(typed)
        if found:
            self._box.show(tuple(found), lambda: self._draw(found))

    def _is_half_typed(self) -> bool:
        """Return True while a person may go on typing the name or the date of birth."""
        field = self._form.editing
        if field == "birth_date":  # its last digit ends it
            return re.fullmatch(r"\d\d\.\d\d\.\d{4}", names.tidy(self._form.fields[field].value or "")) is None
        return field in ("family", "given", "middle")

    async def _take(self, line: OfferLine) -> None:
        """Fill the fields that are still empty, unless the form is for somebody else by now; what was typed stays."""
        form, store, actor, about = self._form, self._services.store, self._actor, self._about
        if not self._is_about(about):
            show_message(CHANGED, bad=True)
            return
        taken = [key for key in line.fields if not form.fields[key].value]
        reference = line.person.reference
        if await attempt(lambda: store.write(region.note_taken, reference, taken, actor)) is None:
            return
        if not self._is_about(about):  # typed on while that was written
            show_message(CHANGED, bad=True)
            return
        form.fill_from_region(values(line.person.patient, taken), FROM_REGION)
        await self._taken()

    def _is_about(self, asked: dict[str, object]) -> bool:
        """Return True if the form still holds the person who was asked about, as they were typed then."""
        typed = self._form.parser(self._services.now()).patient()
        return typed.id is None and region_people.patient_fields(typed) == asked

    def _draw(self, found: Sequence[OfferLine]) -> None:
        with ui.element("p").classes("label"):
            ui.icon("public").props("aria-hidden=true")
            several = len(found) > 1
            text("span", "В регионе таких несколько: кто из них?" if several else "В регионе:")
        with ui.element("ol"):
            for number, line in enumerate(found[:SHOWN]):
                with ui.element("li"):
                    self._draw_one(FIRST_KEY + number, line)
        if len(found) > SHOWN:
            text("p", f"И ещё {len(found) - SHOWN}: впишите СНИЛС или полис, и останется один", "muted small")

    def _draw_one(self, key: int, line: OfferLine) -> None:
        async def take() -> None:
            self._element.set_visibility(False)  # taken; what follows takes a moment
            await self._take(line)

        one = ui.element("button" if line.fields else "div").classes("similar-one")
        if line.fields:
            one.props(f"type=button data-alt={key}").on("click", take)
        with one:
            with text("span", ""):
                text("b", str(line.person.patient.name))
                text("span", f", {words.born(line.person.patient.birth_date)}", "muted")
            text("span", line.about, "muted small")
            if line.fields:
                with text("span", "", "take"):
                    text("span", "Взять")
                    text("kbd", f"Alt+{key}", "key")


def lines(typed: Patient, sex_known: bool, answer: RegionAnswer) -> list[OfferLine]:
    """Return the people of an answer in words, with what differs and what can be taken."""
    return [_line(typed, sex_known, person) for person in answer.people]


def values(found: Patient, fields: Sequence[str]) -> dict[str, Any]:
    """Return what the form's fields show for these fields of a person."""
    shown: dict[str, Any] = region_people.patient_fields(found) | {
        "birth_date": words.born(found.birth_date) if found.birth_date else "",
        "snils": show_snils(found.snils),
        "policy": show_policy(found.policy),
        "sex": found.sex,
    }
    return {field: shown[field] for field in fields}


def _line(typed: Patient, sex_known: bool, person: RegionPerson) -> OfferLine:
    found = person.patient
    differ = region_people.differences(typed, sex_known, found)
    may = region_people.may_be_taken(person, differ)
    fields = region_people.offer(typed, sex_known, found) if may else ()
    about = [_STANDING[person.standing]] if person.standing else []
    about += [f"другое: {_value(found, field)}" for field in differ]
    if not may and not person.standing:
        about.append("проверьте, тот ли это человек")
    if fields:
        about.append("допишет: " + ", ".join(_value(found, field) for field in fields))
    elif may and not differ:
        about.append("совпадает с тем, что вписано")
    return OfferLine(person, "; ".join(about), fields)


def _value(found: Patient, field: str) -> str:
    shown = values(found, [field])[field]
    word = SEXES[shown].lower() if field == "sex" else str(shown)
    # A number is not broken between lines.
    return (
        f"{_NAMES.get(field, LABELS[field].lower())} {word.replace('-', NO_BREAK_HYPHEN).replace(' ', NO_BREAK_SPACE)}"
    )
