"""What a patient's card says beside the studies: numbers, former cards, contact and consent, what is important."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.patients import identifiers
from broker.domain.patients.details import FormerNumber
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Tx
from broker.store.queries.patient_cards import FormerCard, PatientCard
from broker.workflow.patients import patient_consent
from ui.live import attempt, current_actor
from ui.patients.merging import CardMerging
from ui.services import Services
from ui.text import patient_cards as card_words
from ui.widgets import theme
from ui.widgets.theme import text

MOST_SIMILAR = 5


def merged_today(former: FormerCard, services: Services) -> bool:
    """Return True if this card was merged today: the page says so above, with the button that undoes it."""
    return former.at.astimezone(services.clinic.zone).date() == services.today()


class CardFacts:
    """The left column of a patient's page."""

    def __init__(self, services: Services, actor: Actor, merging: CardMerging) -> None:
        self._services, self._merging = services, merging
        self._corrects = permissions.may(actor, Permission.AMEND)

    def draw(self, found: PatientCard) -> None:
        """Draw the three sections."""
        self._found, patient = found, found.patient
        with theme.section("Номера"):
            theme.facts(
                [
                    ("Карта", patient.patient_id),
                    ("СНИЛС", identifiers.show_snils(patient.snils)),
                    ("Полис ОМС", identifiers.show_policy(patient.policy)),
                    *([("Страховая", found.insurer)] if found.insurer else []),
                    *(_former_number(each) for each in found.former_numbers),
                    ("Паспорт", found.details.passport),
                ]
            )
            for former in found.former:
                self._draw_former(former)
        with theme.section("Связь и согласия"):
            self._draw_contact()
        with theme.section("Важно"):
            self._draw_notes()

    def _draw_contact(self) -> None:
        patient, details = self._found.patient, self._found.details
        given, withdrawn = details.consent_on, details.consent_withdrawn_on
        if withdrawn:
            consent = f"отозвано {withdrawn:%d.%m.%Y}: в регион ничего не уходит"
        else:
            consent = f"передавать в регион, {given:%d.%m.%Y}" if given else ""
        mother = [("Мать", patient.mother)] if patient.mother else []
        theme.facts([("Телефон", patient.phone), *mother, ("Адрес", details.address), ("Согласие", consent)])
        if self._corrects:
            may_withdraw = given is not None and withdrawn is None
            with ui.element("button").classes("quick").props("type=button") as button:
                text("span", "Отозвать согласие" if may_withdraw else "Согласие дано сегодня")
            button.on("click", self._withdraw if may_withdraw else self._consent)

    async def _consent(self) -> None:
        await self._note_consent(patient_consent.give)

    async def _withdraw(self) -> None:
        await self._note_consent(patient_consent.withdraw)

    async def _note_consent(self, use_case: Callable[[Tx, int, Actor, Clinic], None]) -> None:
        services, id = self._services, self._found.patient.stored_id
        actor = current_actor(services)
        await attempt(lambda: services.store.write(use_case, id, actor, services.clinic))

    def _draw_former(self, former: FormerCard) -> None:
        zone = self._services.clinic.zone
        with ui.element("div").classes("former"):
            numbers = [("Прежняя карта", former.patient.patient_id)]
            numbers += [(_FORMER[field], card_words.shown(field, number)) for field, number in former.former_numbers]
            theme.facts(numbers)
            with ui.element("div").classes("row-line"):
                text("span", f"объединено {former.at.astimezone(zone):%d.%m.%Y %H:%M}, {former.actor}", "muted small")
                if not merged_today(former, self._services):  # else the banner has the button
                    self._merging.draw_split(former)

    def _draw_notes(self) -> None:
        found, patient = self._found, self._found.patient
        older = [card_words.former_name(patient, each) for each in found.former_names]
        notes = [
            ("info", "amber", card_words.lacking(patient) if self._services.clinic.sends_to_bus else ""),
            ("warning", "amber", f"Аллергия: {patient.allergies}" if patient.allergies else ""),
            ("pregnant_woman", "amber", f"Беременность: {patient.pregnancy}" if patient.pregnancy else ""),
            ("scale", "slate", _size(patient)),
            ("history", "slate", f"Ранее: {', '.join(dict.fromkeys(older))}" if older else ""),
        ]
        with ui.element("ul").classes("notes"):
            for icon, tone, note in notes:
                if note:
                    with ui.element("li"):
                        ui.icon(icon).classes(f"tone-{tone}").props("aria-hidden=true")
                        text("span", note)
            for similar in found.similar[:MOST_SIMILAR]:
                other = similar.patient
                with ui.element("li"):
                    ui.icon("help").classes("tone-amber").props("aria-hidden=true")
                    with ui.element("span"):
                        born = theme.born_and_age(other.born, self._services.today())
                        why = card_words.SIMILAR[similar.similarity]
                        text("span", f"Похожа карта {other.patient_id}: {other.name}, {born}: {why}. ")
                        if self._merging.allowed:
                            older_first = sorted((patient, other), key=lambda each: each.stored_id)
                            path = card_words.merge_address(*(each.patient_id for each in older_first))
                            ui.link("Сравнить", path).props(f'aria-label="Сравнить с картой {other.patient_id}"')
        if not any(note for *_, note in notes) and not found.similar:
            text("p", "Ничего не записано", "muted")


def _former_number(each: FormerNumber) -> tuple[str, str]:
    return _FORMER[each.kind], f"{card_words.shown(each.kind, each.number)}, до {each.until:%d.%m.%Y}"


_FORMER = {"snils": "Прежний СНИЛС", "policy": "Прежний полис"}


def _size(patient: Patient) -> str:
    parts = [(card_words.shown(field, getattr(patient, field))) for field in ("height", "weight")]
    return ", ".join(part for part in parts if part != "–")
